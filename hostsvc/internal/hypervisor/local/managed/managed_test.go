package managed

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/local"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// site is a folder with a managed datastore in it.
type site struct {
	Store
	dir     string
	records string
}

func newSite(t *testing.T) *site {
	dir := t.TempDir()
	s := &site{Store{"fast", filepath.Join(dir, "fast"), MinSize}, dir, filepath.Join(dir, "state", "managed")}
	t.Cleanup(func() {
		s.unmount(t)
		require.Eventually(t, func() bool { return len(s.devices(t)) == 0 }, 20*time.Second, 10*time.Millisecond, "loop devices are left")
	})
	return s
}

func (s *site) keeper() *Keeper {
	k := New(s.records)
	k.again = 0
	return k
}

func (s *site) apply(t *testing.T) error {
	t.Helper()
	return s.keeper().Apply(t.Context(), []Store{s.Store})
}

func (s *site) unmount(t *testing.T) {
	for unix.Unmount(s.Path, 0) == nil {
	}
	for _, d := range s.devices(t) { // one that a crash left without a mount
		_ = exec.Command("losetup", "-d", d).Run()
	}
}

// devices are the loop devices over the image.
func (s *site) devices(t *testing.T) (all []string) {
	entries, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	require.NoError(t, err)
	for _, e := range entries {
		if b, err := os.ReadFile(e); err == nil && strings.HasPrefix(string(b), s.image()) {
			all = append(all, "/dev/"+filepath.Base(filepath.Dir(filepath.Dir(e))))
		}
	}
	return all
}

// mounts are the lines of the mount table about the datastore.
func (s *site) mounts(t *testing.T) (all []string) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); f[4] == s.Path {
			all = append(all, line)
		}
	}
	return all
}

func (s *site) sound(t *testing.T, size volspec.Size) {
	t.Helper()
	require.Len(t, s.mounts(t), 1)
	require.Len(t, s.devices(t), 1)
	st, err := os.Stat(s.image())
	require.NoError(t, err)
	assert.EqualValues(t, size, st.Size())
	n, err := geometry(s.Path)
	require.NoError(t, err)
	assert.InDelta(t, int64(size), n, 1<<20)
	_, err = os.Stat(s.image() + ".tmp")
	require.ErrorIs(t, err, os.ErrNotExist)
}

func requireKind(t *testing.T, want errkind.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, want, errkind.Of(err), "%v", err)
}

func TestMakesMountsAndFindsAgain(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.apply(t))
	s.sound(t, MinSize)
	for _, option := range []string{"nodev", "nosuid", "noexec", "discard", " xfs "} {
		assert.Contains(t, s.mounts(t)[0], option)
	}
	var st unix.Stat_t
	require.NoError(t, unix.Stat(s.image(), &st))
	assert.Less(t, st.Blocks*512, int64(MinSize)/2, "it is sparse")
	require.NoError(t, os.WriteFile(filepath.Join(s.Path, "f"), []byte("x"), 0o600))

	require.NoError(t, s.apply(t), "another process finds it mounted")
	s.sound(t, MinSize)
	s.unmount(t)
	require.Eventually(t, func() bool { return len(s.devices(t)) == 0 }, 20*time.Second, 10*time.Millisecond, "the loop device goes with the mount")
	require.NoError(t, os.RemoveAll(s.records), "a lost state folder")
	require.NoError(t, s.apply(t), "it is mounted again")
	b, err := os.ReadFile(filepath.Join(s.Path, "f"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
}

// What a datastore is for: snapshots of attached disks, and room that is given
// back.
func TestIsADatastoreWithReflinks(t *testing.T) {
	s := newSite(t)
	k := s.keeper()
	require.NoError(t, k.Apply(t.Context(), []Store{s.Store}))
	l, err := local.New(local.Options{Datastores: []local.Datastore{{Name: s.Name, Path: s.Path}}, VMs: []local.VM{{Name: "vm", DevDir: t.TempDir()}}, Ready: k.Ready})
	require.NoError(t, err)
	_, err = l.Adopt(t.Context(), s.Name)
	require.NoError(t, err)
	r := hypervisor.Ref{Datastore: s.Name, Group: "g", Volume: "v"}
	require.NoError(t, l.Create(t.Context(), r, 128*volspec.MiB, volspec.EagerZeroedThick))
	_, err = l.Attach(t.Context(), local.VMID("vm"), r, false)
	require.NoError(t, err)
	require.NoError(t, l.Snapshot(t.Context(), r, "s1"))
	all, err := l.Datastores(t.Context())
	require.NoError(t, err)
	assert.True(t, all[0].Reflink)
	assert.Equal(t, "xfs", all[0].Type)

	taken := k.Reports()[0].Taken
	assert.Greater(t, taken, 128*volspec.MiB)
	require.NoError(t, l.Detach(t.Context(), local.VMID("vm"), r))
	require.NoError(t, l.Delete(t.Context(), r))
	require.Eventually(t, func() bool {
		unix.Sync()
		return k.Reports()[0].Taken < taken-100*volspec.MiB
	}, 30*time.Second, 100*time.Millisecond, "the room of the disk is free below, too")

	s.unmount(t)
	all, err = l.Datastores(t.Context())
	require.NoError(t, err)
	assert.Equal(t, hypervisor.Online, all[0].State, "it is brought back when it is missed: %s", all[0].Detail)
}

// A mount in a namespace ends with it, but disks in use keep the file system;
// the next mount shows the same one.
func TestMountGoesWhileDisksAreAttached(t *testing.T) {
	s := newSite(t)
	k := s.keeper()
	require.NoError(t, k.Apply(t.Context(), []Store{s.Store}))
	l, err := local.New(local.Options{Datastores: []local.Datastore{{Name: s.Name, Path: s.Path}}, VMs: []local.VM{{Name: "vm", DevDir: t.TempDir()}}, Ready: k.Ready})
	require.NoError(t, err)
	_, err = l.Adopt(t.Context(), s.Name)
	require.NoError(t, err)
	r := hypervisor.Ref{Datastore: s.Name, Group: "g", Volume: "v"}
	require.NoError(t, l.Create(t.Context(), r, 16*volspec.MiB, volspec.Thin))
	_, err = l.Attach(t.Context(), local.VMID("vm"), r, false)
	require.NoError(t, err)
	require.NoError(t, unix.Unmount(s.Path, unix.MNT_DETACH))
	require.Len(t, s.devices(t), 1)
	require.NoError(t, k.Ready(t.Context(), s.Name))
	s.sound(t, MinSize)
	att, err := l.Attached(t.Context())
	require.NoError(t, err)
	require.Len(t, att, 1, "%v", att)
	assert.Equal(t, r, att[0].Ref)
	require.NoError(t, l.Detach(t.Context(), local.VMID("vm"), r))
}

func TestGrowsAndNeverShrinks(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.apply(t))
	require.NoError(t, os.WriteFile(filepath.Join(s.Path, "f"), []byte("x"), 0o600))
	s.Size = 2 * MinSize
	require.NoError(t, Check([]Store{s.Store}))
	require.NoError(t, s.apply(t))
	s.sound(t, 2*MinSize)
	s.Size = MinSize
	k := s.keeper()
	require.NoError(t, k.Apply(t.Context(), []Store{s.Store}), "it is there all the same")
	for _, err := range []error{Check([]Store{s.Store}), k.Reports()[0].Problem} {
		requireKind(t, errkind.Invalid, err)
		assert.Contains(t, errkind.Text(err), "has 1 GiB and cannot shrink to 512 MiB")
	}
	s.sound(t, 2*MinSize)
	require.NoError(t, k.Ready(t.Context(), s.Name))
	b, err := os.ReadFile(filepath.Join(s.Path, "f"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
}

// An image that was there and is not any more is never made a second time.
func TestMissingImageIsNotMadeAgain(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.apply(t))
	s.unmount(t)
	away := filepath.Join(s.dir, "away")
	require.NoError(t, os.Rename(s.image(), away))
	k := s.keeper()
	require.Error(t, k.Apply(t.Context(), []Store{s.Store}))
	assert.Empty(t, k.Reports(), "those from before are kept")
	k.Start(t.Context(), []Store{s.Store})
	require.NoError(t, k.Apply(t.Context(), []Store{s.Store}), "what was so before does not stand in the way of other changes")
	for range 2 {
		err := k.Ready(t.Context(), s.Name)
		requireKind(t, errkind.Unavailable, err)
		assert.Contains(t, errkind.Text(err), s.image()+" is missing")
		_, err = os.Stat(s.image())
		require.ErrorIs(t, err, os.ErrNotExist)
		assert.Empty(t, s.mounts(t))
	}
	l, err := local.New(local.Options{Datastores: []local.Datastore{{Name: s.Name, Path: s.Path}}, Ready: k.Ready})
	require.NoError(t, err)
	all, err := l.Datastores(t.Context())
	require.NoError(t, err)
	assert.Equal(t, hypervisor.Offline, all[0].State)
	assert.Contains(t, all[0].Detail, "is missing")
	_, err = l.Adopt(t.Context(), s.Name)
	requireKind(t, errkind.Unavailable, err)
	entries, err := os.ReadDir(s.Path)
	require.NoError(t, err)
	assert.Empty(t, entries, "no byte lands in the mount point")
	require.NoError(t, os.Rename(away, s.image()))
	_, err = l.Adopt(t.Context(), s.Name)
	require.NoError(t, err, "it is back")
}

func TestWhatStandsInTheWay(t *testing.T) {
	s := newSite(t)
	require.NoError(t, os.Mkdir(s.Path, 0o755))
	f := filepath.Join(s.Path, ".mooring-datastore")
	require.NoError(t, os.WriteFile(f, []byte("{}"), 0o600))
	err := s.apply(t)
	requireKind(t, errkind.Exists, err)
	assert.Contains(t, errkind.Text(err), ".mooring-datastore")
	_, err = os.Stat(s.image())
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Remove(f))

	sbin = []string{s.dir}
	t.Cleanup(func() { sbin = []string{"/usr/sbin", "/sbin"} })
	err = s.apply(t)
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, errkind.Text(err), "install the package xfsprogs")
	sbin = []string{"/usr/sbin", "/sbin"}

	away := *s
	away.Path = filepath.Join(s.dir, "not-mounted", "fast")
	requireKind(t, errkind.Unavailable, away.apply(t))

	require.NoError(t, os.WriteFile(s.image(), []byte("something else"), 0o600))
	requireKind(t, errkind.Corrupt, s.apply(t))
	b, err := os.ReadFile(s.image())
	require.NoError(t, err)
	assert.Equal(t, "something else", string(b))
	require.NoError(t, os.Remove(s.image()))
	require.NoError(t, os.RemoveAll(s.records))
	require.NoError(t, s.apply(t))
}

// The process is killed at each step; the next one goes on from there.
func TestKilledAtEachStep(t *testing.T) {
	make := []string{"managed.make.recorded", "managed.make.created", "managed.make.formatted", "managed.make.renamed", "managed.mount.bound", "managed.mount.mounted"}
	grow := []string{"managed.grow.file", "managed.grow.device"}
	for i, point := range append(make, grow...) {
		t.Run(point, func(t *testing.T) {
			s := newSite(t)
			if i >= len(make) {
				require.NoError(t, s.apply(t))
				require.NoError(t, os.WriteFile(filepath.Join(s.Path, "f"), []byte("x"), 0o600))
				s.Size = 2 * MinSize
			}
			spec, err := json.Marshal(crashWork{s.records, s.Store, point})
			require.NoError(t, err)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), crashEnv+"="+string(spec))
			out, err := cmd.CombinedOutput()
			require.ErrorContains(t, err, "signal: killed", "%s", out)
			require.NoError(t, s.apply(t))
			s.sound(t, s.Size)
			if i >= len(make) {
				_, err := os.Stat(filepath.Join(s.Path, "f"))
				require.NoError(t, err)
			}
			s.unmount(t)
			s.free(t)
		})
	}
}

// free waits until the device went with the mount: programs that are just being
// started elsewhere have a copy of it for a moment.
func (s *site) free(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return len(s.devices(t)) == 0 }, 20*time.Second, 10*time.Millisecond, "the device is free with the mount")
}

// The file system was in use when the machine lost power.
func TestUncleanLogIsReplayed(t *testing.T) {
	s := newSite(t)
	require.NoError(t, s.apply(t))
	require.NoError(t, os.WriteFile(filepath.Join(s.Path, "f"), []byte("x"), 0o600))
	d, err := os.Open(s.Path)
	require.NoError(t, err)
	require.NoError(t, unix.Syncfs(int(d.Fd())))
	require.NoError(t, unix.IoctlSetPointerInt(int(d.Fd()), 0x8004587d, 2)) // XFS_IOC_GOINGDOWN without the log
	require.NoError(t, d.Close())
	s.unmount(t)
	s.free(t)
	require.NoError(t, s.apply(t))
	b, err := os.ReadFile(filepath.Join(s.Path, "f"))
	require.NoError(t, err)
	assert.Equal(t, "x", string(b))
}

func TestReportOfRoomBelow(t *testing.T) {
	r := Report{Provided: 10 * volspec.GiB, Taken: 2 * volspec.GiB, Below: 5 * volspec.GiB}
	assert.Equal(t, 3*volspec.GiB, r.Short())
	r.Below = 9 * volspec.GiB
	assert.Zero(t, r.Short())
	s := newSite(t)
	k := s.keeper()
	require.NoError(t, k.Apply(t.Context(), []Store{s.Store}))
	all := k.Reports()
	require.Len(t, all, 1)
	assert.Equal(t, MinSize, all[0].Provided)
	assert.Positive(t, all[0].Taken)
	assert.Positive(t, all[0].Below)
	require.NoError(t, all[0].Problem)
}
