package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// vault is a daemon with real disks on a managed datastore and a folder for
// repositories. Its volumes are written to where they lie.
type vault struct {
	*site
	a *hostclient.Admin
}

// newVault starts one; head is more configuration.
func newVault(t *testing.T, more string) *vault {
	t.Helper()
	dir, err := os.MkdirTemp("", "vault")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{dir: dir, path: filepath.Join(dir, "m.toml"), reload: make(chan os.Signal)}
	s.write(t, fmt.Sprintf(`
[[datastore]]
name = "d1"
path = %q
size = "2gb"
[[vm]]
name = "vm1"
datastore = "d1"
dev = %q
[[vm]]
name = "vm2"
datastore = "d1"
dev = %q
`, dir+"/d1", dir+"/dev1", dir+"/dev2")+more)
	for _, d := range []string{"/d1", "/dev1", "/dev2"} {
		require.NoError(t, os.Mkdir(dir+d, 0o755))
	}
	v := &vault{site: s}
	t.Cleanup(func() { _ = exec.Command("umount", dir+"/d1").Run() })
	v.run(t)
	_, err = v.a.CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: "Dev", VMs: []string{"vm1"}, DefaultDatastore: "d1"})
	require.NoError(t, err)
	_, err = v.a.CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: "Test", VMs: []string{"vm2"}, DefaultDatastore: "d1"})
	require.NoError(t, err)
	return v
}

func (v *vault) run(t *testing.T) {
	t.Helper()
	cfg, err := config.Load(v.path)
	require.NoError(t, err)
	st, err := openState(cfg)
	require.NoError(t, err)
	h, err := newLocalHost(t.Context(), cfg)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	v.stop, v.ended = cancel, make(chan struct{})
	v.d, err = build(ctx, Options{Config: v.path, Version: "test"}, cfg, st, h)
	require.NoError(t, err)
	go func() {
		defer close(v.ended)
		defer st.close()
		v.err = v.d.run(ctx, v.reload)
	}()
	t.Cleanup(func() {
		cancel()
		<-v.ended
		assert.NoError(t, v.err)
	})
	v.ready(t)
	v.a = v.admin(t)
}

// volume makes one and returns its image.
func (v *vault) volume(t *testing.T, name, size string) string {
	t.Helper()
	vol, err := v.a.CreateVolume(t.Context(), "Dev", wire.CreateVolume{Name: name, Options: map[string]string{"size": size}})
	require.NoError(t, err)
	return v.image(t, vol)
}

// format plays a guest's first mount of a volume: mkfs is its part.
func (v *vault) format(t *testing.T, name string, mkfs func()) {
	t.Helper()
	c := v.guest(t, "vm1")
	at, err := c.Attach(t.Context(), name, wire.Attach{BootID: "b"})
	require.NoError(t, err)
	require.NoError(t, c.SetFormat(t.Context(), name, wire.SetFormat{Epoch: at.Epoch, State: volspec.Formatting}))
	mkfs()
	require.NoError(t, c.SetFormat(t.Context(), name, wire.SetFormat{Epoch: at.Epoch, State: volspec.Formatted}))
	require.NoError(t, c.Detach(t.Context(), name, wire.Detach{}))
}

func (v *vault) image(t *testing.T, vol wire.Volume) string {
	t.Helper()
	found, err := filepath.Glob(v.dir + "/d1/dockvols/*/" + string(vol.ID) + ".img")
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// scribble writes n random bytes at an offset and returns them.
func scribble(t *testing.T, path string, off int64, n int) {
	t.Helper()
	b := make([]byte, n)
	_, _ = rand.Read(b)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt(b, off)
	require.NoError(t, err)
	require.NoError(t, f.Sync())
}

func sameContent(t *testing.T, want, have string) {
	t.Helper()
	out, err := exec.Command("cmp", want, have).CombinedOutput()
	assert.NoError(t, err, "%s", out)
}

func (v *vault) repository(t *testing.T, group, name string) wire.Repository {
	t.Helper()
	r, err := v.a.CreateRepository(t.Context(), group, wire.CreateRepository{
		Name: name, Location: wire.Location{Type: "directory", Path: v.dir + "/repo-" + name},
	})
	require.NoError(t, err)
	assert.Equal(t, "online", r.State, r.Detail)
	return r
}

// end waits for a job and wants it in a state.
func (v *vault) end(t *testing.T, group string, j wire.Job, state string) wire.Job {
	t.Helper()
	for range 60 {
		var err error
		j, err = v.a.Job(t.Context(), group, j.ID, 2000)
		require.NoError(t, err)
		if !j.Ended.IsZero() {
			break
		}
	}
	require.Equal(t, state, j.State, "%s %s", j.Error, j.Warnings)
	for _, st := range j.Steps {
		t.Logf("%s %s: %s %s", j.Kind, j.Object, st.Name, st.Ended.Sub(st.Begun))
	}
	return j
}

func (v *vault) backup(t *testing.T, volume string) wire.Point {
	t.Helper()
	jobs, err := v.a.Backup(t.Context(), "Dev", wire.RunBackup{Volumes: []string{volume}})
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	j := v.end(t, "Dev", jobs[0], "done")
	p, err := v.a.Point(t.Context(), "Dev", j.Point)
	require.NoError(t, err)
	return p
}

func TestBackupAndRestore(t *testing.T) {
	v := newVault(t, "")
	img := v.volume(t, "db", "200mb")
	v.repository(t, "Dev", "main")
	scribble(t, img, 0, 20<<20)
	scribble(t, img, 150<<20, 1<<20)
	first := v.backup(t, "db")
	assert.Equal(t, volspec.Completed, first.State)
	assert.EqualValues(t, 21<<20, first.DataBytes)
	assert.Contains(t, first.Tracking, "full read: this is the first backup")

	scribble(t, img, 5<<20, 4096)
	second := v.backup(t, "db")
	assert.Contains(t, second.Tracking, "changed extents since")
	// What changed, and what chance chose to be compared.
	assert.Less(t, second.ReadBytes, first.ReadBytes/2, "an incremental reads what changed")
	third := v.backup(t, "db")
	assert.LessOrEqual(t, third.StoredBytes, int64(64<<10), "nothing changed")

	// A new volume by default.
	j, err := v.a.RestorePoint(t.Context(), "Dev", string(second.ID), wire.RunRestore{})
	require.NoError(t, err)
	v.end(t, "Dev", j, "done")
	got, err := v.a.Volume(t.Context(), "Dev", "db-restored")
	require.NoError(t, err)
	sameContent(t, img, v.image(t, got))

	// In place: what was there is a snapshot.
	scribble(t, img, 0, 8<<20)
	j, err = v.a.RestorePoint(t.Context(), "Dev", "db@latest", wire.RunRestore{InPlace: true})
	require.NoError(t, err)
	v.end(t, "Dev", j, "done")
	sameContent(t, v.image(t, got), img)
	snaps, err := v.a.Snapshots(t.Context(), "Dev", "db")
	require.NoError(t, err)
	require.Len(t, snaps, 1)
	assert.True(t, strings.HasPrefix(snaps[0].Name, "before-restore-"), snaps[0].Name)

	// The incremental after it cannot trust the old base for the wrong bytes.
	fourth := v.backup(t, "db")
	j, err = v.a.RestorePoint(t.Context(), "Dev", string(fourth.ID), wire.RunRestore{Name: "again"})
	require.NoError(t, err)
	v.end(t, "Dev", j, "done")
	got, err = v.a.Volume(t.Context(), "Dev", "again")
	require.NoError(t, err)
	sameContent(t, img, v.image(t, got))

	// The guest's way: docker volume create -o restore-from=latest.
	require.NoError(t, v.a.RemoveVolume(t.Context(), "Dev", "db", false))
	c := v.guest(t, "vm1")
	made, err := c.Create(t.Context(), wire.CreateVolume{Name: "db", Options: map[string]string{"restore-from": "latest"}})
	require.NoError(t, err)
	sameContent(t, v.image(t, got), v.image(t, made))
	_, err = c.Create(t.Context(), wire.CreateVolume{Name: "db", Options: map[string]string{"restore-from": "latest"}})
	assert.NoError(t, err, "a repeated create is a success")

	// Nobody else's: the same words as for a point that there never was.
	other := v.guest(t, "vm2")
	_, foreign := other.Create(t.Context(), wire.CreateVolume{Name: "x", Options: map[string]string{"restore-from": string(first.ID)}})
	_, absent := other.Create(t.Context(), wire.CreateVolume{Name: "x", Options: map[string]string{"restore-from": "00000000-0000-4000-8000-000000000000"}})
	assert.Equal(t, errkind.NotFound, errkind.Of(foreign))
	assert.Equal(t, strings.ReplaceAll(errkind.Text(absent), "00000000-0000-4000-8000-000000000000", string(first.ID)), errkind.Text(foreign))
}

func TestFilesVerifyAndDrill(t *testing.T) {
	v := newVault(t, "")
	img := v.volume(t, "db", "64mb")
	v.repository(t, "Dev", "main")
	tree := t.TempDir()
	require.NoError(t, os.WriteFile(tree+"/hello", []byte("hello world\n"), 0o640))
	v.format(t, "db", func() {
		out, err := exec.Command("mkfs.ext4", "-q", "-d", tree, img).CombinedOutput()
		require.NoError(t, err, "%s", out)
	})
	p := v.backup(t, "db")

	list, err := v.a.Files(t.Context(), "Dev", "db@latest", "/", "", 0)
	require.NoError(t, err)
	var names []string
	for _, f := range list.Files {
		names = append(names, f.Name)
	}
	assert.Contains(t, names, "hello")
	body, err := v.a.File(t.Context(), "Dev", string(p.ID), "/hello")
	require.NoError(t, err)
	text, err := io.ReadAll(body)
	require.NoError(t, err)
	require.NoError(t, body.Close())
	assert.Equal(t, "hello world\n", string(text))

	j, err := v.a.VerifyPoint(t.Context(), "Dev", string(p.ID), wire.RunVerify{Mode: "full"})
	require.NoError(t, err)
	v.end(t, "Dev", j, "done")
	p, err = v.a.Point(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err)
	assert.Equal(t, volspec.Verified, p.State)

	j, err = v.a.DrillPoint(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err)
	v.end(t, "Dev", j, "done")
	p, err = v.a.Point(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err)
	assert.Equal(t, volspec.Proven, p.State)

	raw, err := v.a.Image(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err)
	var b bytes.Buffer
	_, err = io.Copy(&b, raw)
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	want, err := os.ReadFile(img)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want, b.Bytes()), "the exported image is the disk")

	// Shown as a disk, without copying it.
	shown, err := v.guest(t, "vm1").Create(t.Context(), wire.CreateVolume{Name: "old", Options: map[string]string{"view-of": "db@latest"}})
	require.NoError(t, err)
	at, err := v.guest(t, "vm1").Attach(t.Context(), "old", wire.Attach{BootID: "b"})
	require.NoError(t, err)
	assert.True(t, at.ReadOnly)
	node := v.dir + "/dev1/mooring/" + at.Serial
	mnt := t.TempDir()
	out, err := exec.Command("mount", "-o", "ro", node, mnt).CombinedOutput()
	require.NoError(t, err, "%s", out)
	text, err = os.ReadFile(mnt + "/hello")
	assert.NoError(t, err)
	assert.Equal(t, "hello world\n", string(text))
	out, err = exec.Command("umount", mnt).CombinedOutput()
	require.NoError(t, err, "%s", out)
	err = v.a.DeletePoint(t.Context(), "Dev", string(p.ID))
	assert.ErrorContains(t, err, "is shown by volume old")
	require.NoError(t, v.guest(t, "vm1").Detach(t.Context(), "old", wire.Detach{}))
	require.NoError(t, v.guest(t, "vm1").Remove(t.Context(), "old"))
	assert.NotEmpty(t, shown.ID)

	// Held points stay; others go.
	on, off := true, false
	_, err = v.a.SetPoint(t.Context(), "Dev", string(p.ID), wire.SetPoint{Hold: &on})
	require.NoError(t, err)
	assert.ErrorContains(t, v.a.DeletePoint(t.Context(), "Dev", string(p.ID)), "is held")
	_, err = v.a.SetPoint(t.Context(), "Dev", string(p.ID), wire.SetPoint{Hold: &off})
	require.NoError(t, err)
	require.NoError(t, v.a.DeletePoint(t.Context(), "Dev", string(p.ID)))
	_, err = v.a.Point(t.Context(), "Dev", string(p.ID))
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
}

// A place that is empty, or another, is never taken for one without points.
func TestAbsenceDeletesNothing(t *testing.T) {
	v := newVault(t, "")
	scribble(t, v.volume(t, "db", "16mb"), 0, 8<<20)
	v.repository(t, "Dev", "main")
	p := v.backup(t, "db")
	place := v.dir + "/repo-main"
	require.NoError(t, os.Rename(place, place+".away"))
	require.NoError(t, os.Mkdir(place, 0o700))

	jobs, err := v.a.Backup(t.Context(), "Dev", wire.RunBackup{Volumes: []string{"db"}})
	require.NoError(t, err)
	j := v.end(t, "Dev", jobs[0], "failed")
	assert.Contains(t, j.Error, "step repository: repository main")
	r, err := v.a.CheckRepository(t.Context(), "Dev", "main")
	require.NoError(t, err)
	assert.Equal(t, "offline", r.State)
	assert.NotEmpty(t, r.Detail)
	left, err := os.ReadDir(place)
	require.NoError(t, err)
	assert.Empty(t, left, "nothing is written to a place that is not the repository")
	alarms, err := v.a.GroupAlarms(t.Context(), "Dev")
	require.NoError(t, err)
	assert.NotEmpty(t, alarms)
	_, err = v.a.Prune(t.Context(), "Dev", wire.Prune{})
	require.NoError(t, err)
	_, err = v.a.Point(t.Context(), "Dev", string(p.ID))
	require.NoError(t, err, "the point is still known")

	require.NoError(t, os.Remove(place))
	require.NoError(t, os.Rename(place+".away", place))
	r, err = v.a.CheckRepository(t.Context(), "Dev", "main")
	require.NoError(t, err)
	assert.Equal(t, "online", r.State, r.Detail)
	v.backup(t, "db")
}

// A kit and the repository are enough on an empty installation.
func TestRecoveryKit(t *testing.T) {
	v := newVault(t, "")
	img := v.volume(t, "db", "16mb")
	scribble(t, img, 0, 8<<20)
	v.repository(t, "Dev", "main")
	v.backup(t, "db")
	kit, err := v.a.RepositoryKit(t.Context(), "Dev", "main", wire.KitOptions{})
	require.NoError(t, err)

	fresh := newVault(t, "")
	r, err := fresh.a.CreateRepository(t.Context(), "Test", wire.CreateRepository{Name: "found", Kit: kit.Text})
	require.NoError(t, err)
	assert.Equal(t, 1, r.Points)
	j, err := fresh.a.RestorePoint(t.Context(), "Test", "db@latest", wire.RunRestore{Name: "db"})
	require.NoError(t, err)
	fresh.end(t, "Test", j, "done")
	got, err := fresh.a.Volume(t.Context(), "Test", "db")
	require.NoError(t, err)
	sameContent(t, img, fresh.image(t, got))
}

func TestBackupQuota(t *testing.T) {
	v := newVault(t, "")
	img := v.volume(t, "db", "200mb")
	scribble(t, img, 0, 100<<20)
	v.repository(t, "Dev", "main")
	_, err := v.a.SetBackupLimit(t.Context(), "Dev", wire.SetBackupLimit{MaxStored: 40 * volspec.MiB})
	require.NoError(t, err)
	jobs, err := v.a.Backup(t.Context(), "Dev", wire.RunBackup{Volumes: []string{"db"}})
	require.NoError(t, err)
	j := v.end(t, "Dev", jobs[0], "failed")
	assert.Equal(t, string(errkind.Quota), j.ErrorKind)
	assert.Contains(t, j.Error, "the backup storage quota of vmgroup Dev is reached")
	list, err := v.a.Points(t.Context(), "Dev", hostclient.PointsQuery{})
	require.NoError(t, err)
	assert.Empty(t, list.Points)
}

// A scheduled policy protects what it names, keeps what it says, and tells
// when something is late.
func TestPolicyRuns(t *testing.T) {
	v := newVault(t, "")
	scribble(t, v.volume(t, "db", "16mb"), 0, 1<<20)
	v.volume(t, "cache", "16mb")
	v.repository(t, "Dev", "main")
	p, err := v.a.CreatePolicy(t.Context(), "Dev", wire.Policy{
		Name: "often", Volumes: []string{"*"}, Exclude: []string{"cache"}, Repository: "main",
		Schedule: "*:*:0/2", RPO: "1h", Keep: wire.Keep{Last: 1},
	})
	require.NoError(t, err)
	assert.Equal(t, "skip", p.Overlap)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		jobs, err := v.a.GroupJobs(t.Context(), "Dev", hostclient.JobsQuery{Kind: "backup", State: "done"})
		assert.NoError(c, err)
		assert.GreaterOrEqual(c, len(jobs.Jobs), 3)
	}, 4*time.Minute, 200*time.Millisecond)
	require.NoError(t, v.a.RemovePolicy(t.Context(), "Dev", "often"))
	list, err := v.a.Points(t.Context(), "Dev", hostclient.PointsQuery{})
	require.NoError(t, err)
	assert.LessOrEqual(t, len(list.Points), 2)
	for _, pt := range list.Points {
		assert.Equal(t, "db@d1", pt.Volume)
	}
	_, err = v.a.CreatePolicy(t.Context(), "Dev", wire.Policy{Name: "bad", Volumes: []string{"["}, Repository: "none", Schedule: "at noon"})
	assert.ErrorContains(t, err, "pattern")
	assert.ErrorContains(t, err, "schedule")
}
