// Package config is the schema of mooringd's TOML configuration: its keys,
// defaults and rules. Reading is strict: an unknown key is an error, and all
// problems of all files are reported at once, each with its path and line.
//
// A configuration never holds a secret, only the names of files that do, so
// showing one is safe.
package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// DefaultPath is where the configuration lies unless a flag says otherwise.
// Files PATH.d/*.toml are read after it, in the order of their names.
const DefaultPath = "/etc/mooring/mooring.toml"

// Config is a whole configuration. What Load returns is complete: every
// default is filled in and every rule holds.
type Config struct {
	StateDir       string        `toml:"state_dir"` // what must survive a reboot
	RunDir         string        `toml:"run_dir"`   // sockets
	Hypervisor     string        `toml:"hypervisor"`
	DefaultVMGroup bool          `toml:"default_vmgroup"` // make _DEFAULT at the first start
	TenantGrace    Duration      `toml:"tenant_grace"`    // how long a deleted vmgroup can be brought back
	Log            Log           `toml:"log"`
	VSphere        VSphereConfig `toml:"vsphere"`
	Catalog        Catalog       `toml:"catalog"`
	Admin          Admin         `toml:"admin"`
	Metrics        Metrics       `toml:"metrics"`
	Guest          Guest         `toml:"guest"`
	HTTPS          HTTPS         `toml:"https"`
	Volume         Volume        `toml:"volume"`
	Backup         Backup        `toml:"backup"`
	Transporter    Transporter   `toml:"transporter"`
	Notify         Notify        `toml:"notify"`
	Datastores     []Datastore   `toml:"datastore"`
	VMs            []VM          `toml:"vm"`
	VMGroups       []VMGroup     `toml:"vmgroup"`

	// Files are those it was read from, in order; not a key.
	Files []string `toml:"-"`
}

// Log says what is logged (debug, info, warn, error) and how (json, text,
// auto: text on a terminal).
type Log struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

// Catalog says where the catalog is kept: driver sqlite at Path, or postgres
// at the connection string inside DSNFile.
type Catalog struct {
	Driver  string `toml:"driver"`
	Path    string `toml:"path,omitempty"`
	DSNFile string `toml:"dsn_file,omitempty"`
}

// The catalog drivers.
const (
	SQLite   = "sqlite"
	Postgres = "postgres"
)

// Admin is the admin socket. Members of Group may use it beside root; "" is
// root alone.
type Admin struct {
	Socket string `toml:"socket"`
	Group  string `toml:"group"`
}

// Metrics is the TCP listener for /metrics, /healthz and /readyz, as
// host:port; "" is none.
type Metrics struct {
	Listen string `toml:"listen"`
}

// Volume holds the times of the volume service.
type Volume struct {
	TrashKeep  Duration `toml:"trash_keep"`  // 0s: removed volumes are gone at once
	Reconcile  Duration `toml:"reconcile"`   // between two comparisons with the hypervisor
	AttachWait Duration `toml:"attach_wait"` // how long an attach waits for another VM to let go
}

// Datastore is a folder for disks. Its name is what users write after the @.
// With a Size it is managed: mooringd makes a file system of that size, in an
// image beside the folder, and mounts it there. On vSphere it is
// one of those there that volumes may use; without any, all are.
type Datastore struct {
	Name string       `toml:"name"`
	Path string       `toml:"path,omitempty"`
	Size volspec.Size `toml:"size,omitzero"`
}

// MinDatastore is the smallest size of a managed datastore.
const MinDatastore = 512 * volspec.MiB

// VM is one virtual machine of the local hypervisor.
type VM struct {
	Name        string `toml:"name"`
	Datastore   string `toml:"datastore"`     // where it lives: the meaning of _VM_DS
	Dev         string `toml:"dev"`           // its /dev, as this machine sees it
	Socket      string `toml:"socket"`        // its channel to the service
	SocketMode  Mode   `toml:"socket_mode"`   //
	InitPIDFile string `toml:"init_pid_file"` // holds the pid whose life is the VM's; "": always on
}

// VMGroup declares a vmgroup. What is declared cannot be changed otherwise.
type VMGroup struct {
	Name             string   `toml:"name"`
	Description      string   `toml:"description,omitempty"`
	DefaultDatastore string   `toml:"default_datastore,omitempty"`
	VMs              []string `toml:"vms,omitempty"`
	Folders          []string `toml:"vm_folders,omitempty"` // whose VMs it may protect
	Access           []Access `toml:"access,omitempty"`

	Email       string   `toml:"email,omitempty"`
	Phone       string   `toml:"phone,omitempty"`
	Website     string   `toml:"website,omitempty"`
	Address     string   `toml:"address,omitempty"`
	Labels      []string `toml:"labels,omitempty"`
	State       string   `toml:"state,omitempty"` // enabled or disabled; "": enabled
	GuestAccess bool     `toml:"guest_access,omitempty"`
	GuestFiles  bool     `toml:"guest_files,omitempty"`

	Allowance    *Allowance `toml:"allowance,omitempty"` // nil: as it was set otherwise
	Transporters []string   `toml:"transporters"`        // nil: as they were bound otherwise

	BackupTotalSize volspec.Size `toml:"backup_totalsize,omitzero"` // of all its repositories together
	Repositories    []Repository `toml:"repository,omitempty"`
	Policies        []Policy     `toml:"policy,omitempty"`

	// File is the one that declares it; not a key.
	File string `toml:"-"`
}

// Allowance is what of the pool is delegated to a declared vmgroup; what is nil
// has no bound. Its storage is BackupTotalSize.
type Allowance struct {
	Sockets *int `toml:"sockets,omitempty"`
	VMs     *int `toml:"vms,omitempty"`
	Volumes *int `toml:"volumes,omitempty"`
}

// Contact is what a declared vmgroup says of itself.
func (g VMGroup) Contact() volspec.Contact {
	return volspec.Contact{Email: g.Email, Phone: g.Phone, Website: g.Website, Address: g.Address, Labels: g.Labels}
}

// States of a declared vmgroup.
const (
	Enabled  = "enabled"
	Disabled = "disabled"
)

// Access is one access row of a declared vmgroup; absent limits are none.
type Access struct {
	Datastore   string       `toml:"datastore"`
	AllowCreate bool         `toml:"allow_create"`
	MaxSize     volspec.Size `toml:"volume_maxsize,omitzero"`
	TotalSize   volspec.Size `toml:"volume_totalsize,omitzero"`
}

// Default is the configuration of an empty file. Values that follow from
// others (sockets below RunDir) are filled in by complete.
func Default() Config {
	return Config{
		StateDir:       "/var/lib/mooring",
		RunDir:         "/run/mooring",
		Hypervisor:     LocalHypervisor,
		DefaultVMGroup: true,
		TenantGrace:    Duration(7 * 24 * time.Hour),
		Log:            Log{Level: "info", Format: "auto"},
		Catalog:        Catalog{Driver: SQLite},
		Admin:          Admin{Group: "mooring"},
		Volume: Volume{
			TrashKeep:  Duration(24 * time.Hour),
			Reconcile:  Duration(30 * time.Second),
			AttachWait: Duration(20 * time.Second),
		},
		Guest:  defaultGuest(),
		HTTPS:  defaultHTTPS(),
		Backup: defaultBackup(),
		Notify: defaultNotify(),

		Transporter: Transporter{Name: BuiltIn},
	}
}

// complete fills in what follows from other keys.
func (c *Config) complete() {
	if c.Catalog.Driver == SQLite && c.Catalog.Path == "" {
		c.Catalog.Path = c.StateDir + "/catalog.db"
	}
	if c.Admin.Socket == "" {
		c.Admin.Socket = c.RunDir + "/admin.sock"
	}
	for i := range c.VMs {
		vm := &c.VMs[i]
		if vm.Dev == "" {
			vm.Dev = "/dev"
		}
		if vm.Socket == "" {
			vm.Socket = c.RunDir + "/guest/" + vm.Name + ".sock"
		}
		if vm.SocketMode == 0 {
			vm.SocketMode = 0o600
		}
	}
	c.completeVSphere()
	c.completeBackup()
	c.completeNotify()
}

// Duration is a time.Duration that reads and prints as 24h, 30s, 1m30s or 90d.
// A day has 24 hours.
type Duration time.Duration

// UnmarshalText reads a duration that is not negative.
func (d *Duration) UnmarshalText(b []byte) error {
	if days, ok := strings.CutSuffix(string(b), "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && days[0] != '+' {
			*d = Duration(n) * Duration(24*time.Hour)
			return nil
		}
	}
	v, err := time.ParseDuration(string(b))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: write a number with a unit, such as 20s, 5m, 24h or 90d", b)
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the inverse.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String leaves out units that are zero: 24h, not 24h0m0s. Whole days from
// two on are written as such.
func (d Duration) String() string {
	if day := Duration(24 * time.Hour); d >= 2*day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := time.Duration(d).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Mode is the permission bits of a file, written in octal in a string.
type Mode uint32

// UnmarshalText reads octal permission bits without the special ones.
func (m *Mode) UnmarshalText(b []byte) error {
	v, err := strconv.ParseUint(string(b), 8, 32)
	if err != nil || v == 0 || v > 0o777 {
		return fmt.Errorf("%q is not a file mode: write octal permission bits, such as 0600 or 0660", b)
	}
	*m = Mode(v)
	return nil
}

// MarshalText is the inverse.
func (m Mode) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%04o", uint32(m)), nil }
