package app_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// step is something a guest or an admin does; doing it again after a lost
// answer is safe.
type step struct {
	name string
	do   func(t *testing.T, p *process) error
}

const (
	crashVM   = "vm1"
	crashSize = 64 << 20
)

var pattern = bytes.Repeat([]byte("what was written stays "), 1000)

// life is a volume's whole life, with every recorded step of the service.
var life = []step{
	{"vmgroup", func(t *testing.T, p *process) error {
		_, err := p.admin(t).CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: "team"})
		return unless(errkind.Exists, err)
	}},
	{"limits", func(t *testing.T, p *process) error {
		yes, total := true, volspec.Size(6*crashSize)
		return unless(errkind.Exists, p.admin(t).AddAccess(t.Context(), "team", wire.SetAccess{Datastore: "datastore1", AllowCreate: &yes, TotalSize: &total, DefaultDatastore: true}))
	}},
	{"member", func(t *testing.T, p *process) error {
		err := p.admin(t).AddVMs(t.Context(), "team", []string{crashVM})
		if err != nil && strings.Contains(err.Error(), "has already been associated with tenant 'team'") {
			return nil
		}
		return err
	}},
	{"create", func(t *testing.T, p *process) error {
		_, err := p.guest(t, crashVM).Create(t.Context(), wire.CreateVolume{Name: "v", Options: map[string]string{"size": "64mb"}})
		return err
	}},
	{"format", func(t *testing.T, p *process) error {
		c := p.guest(t, crashVM)
		a, err := c.Attach(t.Context(), "v", wire.Attach{BootID: "boot", WaitMS: 5000})
		if err != nil || a.Format == volspec.Formatted {
			return err
		}
		if err := c.SetFormat(t.Context(), "v", wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatting}); err != nil {
			return err
		}
		return c.SetFormat(t.Context(), "v", wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatted})
	}},
	{"write", func(t *testing.T, p *process) error {
		a, err := p.guest(t, crashVM).Attach(t.Context(), "v", wire.Attach{BootID: "boot"})
		if err != nil {
			return err
		}
		f, err := os.OpenFile(p.path("dev-"+crashVM+"/mooring/"+a.Serial), os.O_RDWR|os.O_SYNC, 0)
		require.NoError(t, err)
		defer f.Close()
		_, err = f.WriteAt(pattern, 1<<20)
		return err
	}},
	{"grow", func(t *testing.T, p *process) error {
		_, err := p.admin(t).ResizeVolume(t.Context(), "team", "v@datastore1", wire.Resize{Size: 2 * crashSize})
		return err
	}},
	{"detach", func(t *testing.T, p *process) error {
		return p.guest(t, crashVM).Detach(t.Context(), "v", wire.Detach{})
	}},
	{"clone", func(t *testing.T, p *process) error {
		_, err := p.guest(t, crashVM).Create(t.Context(), wire.CreateVolume{Name: "copy", Options: map[string]string{"clone-from": "v"}})
		return err
	}},
	{"snapshot", func(t *testing.T, p *process) error {
		_, err := p.admin(t).CreateSnapshot(t.Context(), "team", "v@datastore1", wire.CreateSnapshot{Name: "s"})
		return unless(errkind.Exists, err)
	}},
	{"unsnapshot", func(t *testing.T, p *process) error {
		return unless(errkind.NotFound, p.admin(t).DeleteSnapshot(t.Context(), "team", "v@datastore1", "s"))
	}},
	{"read", func(t *testing.T, p *process) error { return read(t, p, "v") }},
	{"read the clone", func(t *testing.T, p *process) error { return read(t, p, "copy") }},
	{"fence", func(t *testing.T, p *process) error {
		c := p.guest(t, crashVM)
		if _, err := c.Attach(t.Context(), "v", wire.Attach{BootID: "boot", WaitMS: 5000}); err != nil {
			return err
		}
		return p.admin(t).DetachVolume(t.Context(), "team", "v@datastore1", wire.DetachVolume{Force: true})
	}},
	{"trash", func(t *testing.T, p *process) error {
		return unless(errkind.NotFound, p.guest(t, crashVM).Remove(t.Context(), "v"))
	}},
	{"undelete", func(t *testing.T, p *process) error {
		_, err := p.admin(t).UndeleteVolume(t.Context(), "team", "v@datastore1", wire.Undelete{})
		if err != nil && live(t, p, "v@datastore1") {
			return nil
		}
		return err
	}},
	{"remove the group", func(t *testing.T, p *process) error {
		return unless(errkind.NotFound, p.admin(t).RemoveVMGroup(t.Context(), "team", true, true))
	}},
}

func unless(k errkind.Kind, err error) error {
	if errkind.Is(err, k) {
		return nil
	}
	return err
}

func live(t *testing.T, p *process, name string) bool {
	l, err := p.admin(t).Volumes(t.Context(), hostclient.VolumesQuery{VMGroup: "team"})
	return err == nil && slices.ContainsFunc(l.Volumes, func(v wire.Volume) bool { return v.Name == name })
}

// read checks that a volume holds what was written, on a disk of its own
// size.
func read(t *testing.T, p *process, name string) error {
	c := p.guest(t, crashVM)
	a, err := c.Attach(t.Context(), name, wire.Attach{BootID: "boot", WaitMS: 5000})
	if err != nil {
		return err
	}
	assert.EqualValues(t, 2*crashSize, a.Size, name)
	assert.Equal(t, volspec.Formatted, a.Format, name)
	f, err := os.Open(p.path("dev-" + crashVM + "/mooring/" + a.Serial))
	require.NoError(t, err)
	got := make([]byte, len(pattern))
	_, err = f.ReadAt(got, 1<<20)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(pattern, got), "the content of %s changed", name)
	require.NoError(t, f.Close())
	return c.Detach(t.Context(), name, wire.Detach{})
}

// TestCrashAtEveryPoint kills the daemon at each point that its first start and
// a volume's life pass. After the restart the interrupted command is repeated and succeeds,
// and at the end nothing is left.
func TestCrashAtEveryPoint(t *testing.T) {
	points := passed(t)
	require.Greater(t, len(points), 20, "%v", points)
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			p := newProcess(t, []string{crashVM}, "[volume]\nreconcile='1s'\n")
			crashes := 0
			if !p.begins(t, "MOORING_CRASH_AT="+point) {
				crashes++
				p.start(t)
			}
			for _, s := range life {
				err := s.do(t, p)
				for tries := 0; err != nil && tries < 2; tries++ {
					require.Eventually(t, func() bool {
						select {
						case <-p.ended:
							return true
						default:
							return false
						}
					}, 5*time.Second, 10*time.Millisecond, "%s failed, and not by the crash: %v", s.name, err)
					crashes++
					p.start(t)
					err = s.do(t, p)
				}
				require.NoError(t, err, s.name)
			}
			assert.Equal(t, 1, crashes)
			nothingLeft(t, p)
		})
	}
}

// passed are the points of a life without a crash, which must leave nothing
// behind either.
func passed(t *testing.T) []string {
	p := newProcess(t, []string{crashVM}, "[volume]\nreconcile='1s'\n")
	log := p.path("points")
	p.start(t, "MOORING_CRASH_LOG="+log)
	for _, s := range life {
		require.NoError(t, s.do(t, p), s.name)
	}
	nothingLeft(t, p)
	p.kill()
	b, err := os.ReadFile(log)
	require.NoError(t, err)
	points := strings.Fields(string(b))
	slices.Sort(points)
	return slices.Compact(points)
}

// nothingLeft compares catalog, files and loop devices with nothing.
func nothingLeft(t *testing.T, p *process) {
	t.Helper()
	l, err := p.admin(t).Volumes(t.Context(), hostclient.VolumesQuery{State: "all"})
	require.NoError(t, err)
	assert.Empty(t, l.Volumes)
	stores, err := p.admin(t).Datastores(t.Context())
	require.NoError(t, err)
	for _, d := range stores {
		assert.Zero(t, d.Allocated, d.Name)
		require.NoError(t, filepath.WalkDir(d.Path, func(path string, e os.DirEntry, err error) error {
			if err == nil && !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
				t.Errorf("left behind: %s", path)
			}
			return err
		}))
	}
	assert.Empty(t, p.loops(t))
	found, err := p.admin(t).Doctor(t.Context())
	require.NoError(t, err)
	for _, f := range found {
		if f.Level != "ok" && f.Check != "clock" && !strings.HasPrefix(f.Check, "datastore ") {
			t.Error(fmt.Sprint(f))
		}
	}
}
