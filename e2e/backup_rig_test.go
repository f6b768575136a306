package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// vault is a rig whose vmgroup has the repository "main", a folder.
type vault struct {
	*rig
	place string // the folder
}

// mostStall is how long the writers of a volume may be made to wait.
const mostStall = 10 * time.Second

// newVault starts a vault; with a managed datastore by default.
func newVault(t *testing.T, name string, ds *harness.Datastore, guests []*plain, bin harness.Binaries, change func(*harness.Config)) *vault {
	t.Helper()
	if ds == nil {
		ds = managed(t, name, "4gb")
	}
	v := &vault{place: folder(t, name+"-main")}
	t.Cleanup(func() { // after the rig's
		if left := v.Outside(); len(left) > 0 {
			t.Errorf("mooringd left in the kernel: %v", left)
		}
	})
	v.rig = newRig(t, name, ds, guests, bin, change)
	v.Mooring(t.Context(), "repository", "create", team+"/main", "--type=directory", "--path="+v.place).OK(t)
	return v
}

// folder is the path of one in the lab that is not there yet.
func folder(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.MkdirTemp(lab.Dir, name+".")
	require.NoError(t, err)
	return filepath.Join(dir, name)
}

// backup backs volumes of the team up, all at once, and returns their points.
func (v *vault) backup(t *testing.T, volumes ...string) (points []wire.Point) {
	t.Helper()
	args := append([]string{"backup", "run", "--vmgroup=" + team, "-o", "name"}, volumes...)
	ids := v.Mooring(t.Context(), args...).OK(t).Lines()
	require.Len(t, ids, len(volumes))
	for _, id := range ids {
		p, err := v.admin.Point(t.Context(), team, filepath.Base(id))
		require.NoError(t, err)
		points = append(points, p)
	}
	return points
}

// points are those of a volume of the team, newest first.
func (v *vault) points(t *testing.T, volume string) []wire.Point {
	t.Helper()
	list, err := v.admin.Points(t.Context(), team, hostclient.PointsQuery{Volume: volume})
	require.NoError(t, err)
	return list.Points
}

// idle waits until no job is open.
func (v *vault) idle(t *testing.T) {
	t.Helper()
	require.NoError(t, harness.Eventually(90*time.Second, func() error {
		open, err := v.admin.GroupJobs(t.Context(), team, hostclient.JobsQuery{State: "open"})
		if err == nil && len(open.Jobs) > 0 {
			j := open.Jobs[0]
			err = fmt.Errorf("job %s (%s) is %s in %s", j.ID, j.Kind, j.State, j.Stage)
		}
		return err
	}))
}

// export writes the disk of a point to a file, through the command line.
func (v *vault) export(t *testing.T, point string) string {
	t.Helper()
	out := filepath.Join(filepath.Dir(v.place), filepath.Base(point)+".img")
	v.Mooring(t.Context(), "backup", "export", team+"/"+point, "--out="+out).OK(t)
	return out
}

// sound checks the filesystem in an image that an export wrote. A frozen xfs
// leaves work in its log on purpose, which its tool wants done by a mount.
func sound(t *testing.T, fstype, image string) {
	t.Helper()
	switch fstype {
	case "xfs":
		dir := t.TempDir()
		lab.Run(t, "mount", "-o", "loop,nouuid", image, dir).OK(t)
		lab.Run(t, "umount", dir).OK(t)
		lab.Run(t, "xfs_repair", "-n", "-f", image).OK(t)
	case "btrfs":
		lab.Run(t, "btrfs", "check", "--readonly", image).OK(t)
	default:
		lab.Run(t, "e2fsck", "-fn", image).OK(t)
	}
}

// restoring makes a volume of a point with "docker volume create" on g, and
// removes it at the end of what look does with it. A copy may take longer than
// Docker waits: vSphere is sent all of a disk. The repeated command joins it.
func restoring(t *testing.T, g *plain, point, name string, look func()) {
	t.Helper()
	require.NoError(t, harness.Eventually(2*time.Minute, func() error {
		r := tryCreate(t, g.Guest, name, "restore-from="+point)
		if r.Code == 0 {
			return nil
		}
		require.Contains(t, r.Stderr, "repeat the command")
		return fmt.Errorf("%s", r)
	}))
	look()
	remove(t, g.Guest, name)
}

// scribe is a container that writes synced lines, see package scribe.
type scribe struct {
	g      *plain
	volume string
}

// scribes starts one on g that has the volume.
func scribes(t *testing.T, g *plain, volume string) scribe {
	t.Helper()
	g.Put(t, lab.Scribe(t), "scribe")
	s := scribe{g, volume}
	require.NoError(t, os.WriteFile(s.ack(), nil, 0o600))
	g.Docker(t.Context(), "run", "-d", "--network=none", "--name", s.name(), "--volume-driver", harness.Driver, "-v", volume+":/vol", "-v", "/srv:/srv",
		harness.Image, "/srv/scribe", "/vol/scribed", "/srv/"+filepath.Base(s.ack())).OK(t)
	s.goesOn(t, mostStall)
	return s
}

func (s scribe) name() string { return "scribe-" + s.volume }

func (s scribe) ack() string { return filepath.Join(s.g.Disk(), s.name()+".ack") }

// state is how many lines are certainly on disk, and the longest wait so far.
func (s scribe) state() (lines int, longest time.Duration) {
	text, _ := os.ReadFile(s.ack())
	var us int64
	_, _ = fmt.Sscan(string(text), &lines, &us)
	return lines, time.Duration(us) * time.Microsecond
}

func (s scribe) lines() int {
	n, _ := s.state()
	return n
}

// goesOn waits until more lines are written.
func (s scribe) goesOn(t *testing.T, limit time.Duration) {
	t.Helper()
	before := s.lines()
	require.NoError(t, harness.Eventually(limit, func() error {
		if n := s.lines(); n < before+5 {
			return fmt.Errorf("the container has written %d lines, then %d", before, n)
		}
		return nil
	}))
}

// end stops the container and returns the longest wait.
func (s scribe) end(t *testing.T) time.Duration {
	t.Helper()
	require.Equal(t, "running", s.g.Docker(t.Context(), "inspect", "-f", "{{.State.Status}}", s.name()).OK(t).Stdout, "the container never failed to write")
	_, longest := s.state()
	drop(t, s.g.Guest, s.name())
	return longest
}

// scribed is how many lines there are in a volume; none may be missing or
// broken.
func scribed(t *testing.T, g *plain, volume string) (lines int) {
	t.Helper()
	r := sh(t, g.Guest, volume, `awk 'length($0) != 15 || $1+0 != NR { print "line " NR " is " $0; bad = 1; exit } END { if (bad) exit 1; print NR }' /vol/scribed`).OK(t)
	_, err := fmt.Sscan(r.Stdout, &lines)
	require.NoError(t, err, "%s", r)
	return lines
}

// noPoint is the id of a recovery point that is nowhere.
const noPoint = volspec.PointID("00000000-0000-4000-8000-000000000000")
