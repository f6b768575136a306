package app_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// newManaged is a process whose datastore fast is a managed one.
func newManaged(t *testing.T) (p *process, resize func(size string)) {
	p = newProcess(t, []string{crashVM}, "")
	t.Cleanup(func() {
		p.kill()
		for unix.Unmount(p.path("fast"), 0) == nil {
		}
	})
	text, err := os.ReadFile(p.path("mooring.toml"))
	require.NoError(t, err)
	resize = func(size string) {
		p.write(t, string(text)+fmt.Sprintf("[[datastore]]\nname='fast'\npath=%q\nsize=%q\n", p.path("fast"), size))
	}
	resize("512mb")
	return p, resize
}

// wrapInUnit runs the daemon with the capabilities of its unit, and as there
// in a mount namespace of its own.
func (p *process) wrapInUnit(t *testing.T) {
	unit, err := os.ReadFile("../../../packaging/systemd/mooringd.service")
	require.NoError(t, err)
	m := regexp.MustCompile(`(?m)^CapabilityBoundingSet=(.+)$`).FindSubmatch(unit)
	require.NotNil(t, m, "the unit names no capabilities")
	set := "-all"
	for c := range strings.FieldsSeq(string(m[1])) {
		set += ",+" + strings.ToLower(strings.TrimPrefix(c, "CAP_"))
	}
	p.wrap = []string{"unshare", "--mount", "--propagation", "slave", "setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=" + set}
}

func (p *process) store(t *testing.T, name string) wire.Datastore {
	t.Helper()
	all, err := p.admin(t).Datastores(t.Context())
	require.NoError(t, err)
	for _, d := range all {
		if d.Name == name {
			return d
		}
	}
	t.Fatalf("no datastore %s", name)
	return wire.Datastore{}
}

// finding is what the doctor says of something.
func (p *process) finding(t *testing.T, check string) wire.Finding {
	t.Helper()
	all, err := p.admin(t).Doctor(t.Context())
	require.NoError(t, err)
	for _, f := range all {
		if f.Check == check {
			return f
		}
	}
	t.Fatalf("no finding about %s in %+v", check, all)
	return wire.Finding{}
}

func TestManagedDatastore(t *testing.T) {
	p, resize := newManaged(t)
	p.start(t)
	d := p.store(t, "fast")
	assert.Equal(t, "online", d.State, d.Detail)
	assert.Equal(t, "xfs", d.Type)
	assert.True(t, d.Reflink)
	f := p.finding(t, "managed datastore fast")
	assert.Equal(t, "ok", f.Level, f.Detail)

	resize("1gb")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "configuration reloaded")
	assert.Greater(t, int64(p.store(t, "fast").Capacity), int64(900*volspec.MiB))
	resize("600mb")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "datastore fast has 1 GiB and cannot shrink to 600 MiB")
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, p.exit(t))
	require.NoError(t, os.Rename(p.path("fast.xfs"), p.path("away")))
	for unix.Unmount(p.path("fast"), 0) == nil {
	}
	p.start(t)
	d = p.store(t, "fast")
	assert.Equal(t, "offline", d.State)
	assert.Contains(t, d.Detail, "fast.xfs is missing")
	assert.Equal(t, "error", p.finding(t, "managed datastore fast").Level)
	assert.NoFileExists(t, p.path("fast.xfs"))

	require.NoError(t, os.Rename(p.path("away"), p.path("fast.xfs")))
	require.Eventually(t, func() bool { return p.store(t, "fast").State == "online" }, 20*time.Second, 100*time.Millisecond, "it comes back by itself")
	f = p.finding(t, "managed datastore fast")
	assert.Equal(t, "warning", f.Level)
	assert.Contains(t, f.Detail, "cannot shrink")
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, p.exit(t))
}

// Under systemd mooringd has a mount namespace of its own, which ends with it,
// and few privileges. Attached disks outlive it.
func TestManagedDatastoreInTheUnitsSandbox(t *testing.T) {
	p, resize := newManaged(t)
	p.wrapInUnit(t)
	p.start(t)
	require.Equal(t, "online", p.store(t, "fast").State, p.store(t, "fast").Detail)
	c := p.guest(t, crashVM)
	_, err := c.Create(t.Context(), wire.CreateVolume{Name: "v@fast", Options: map[string]string{"size": "64mb"}})
	require.NoError(t, err)
	a, err := c.Attach(t.Context(), "v@fast", wire.Attach{BootID: "boot", WaitMS: 5000})
	require.NoError(t, err)
	dev, err := os.OpenFile(p.path("dev-"+crashVM+"/mooring/"+a.Serial), os.O_RDWR|os.O_SYNC, 0)
	require.NoError(t, err)
	defer dev.Close()
	_, err = dev.WriteAt(pattern, 1<<20)
	require.NoError(t, err)
	for range 2 {
		p.kill()
		entries, err := os.ReadDir(p.path("fast"))
		require.NoError(t, err)
		assert.Empty(t, entries, "the mount is only in the namespace")
		_, err = dev.WriteAt(pattern, 2<<20)
		require.NoError(t, err, "the disk outlives the service and its mount")
		p.start(t)
		require.Equal(t, "online", p.store(t, "fast").State, p.store(t, "fast").Detail)
		again, err := p.guest(t, crashVM).Attach(t.Context(), "v@fast", wire.Attach{BootID: "boot", WaitMS: 5000})
		require.NoError(t, err)
		assert.Equal(t, a.Serial, again.Serial)
		_, err = p.admin(t).CreateSnapshot(t.Context(), volspec.DefaultGroup, "v@fast", wire.CreateSnapshot{Name: "s"})
		if err != nil {
			assert.Contains(t, err.Error(), "already has", "of the first round")
		}
	}
	resize("1gb")
	p.signal(t, syscall.SIGHUP)
	p.says(t, "configuration reloaded")
	assert.Greater(t, int64(p.store(t, "fast").Capacity), int64(900*volspec.MiB))
	got := make([]byte, len(pattern))
	_, err = dev.ReadAt(got, 2<<20)
	require.NoError(t, err)
	assert.Equal(t, pattern, got)
	require.NoError(t, dev.Close())
	require.NoError(t, p.guest(t, crashVM).Detach(t.Context(), "v@fast", wire.Detach{}))
	require.NoError(t, p.guest(t, crashVM).Remove(t.Context(), "v@fast"))
	p.signal(t, syscall.SIGTERM)
	require.Equal(t, 0, p.exit(t))
}
