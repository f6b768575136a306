package local

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func store(t *testing.T, l *Local, name string) hypervisor.Datastore {
	t.Helper()
	all, err := l.Datastores(t.Context())
	require.NoError(t, err)
	for _, d := range all {
		if d.Name == name {
			return d
		}
	}
	require.Fail(t, "not listed", name)
	return hypervisor.Datastore{}
}

func one(t *testing.T, path string) *Local {
	t.Helper()
	l, err := New(Options{Datastores: []Datastore{{"one", path}}})
	require.NoError(t, err)
	return l
}

func TestAdopt(t *testing.T) {
	path := t.TempDir()
	l := one(t, path)
	d := store(t, l, "one")
	assert.Equal(t, hypervisor.Offline, d.State, "before")
	assert.Empty(t, d.ID)
	assert.Contains(t, d.Detail, "is it mounted?")
	r := newRef()
	requireKind(t, errkind.Unavailable, l.Create(t.Context(), r, volspec.MiB, volspec.Thin))
	entries, err := os.ReadDir(path)
	require.NoError(t, err)
	assert.Empty(t, entries, "no byte lands in a place that was not adopted")

	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() { ids[i], _ = one(t, path).Adopt(t.Context(), "one") })
	}
	wg.Wait()
	for _, id := range ids {
		assert.Regexp(t, regexp.MustCompile(`^[0-9a-f]{8}-`), id)
		assert.Equal(t, ids[0], id, "repeated, and by several at a time")
	}
	d = store(t, l, "one")
	assert.Equal(t, hypervisor.Online, d.State, d.Detail)
	assert.Equal(t, ids[0], d.ID)
	require.NoError(t, l.Create(t.Context(), r, volspec.MiB, volspec.Thin))
	entries, err = os.ReadDir(path)
	require.NoError(t, err)
	assert.Len(t, entries, 2, "the mark and the disks")

	moved := filepath.Join(t.TempDir(), "moved")
	require.NoError(t, os.Rename(path, moved))
	require.NoError(t, os.Mkdir(path, 0o755))
	l2, err := New(Options{Datastores: []Datastore{{"renamed", moved}}})
	require.NoError(t, err)
	assert.Equal(t, ids[0], store(t, l2, "renamed").ID, "the ID stays with the storage")

	require.NoError(t, os.Remove(filepath.Join(moved, markFile)))
	_, err = l2.Adopt(t.Context(), "renamed")
	requireKind(t, errkind.Exists, err)
	_, err = l2.Adopt(t.Context(), "unknown")
	requireKind(t, errkind.NotFound, err)
	require.NoError(t, os.RemoveAll(moved))
	_, err = l2.Adopt(t.Context(), "renamed")
	requireKind(t, errkind.Unavailable, err)
}

func TestUnreadableMark(t *testing.T) {
	path := t.TempDir()
	l := one(t, path)
	for _, content := range []string{"", "{", `{"version":1}`, `{"version":1,"id":"x"}`, `{"version":2,"id":"5a3ec1a4-6a3e-4b0c-9a51-0d6a8f4c7b11"}`} {
		require.NoError(t, os.WriteFile(filepath.Join(path, markFile), []byte(content), 0o644))
		assert.Equal(t, hypervisor.Offline, store(t, l, "one").State, content)
		_, err := l.Adopt(t.Context(), "one")
		requireKind(t, errkind.Corrupt, err)
		b, err := os.ReadFile(filepath.Join(path, markFile))
		require.NoError(t, err)
		assert.Equal(t, content, string(b), "it is left as it was")
	}
}

// The mount of a datastore goes away while disks are attached.
func TestVanishedMount(t *testing.T) {
	base := mounted(t, "ext4", 400)
	l := one(t, base)
	_, err := l.Adopt(t.Context(), "one")
	require.NoError(t, err)
	r := newRef()
	require.NoError(t, l.Create(t.Context(), r, 16*volspec.MiB, volspec.Thin))
	require.NoError(t, unix.Unmount(base, 0))
	d := store(t, l, "one")
	assert.Equal(t, hypervisor.Offline, d.State)
	assert.Contains(t, d.Detail, "is it mounted?")
	requireKind(t, errkind.Unavailable, l.Create(t.Context(), newRef(), volspec.MiB, volspec.Thin))
	requireKind(t, errkind.Unavailable, l.PutMeta(t.Context(), r, []byte("x")))
	requireKind(t, errkind.Unavailable, l.Delete(t.Context(), r))
	_, err = l.Stat(t.Context(), r)
	requireKind(t, errkind.Unavailable, err)
	entries, err := os.ReadDir(base)
	require.NoError(t, err)
	assert.Empty(t, entries, "no byte lands in an empty mount point")
	run(t, "mount", "-o", "loop", filepath.Join(filepath.Dir(base), "fs.img"), base)
	_, err = l.Stat(t.Context(), r)
	require.NoError(t, err)

	require.NoError(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	assert.Equal(t, hypervisor.ReadOnlyStore, store(t, l, "one").State)
	requireKind(t, errkind.Unavailable, l.Create(t.Context(), newRef(), volspec.MiB, volspec.Thin))
	require.NoError(t, unix.Mount("", base, "", unix.MS_REMOUNT, ""))
	assert.Equal(t, hypervisor.Online, store(t, l, "one").State)
}

// The file system below a datastore gives up, as after an error of its disk.
func TestDatastoreWithAnError(t *testing.T) {
	const shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN, XFS_IOC_GOINGDOWN
	for _, fstype := range []string{"ext4", "xfs"} {
		base := mounted(t, fstype, 400)
		l := one(t, base)
		_, err := l.Adopt(t.Context(), "one")
		require.NoError(t, err)
		r := newRef()
		require.NoError(t, l.Create(t.Context(), r, 16*volspec.MiB, volspec.Thin))
		f, err := os.Open(base)
		require.NoError(t, err)
		how := uint32(2) // without flushing the log
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how)))
		require.Zero(t, errno)
		require.NoError(t, f.Close())
		d := store(t, l, "one")
		assert.NotEqual(t, hypervisor.Online, d.State, fstype)
		assert.NotEmpty(t, d.Detail)
		requireKind(t, errkind.Unavailable, l.Create(t.Context(), newRef(), volspec.MiB, volspec.Thin))
	}
}

func TestOptionsAreChecked(t *testing.T) {
	good := Datastore{"one", "/x"}
	for want, o := range map[string]Options{
		"twice":        {Datastores: []Datastore{good, {"one", "/y"}}},
		"same path":    {Datastores: []Datastore{good, {"two", "/x/"}}},
		"not absolute": {Datastores: []Datastore{{"one", "x"}}},
		"reserved":     {Datastores: []Datastore{{"_VM_DS", "/x"}}},
		"VM vm is there twice": {Datastores: []Datastore{good},
			VMs: []VM{{Name: "vm"}, {Name: "vm"}}},
		"lives on":                {VMs: []VM{{Name: "vm", Datastore: "two"}}},
		"of VM vm is not absolut": {VMs: []VM{{Name: "vm", DevDir: "dev"}}},
	} {
		_, err := New(o)
		requireKind(t, errkind.Invalid, err)
		assert.Contains(t, errkind.Text(err), want)
	}
}

// The id of a VM is on disks' loop devices and in catalogs: it never changes.
func TestVMIDStays(t *testing.T) {
	assert.Equal(t, volspec.VMID("463fca4b-c6f1-5084-9690-06660b1e6cf3"), VMID("web-1"))
	assert.NotEqual(t, VMID("web-1"), VMID("web-2"))
}

func TestReload(t *testing.T) {
	w := newWorld(t, t.TempDir())
	r := w.disk(t, 16*volspec.MiB)
	w.attach(t, w.a, r, false)
	without := func(what string) Options {
		o := Options{Settle: w.o.Settle, Poll: w.o.Poll}
		for _, d := range w.o.Datastores {
			if d.Name != what {
				o.Datastores = append(o.Datastores, d)
			}
		}
		for _, v := range w.o.VMs {
			if v.Name != what {
				v.Datastore = strings.TrimPrefix(v.Datastore, what)
				o.VMs = append(o.VMs, v)
			}
		}
		return o
	}
	requireKind(t, errkind.InUse, w.Reload(without("one")))
	requireKind(t, errkind.InUse, w.Reload(without("vm-a")))
	moved := without("")
	moved.VMs[0].DevDir, moved.VMs[1].DevDir = "/dev", "/dev"
	requireKind(t, errkind.InUse, w.Reload(moved))
	requireKind(t, errkind.Invalid, w.Reload(Options{Datastores: []Datastore{{"x", "y"}}}))
	vms, err := w.VMs(t.Context())
	require.NoError(t, err)
	assert.Len(t, vms, 2, "nothing changed")

	require.NoError(t, w.Reload(without("vm-b")))
	_, err = w.VM(t.Context(), w.b.id)
	requireKind(t, errkind.NotFound, err)
	require.NoError(t, w.Detach(t.Context(), w.a.id, r))
	require.NoError(t, w.Reload(without("one")))
	require.NoError(t, w.Reload(w.o))
	_, err = w.Stat(t.Context(), r)
	require.NoError(t, err)
}
