package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// memHost is a host in memory. Its Create waits while hold is locked.
type memHost struct {
	*memory.Memory
	localWords
	hold sync.RWMutex

	mu     sync.Mutex
	refuse error // of configure
	vms    map[string]bool
}

func newMemHost(cfg config.Config) *memHost {
	h := &memHost{Memory: memory.New(memory.Options{}), vms: map[string]bool{}}
	_ = h.configure(context.Background(), cfg)
	return h
}

func (h *memHost) id(name string) volspec.VMID {
	return volspec.VMID(uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String())
}

func (h *memHost) check(config.Config) error { return nil }

func (h *memHost) close(context.Context) error { return nil }

func (h *memHost) findings(context.Context) ([]wire.Finding, error) { return nil, nil }

func (h *memHost) configure(_ context.Context, cfg config.Config) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse != nil {
		return h.refuse
	}
	for _, d := range cfg.Datastores {
		h.SetDatastore(hypervisor.Datastore{Name: d.Name, ID: "id-" + d.Name, Type: "memory", Path: d.Path, State: hypervisor.Online, Capacity: volspec.TiB})
	}
	gone := h.vms
	h.vms = map[string]bool{}
	for _, vm := range cfg.VMs {
		if !gone[vm.Name] {
			h.AddVM(hypervisor.VM{ID: h.id(vm.Name), Name: vm.Name, Datastore: vm.Datastore})
		}
		delete(gone, vm.Name)
		h.vms[vm.Name] = true
	}
	for name := range gone {
		h.RemoveVM(h.id(name))
	}
	return nil
}

func (h *memHost) Create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string) error {
	h.hold.RLock()
	defer h.hold.RUnlock()
	return h.Memory.Create(ctx, r, size, format)
}

// site is a daemon in this process.
type site struct {
	dir    string
	path   string
	host   *memHost
	d      *daemon
	reload chan os.Signal
	stop   context.CancelFunc
	ended  chan struct{}
	err    error // once ended
}

const twoVMs = `
[[datastore]]
name = "d1"
path = "/d1"
[[vm]]
name = "vm1"
datastore = "d1"
[[vm]]
name = "vm2"
datastore = "d1"
`

func (s *site) write(t *testing.T, text string) {
	t.Helper()
	head := fmt.Sprintf("state_dir = %q\nrun_dir = %q\n[admin]\ngroup = ''\n[log]\nlevel = 'error'\n", s.dir+"/state", s.dir+"/run")
	require.NoError(t, os.WriteFile(s.path, []byte(head+text), 0o600))
}

func newSite(t *testing.T, text string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{dir: dir, path: filepath.Join(dir, "m.toml"), reload: make(chan os.Signal)}
	s.write(t, text)
	return s
}

// start runs the daemon until the test ends; ready waits for it.
func (s *site) start(t *testing.T) *site {
	t.Helper()
	cfg, err := config.Load(s.path)
	require.NoError(t, err)
	st, err := openState(cfg)
	require.NoError(t, err)
	if s.host == nil {
		s.host = newMemHost(cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop, s.ended = cancel, make(chan struct{})
	s.d, err = build(ctx, Options{Config: s.path, Version: "test"}, cfg, st, s.host)
	require.NoError(t, err)
	go func() {
		defer close(s.ended)
		defer st.close()
		s.err = s.d.run(ctx, s.reload)
	}()
	t.Cleanup(func() { cancel(); <-s.ended })
	return s
}

func (s *site) ready(t *testing.T) *site {
	t.Helper()
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := s.admin(t).Status(t.Context())
		assert.NoError(c, err)
	}, 10*time.Second, 10*time.Millisecond)
	return s
}

func (s *site) admin(t *testing.T) *hostclient.Admin {
	a := hostclient.NewAdmin("unix://"+s.dir+"/run/admin.sock", hostclient.Options{})
	t.Cleanup(a.Close)
	return a
}

func (s *site) guest(t *testing.T, vm string) *hostclient.Client {
	c := hostclient.New("unix://"+s.dir+"/run/guest/"+vm+".sock", hostclient.Options{})
	t.Cleanup(c.Close)
	return c
}

func TestAGuestAndTheAdminSeeOneService(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	v, err := s.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "db", Options: map[string]string{"size": "1gb"}})
	require.NoError(t, err)
	assert.Equal(t, "db@d1", v.Name)

	st, err := s.admin(t).Status(t.Context())
	require.NoError(t, err)
	assert.True(t, st.Ready)
	assert.Equal(t, map[string]int64{"vms": 2, "vmgroups": 1, "volumes": 1, "attached": 0, "trashed": 0, "datastores": 1,
		"repositories": 0, "repositories_offline": 0, "recovery_points": 0, "stored_bytes": 0, "jobs_queued": 0, "jobs_running": 0, "alarms": 0}, st.Counts)
	assert.Equal(t, s.path, st.Config)

	h, err := s.guest(t, "vm2").Hello(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "vm2", h.VM)

	require.NoError(t, s.guest(t, "vm1").Remove(t.Context(), "db"))
	st, err = s.admin(t).Status(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 0, st.Counts["volumes"])
	assert.EqualValues(t, 1, st.Counts["trashed"])
}

func TestRestartKeepsInstallationAndVolumes(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	_, err := s.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "db"})
	require.NoError(t, err)
	id, err := os.ReadFile(s.dir + "/state/installation")
	require.NoError(t, err)
	s.stop()
	<-s.ended
	require.NoError(t, s.err)
	assert.NoFileExists(t, s.dir+"/run/admin.sock")

	s.start(t).ready(t)
	_, err = s.guest(t, "vm2").Get(t.Context(), "db")
	require.NoError(t, err)
	again, err := os.ReadFile(s.dir + "/state/installation")
	require.NoError(t, err)
	assert.Equal(t, id, again)
}

func TestASecondDaemonIsRefused(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	cfg, err := config.Load(s.path)
	require.NoError(t, err)
	_, err = openState(cfg)
	require.Error(t, err)
	assert.Equal(t, 11, ExitCode(err))
	assert.ErrorContains(t, err, fmt.Sprintf("in use by process %d", os.Getpid()))
	_, err = s.admin(t).Status(t.Context())
	require.NoError(t, err)
}

// Before recovery has ended everybody is told to repeat, on every socket.
func TestTheGateHoldsEverybodyBack(t *testing.T) {
	s := newSite(t, twoVMs)
	cfg, err := config.Load(s.path)
	require.NoError(t, err)
	st, err := openState(cfg)
	require.NoError(t, err)
	defer st.close()
	s.host = newMemHost(cfg)
	d, err := build(t.Context(), Options{Config: s.path, Version: "test"}, cfg, st, s.host)
	require.NoError(t, err)
	defer d.catalog.Close()
	require.NoError(t, d.bind(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.listeners.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-done) }()

	_, gerr := s.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "db"})
	_, aerr := s.admin(t).VMGroups(t.Context())
	for _, err := range []error{gerr, aerr, d.reload(t.Context())} {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err))
		assert.ErrorContains(t, err, "mooringd is starting")
	}
	require.NoError(t, d.prepare(t.Context()))
	defer func() { assert.NoError(t, d.backups.unmount(context.Background())) }()
	d.gate.open()
	_, err = s.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "db"})
	assert.NoError(t, err)
}

// A stop answers what is being worked on, and nothing new.
func TestStopDrains(t *testing.T) {
	s := newSite(t, twoVMs).start(t).ready(t)
	s.host.hold.Lock()
	created := make(chan error, 1)
	c := s.guest(t, "vm1")
	go func() {
		_, err := c.Create(context.Background(), wire.CreateVolume{Name: "slow"})
		created <- err
	}()
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		l, err := s.admin(t).Volumes(t.Context(), hostclient.VolumesQuery{State: "all"})
		assert.NoError(ct, err)
		assert.Len(ct, l.Volumes, 1)
	}, 5*time.Second, 10*time.Millisecond)
	s.stop()
	require.Eventually(t, func() bool {
		_, err := s.guest(t, "vm2").Hello(t.Context())
		return err != nil
	}, 5*time.Second, 10*time.Millisecond, "new connections are still accepted")
	select {
	case <-s.ended:
		t.Fatal("ended while a request was running")
	case err := <-created:
		t.Fatalf("answered too early: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.host.hold.Unlock()
	require.NoError(t, <-created)
	<-s.ended
	require.NoError(t, s.err)
}

func TestDeclaredVMGroupsAndDefaultGroup(t *testing.T) {
	s := newSite(t, "")
	text, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path, []byte("default_vmgroup = false\n"+string(text)+twoVMs+"[[vmgroup]]\nname='g'\nvms=['vm1']\ndefault_datastore='d1'\n"), 0o600))
	s.start(t).ready(t)
	groups, err := s.admin(t).VMGroups(t.Context())
	require.NoError(t, err)
	require.Len(t, groups, 1)
	assert.Equal(t, "g", groups[0].Name)
	assert.Equal(t, s.path, groups[0].Source)
	_, err = s.guest(t, "vm2").Create(t.Context(), wire.CreateVolume{Name: "db"})
	assert.Equal(t, errkind.Denied, errkind.Of(err))
	assert.ErrorContains(t, err, "VM vm2 does not belong to any vmgroup")
}

func TestExitCodes(t *testing.T) {
	assert.Equal(t, 0, ExitCode(nil))
	assert.Equal(t, 2, ExitCode(errkind.New(errkind.Invalid, "x")))
	assert.Equal(t, 11, ExitCode(fmt.Errorf("x: %w", lockedError{errkind.New(errkind.InUse, "x")})))
	assert.Equal(t, 1, ExitCode(errors.New("x")))
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	s := newSite(t, twoVMs)
	require.NoError(t, Check(s.path))
	text, err := os.ReadFile(s.path)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.path, []byte(strings.Replace(string(text), "group = ''", "group = 'no-such-group-here'", 1)), 0o600))
	err = Check(s.path)
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	assert.ErrorContains(t, err, `group "no-such-group-here" (admin.group) does not exist: run groupadd`)
	s.write(t, "[catalog]\ndriver='postgres'\ndsn_file='/nowhere/dsn'\n")
	assert.ErrorContains(t, Check(s.path), "/nowhere/dsn")
}

// /readyz says why not, and the metrics listener serves nothing else.
func TestObservers(t *testing.T) {
	s := newSite(t, twoVMs+"[metrics]\nlisten='127.0.0.1:0'\n")
	cfg, err := config.Load(s.path)
	require.NoError(t, err)
	st, err := openState(cfg)
	require.NoError(t, err)
	defer st.close()
	d, err := build(t.Context(), Options{Config: s.path, Version: "test"}, cfg, st, newMemHost(cfg))
	require.NoError(t, err)
	defer d.catalog.Close()
	require.NoError(t, d.bind(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- d.listeners.Run(ctx) }()
	defer func() { cancel(); require.NoError(t, <-done) }()
	defer http.DefaultClient.CloseIdleConnections()
	base := "http://" + d.open[len(d.open)-1].l.Addr().String()
	status := func(path string) int {
		resp, err := http.Get(base + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		return resp.StatusCode
	}
	assert.Equal(t, 200, status("/healthz"))
	assert.Equal(t, 503, status("/readyz"))
	require.NoError(t, d.prepare(t.Context()))
	defer func() { assert.NoError(t, d.backups.unmount(context.Background())) }()
	d.gate.open()
	assert.Equal(t, 200, status("/readyz"))
	assert.Equal(t, 200, status("/metrics"))
	assert.Equal(t, 404, status("/api/v1/status"))
	require.NoError(t, d.catalog.Close())
	assert.Equal(t, 503, status("/readyz"))
}
