package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/stretchr/testify/require"
)

// Config is what a test says of a mooringd; the rest follows from the lab.
// Fields are the keys of its TOML file.
type Config struct {
	StateDir       string          `toml:"state_dir"`
	RunDir         string          `toml:"run_dir"`
	Hypervisor     string          `toml:"hypervisor"`
	DefaultVMGroup bool            `toml:"default_vmgroup"`
	Log            ConfigLog       `toml:"log"`
	Catalog        ConfigCatalog   `toml:"catalog"`
	Admin          ConfigAdmin     `toml:"admin"`
	Volume         ConfigVolume    `toml:"volume"`
	Backup         map[string]any  `toml:"backup,omitempty"`
	Notify         map[string]any  `toml:"notify,omitempty"`
	VSphere        map[string]any  `toml:"vsphere,omitempty"`
	Guest          map[string]any  `toml:"guest,omitempty"` // the door of VMs with certificates
	HTTPS          map[string]any  `toml:"https,omitempty"` // the door of people
	Datastores     []ConfigStore   `toml:"datastore,omitempty"`
	VMs            []ConfigVM      `toml:"vm,omitempty"`
	VMGroups       []ConfigVMGroup `toml:"vmgroup,omitempty"`
}

// The tables of Config.
type (
	// ConfigLog is [log].
	ConfigLog struct {
		Level  string `toml:"level"`
		Format string `toml:"format"`
	}
	// ConfigCatalog is [catalog].
	ConfigCatalog struct {
		Driver  string `toml:"driver"`
		DSNFile string `toml:"dsn_file,omitempty"`
	}
	// ConfigAdmin is [admin].
	ConfigAdmin struct {
		Socket string `toml:"socket"`
		Group  string `toml:"group"`
	}
	// ConfigVolume is [volume].
	ConfigVolume struct {
		TrashKeep  string `toml:"trash_keep"`
		Reconcile  string `toml:"reconcile"`
		AttachWait string `toml:"attach_wait"`
	}
	// ConfigStore is one [[datastore]].
	ConfigStore struct {
		Name string `toml:"name"`
		Path string `toml:"path,omitempty"`
		Size string `toml:"size,omitempty"` // of a managed datastore
	}
	// ConfigVM is one [[vm]].
	ConfigVM struct {
		Name        string `toml:"name"`
		Datastore   string `toml:"datastore"`
		Dev         string `toml:"dev"`
		Socket      string `toml:"socket"`
		InitPIDFile string `toml:"init_pid_file,omitempty"`
	}
	// ConfigVMGroup is one [[vmgroup]].
	ConfigVMGroup struct {
		Name             string         `toml:"name"`
		Description      string         `toml:"description,omitempty"`
		DefaultDatastore string         `toml:"default_datastore,omitempty"`
		VMs              []string       `toml:"vms,omitempty"`
		Access           []ConfigAccess `toml:"access,omitempty"`

		Repositories []map[string]any `toml:"repository,omitempty"`
		Policies     []map[string]any `toml:"policy,omitempty"`
	}
	// ConfigAccess is one [[vmgroup.access]].
	ConfigAccess struct {
		Datastore   string `toml:"datastore"`
		AllowCreate bool   `toml:"allow_create"`
		MaxSize     string `toml:"volume_maxsize,omitempty"`
		TotalSize   string `toml:"volume_totalsize,omitempty"`
	}
)

// Daemon is one mooringd with a state folder of its own.
type Daemon struct {
	Name   string
	Config Config
	Binary string   // the program to start
	Env    []string // added to its environment
	// OnSwitch runs it on the lab's network, where guests reach it at SwitchAddr.
	OnSwitch bool

	lab   *Lab
	dir   string
	index int
	proc  *process
}

// Daemon prepares a mooringd with these datastores and guests. Each guest
// lives on the first datastore unless change says otherwise; removed volumes
// are gone at once, and the reconcile loop is quick. The caller starts it.
func (l *Lab) Daemon(t testing.TB, name string, stores []*Datastore, guests []*Guest, change func(*Config)) *Daemon {
	t.Helper()
	d := &Daemon{Name: name, Binary: l.Bin.Mooringd, lab: l, dir: filepath.Join(l.Dir, name)}
	require.NoError(t, os.MkdirAll(d.dir, 0o755))
	d.Config = Config{
		StateDir: filepath.Join(d.dir, "state"), RunDir: filepath.Join(d.dir, "run"), Hypervisor: "local", DefaultVMGroup: true,
		Log:     ConfigLog{Level: "debug", Format: "text"},
		Catalog: ConfigCatalog{Driver: "sqlite"},
		Admin:   ConfigAdmin{Socket: filepath.Join(d.dir, "admin.sock")},
		Volume:  ConfigVolume{TrashKeep: "0s", Reconcile: "2s", AttachWait: "20s"},
	}
	for _, ds := range stores {
		d.Config.Datastores = append(d.Config.Datastores, ConfigStore{Name: ds.Name, Path: ds.Path, Size: ds.size})
	}
	for _, g := range guests {
		d.Config.VMs = append(d.Config.VMs, ConfigVM{Name: g.Name, Datastore: stores[0].Name, Dev: g.DevDir(), Socket: g.Socket(), InitPIDFile: g.InitPIDFile()})
	}
	if change != nil {
		change(&d.Config)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.daemons = append(l.daemons, d)
	d.index = len(l.daemons)
	return d
}

// ConfigFile is the path of its TOML file.
func (d *Daemon) ConfigFile() string { return filepath.Join(d.dir, "mooring.toml") }

// Outside lists what the daemon has in the kernel beside the disks of volumes:
// mounts and loop devices below its own folder.
func (d *Daemon) Outside() []string { return append(mountsBelow(d.dir), loopsBelow(d.dir)...) }

// GuestURL is its door for VMs with certificates.
func (d *Daemon) GuestURL() string { return fmt.Sprint("tls://", d.Config.Guest["listen"]) }

// LogFile is what it has said so far.
func (d *Daemon) LogFile() string { return filepath.Join(d.dir, "mooringd.log") }

// Start writes the configuration, starts the daemon and waits until it is
// ready.
func (d *Daemon) Start(t testing.TB) {
	t.Helper()
	require.NoError(t, d.start(lasting(t)))
}

// WriteConfig writes the configuration without starting anything.
func (d *Daemon) WriteConfig(t testing.TB) {
	t.Helper()
	require.NoError(t, d.writeConfig())
}

func (d *Daemon) writeConfig() error {
	var buf bytes.Buffer
	if err := toml.NewEncoder(&buf).Encode(d.Config); err != nil {
		return fmt.Errorf("writing the configuration: %w", err)
	}
	return os.WriteFile(d.ConfigFile(), buf.Bytes(), 0o644)
}

func (d *Daemon) start(ctx context.Context) error {
	if err := d.writeConfig(); err != nil {
		return err
	}
	args := []string{d.Binary, "--config", d.ConfigFile()}
	if d.OnSwitch {
		if err := d.lab.ensureNetwork(ctx); err != nil {
			return err
		}
		args = append(d.lab.sw.enter(), args...)
	}
	p, err := d.lab.start(d.LogFile(), 0, d.Env, args...)
	if err != nil {
		return err
	}
	d.proc = p
	err = Eventually(30*time.Second, func() error {
		if !p.alive() {
			return nil
		}
		return get(ctx, d.Config.Admin.Socket, "/readyz")
	})
	if err == nil && !p.alive() {
		err = fmt.Errorf("it has ended: %w", p.err)
	}
	if err != nil {
		return fmt.Errorf("starting mooringd %s: %w\n%s", d.Name, err, tail(p.log, 30, nil))
	}
	return nil
}

// Stop ends the daemon as a service manager would. Not running: nothing.
func (d *Daemon) Stop(t testing.TB) {
	t.Helper()
	require.NoError(t, d.proc.signal(syscall.SIGTERM, 30*time.Second))
}

// Kill ends the daemon without a word.
func (d *Daemon) Kill(t testing.TB) {
	t.Helper()
	require.NoError(t, d.proc.signal(syscall.SIGKILL, 10*time.Second))
}

// Reload makes the daemon read its configuration again.
func (d *Daemon) Reload(t testing.TB) {
	t.Helper()
	require.NoError(t, d.writeConfig())
	require.True(t, d.Running())
	require.NoError(t, d.proc.cmd.Process.Signal(syscall.SIGHUP))
}

// Running reports whether the process is alive.
func (d *Daemon) Running() bool { return d.proc.alive() }

// PID is the process id of a running daemon.
func (d *Daemon) PID() int { return d.proc.pid() }

// End stops the daemon, by force where it must.
func (d *Daemon) End() error { return d.end() }

func (d *Daemon) end() error {
	err := d.proc.signal(syscall.SIGTERM, 20*time.Second)
	if err != nil {
		err = errors.Join(err, d.proc.signal(syscall.SIGKILL, 10*time.Second))
	}
	return err
}

// Mooring runs the command line against this daemon.
func (d *Daemon) Mooring(ctx context.Context, args ...string) Result {
	return d.lab.run(ctx, nil, append([]string{d.lab.Bin.Mooring, "--socket", d.Config.Admin.Socket}, args...)...)
}
