package volume_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestRestoreToANewVolume(t *testing.T) {
	w := newWorld(t)
	p := w.points.add(w.dev, "db", "p1", "new content")
	v := w.mustCreate(t, vm1, "db", "restore-from", "latest")
	assert.Equal(t, volspec.Formatted, v.Format)
	assert.Equal(t, int64(volspec.GiB), v.SizeBytes)
	assert.Equal(t, volspec.XFS, v.Spec.FSType)
	assert.Equal(t, "latest", v.Spec.RestoreFrom)
	assert.Equal(t, []string{"noatime"}, v.Spec.MountOpts)
	assert.Empty(t, v.FSNote)
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.NotEqual(t, p.FSUUID, a.FSUUID, "the guest renews it, as of a clone")
	assert.False(t, a.ReadOnly)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	assert.Equal(t, "new content", w.content(t, "db", 11))

	larger := w.mustCreate(t, vm1, "larger", "restore-from", "p1", "size", "2gb", "access", "read-only")
	assert.Equal(t, int64(2*volspec.GiB), larger.SizeBytes)
	assert.Equal(t, "the filesystem grows at the next mount", larger.FSNote)
	assert.Equal(t, volspec.ReadOnly, larger.Spec.Access)
	w.points.change("p1", func(x *aPoint) { x.Format, x.content = volspec.Blank, "" })
	blank := w.mustCreate(t, vm1, "blank", "restore-from", "db@latest", "size", "2gb")
	assert.Equal(t, volspec.Blank, blank.Format, "its first mount formats it")
	assert.Empty(t, blank.FSNote)
	w.agree(t)
}

func TestRestoreRepeated(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	v := w.mustCreate(t, vm1, "db", "restore-from", "db@latest")
	w.points.add(w.dev, "db", "p2", "y")
	for _, ref := range []string{"db@latest", "latest"} {
		assert.Equal(t, v.ID, w.mustCreate(t, vm1, "db", "restore-from", ref).ID, ref)
	}
	assert.Equal(t, v.ID, w.mustCreate(t, vm1, "db").ID, "nothing different asked for")
	assert.Equal(t, 1, w.points.restores)
	_, err := w.create(t, vm1, "db", "restore-from", "p2")
	requireKind(t, errkind.Exists, err)
	assert.EqualError(t, err, "volume db@fast already exists and is not restored from p2: choose another name")
	_, err = w.create(t, vm1, "db", "restore-from", "latest", "size", "2gb")
	requireKind(t, errkind.Exists, err)

	// Written in another way, the same point.
	byID := w.mustCreate(t, vm1, "id", "restore-from", "p2")
	assert.Equal(t, byID.ID, w.mustCreate(t, vm1, "id", "restore-from", "db@latest").ID)
	w.points.list = nil // an expired point takes nothing away from what is there
	assert.Equal(t, byID.ID, w.mustCreate(t, vm1, "id", "restore-from", "p2").ID)

	w.mustCreate(t, vm1, "plain")
	_, err = w.create(t, vm1, "plain", "restore-from", "latest")
	requireKind(t, errkind.Exists, err)
	w.agree(t)
}

func TestRestoresThatAreRefused(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	w.points.add(w.test, "db", "theirs", "x")
	w.points.add(w.dev, "big", "huge", "x")
	w.points.change("huge", func(x *aPoint) { x.Size = 11 * volspec.GiB })
	for name, c := range map[string]struct {
		caller volspec.Caller
		volume string
		opts   []string
		kind   errkind.Kind
	}{
		"smaller than the point": {vm1, "v", []string{"restore-from", "p1", "size", "512mb"}, errkind.Invalid},
		"over the quota":         {vm1, "v", []string{"restore-from", "huge"}, errkind.Quota},
		"no right":               {vm1, "v@slow", []string{"restore-from", "p1"}, errkind.Denied},
		"no vmgroup":             {stray, "v", []string{"restore-from", "p1"}, errkind.Denied},
		"no point of that name":  {vm1, "v", []string{"restore-from", "latest"}, errkind.NotFound},
		"with a filesystem":      {vm1, "v", []string{"restore-from", "p1", "fstype", "ext4"}, errkind.Invalid},
		"with a clone":           {vm1, "v", []string{"restore-from", "p1", "clone-from", "v"}, errkind.Invalid},
		"unknown policy":         {vm1, "v", []string{"restore-from", "p1", "backup-policy", "none"}, errkind.NotFound},
		"datastore of points":    {vm1, "v@recovery-points", []string{"restore-from", "p1"}, errkind.Invalid},
	} {
		_, err := w.create(t, c.caller, c.volume, c.opts...)
		require.Equal(t, c.kind, errkind.Of(err), "%s: %v", name, err)
	}
	assert.Zero(t, w.points.restores, "no job was begun")
	lines, err := w.audit(t, "dev", 10)
	require.NoError(t, err)
	assert.Len(t, lines, 2, "quota and denial")

	// A point of another vmgroup and none at all cannot be told apart.
	for _, option := range []string{"restore-from", "view-of"} {
		_, foreign := w.create(t, vm1, "v", option, "theirs")
		_, absent := w.create(t, vm1, "v", option, "absent")
		requireKind(t, errkind.NotFound, foreign)
		assert.Equal(t, "Recovery point theirs not found", errkind.Text(foreign))
		assert.Equal(t, "Recovery point absent not found", errkind.Text(absent))
	}
	_, err = w.svc.CreateRestored(t.Context(), vm1, "", wire.CreateVolume{Name: "v"})
	requireKind(t, errkind.Invalid, err)
	// The job checks again.
	_, err = w.svc.CreateRestored(t.Context(), vm1, "", wire.CreateVolume{Name: "v", Options: map[string]string{"restore-from": "huge"}})
	requireKind(t, errkind.Quota, err)
	_, err = w.svc.CreateRestored(t.Context(), vm1, "", wire.CreateVolume{Name: "v", Options: map[string]string{"restore-from": "theirs"}})
	requireKind(t, errkind.NotFound, err)
	w.agree(t)
}

func TestWithoutBackupItsOptionsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	w.opts.Points = nil
	w.svc = volume.New(w.opts)
	for _, option := range []string{"restore-from", "view-of", "backup-policy"} {
		_, err := w.create(t, vm1, "v", option, "p1")
		requireKind(t, errkind.Unsupported, err)
		assert.Contains(t, err.Error(), "option "+option+" cannot be used: backup is not configured")
	}
	policy, none := "nightly", ""
	_, err := w.svc.Set(t.Context(), admin, "dev", "db", wire.SetVolume{BackupPolicy: &policy})
	requireKind(t, errkind.Unsupported, err)
	_, err = w.svc.Set(t.Context(), admin, "dev", "db", wire.SetVolume{BackupPolicy: &none})
	require.NoError(t, err)
	_, err = w.svc.RestoreInPlace(t.Context(), admin, "dev", "db", volume.Point{}, "s")
	requireKind(t, errkind.Unsupported, err)
	v, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Nil(t, v.Backup)
	w.svc.SetPoints(w.points)
	v, err = w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.NotNil(t, v.Backup)
}

func TestPolicyOfAVolume(t *testing.T) {
	w := newWorld(t)
	w.points.policies[string(w.dev)+"/nightly"] = true
	w.points.policies[string(w.test)+"/theirs"] = true
	v := w.mustCreate(t, vm1, "db", "backup-policy", "nightly")
	assert.Equal(t, "nightly", v.Spec.BackupPolicy)
	delete(w.points.policies, string(w.dev)+"/nightly")
	w.mustCreate(t, vm1, "db", "backup-policy", "nightly") // it has it
	_, err := w.create(t, vm1, "other", "backup-policy", "theirs")
	requireKind(t, errkind.NotFound, err)

	set := func(policy string) (wire.Volume, error) {
		return w.svc.Set(t.Context(), admin, "dev", "db", wire.SetVolume{BackupPolicy: &policy})
	}
	_, err = set("theirs")
	requireKind(t, errkind.NotFound, err)
	_, err = set("a/b")
	requireKind(t, errkind.Invalid, err)
	access := volspec.ReadOnly
	v, err = w.svc.Set(t.Context(), admin, "dev", "db", wire.SetVolume{Access: &access})
	require.NoError(t, err)
	assert.Equal(t, "nightly", v.Spec.BackupPolicy, "other changes leave it")
	w.points.policies[string(w.dev)+"/hourly"] = true
	v, err = set("hourly")
	require.NoError(t, err)
	assert.Equal(t, "hourly", v.Spec.BackupPolicy)
	v, err = set("")
	require.NoError(t, err)
	assert.Empty(t, v.Spec.BackupPolicy)
	assert.Equal(t, volspec.ReadOnly, v.Spec.Access)

	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	require.NotNil(t, got.Backup)
	assert.Equal(t, "ok", got.Backup.State)
	w.points.calls, w.points.fail = 0, 1
	got, err = w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err, "a look at a volume does not fail for its backups")
	assert.Nil(t, got.Backup)
	list, err := w.svc.List(t.Context(), vm1, volume.ListFilter{})
	require.NoError(t, err)
	assert.Nil(t, list.Volumes[0].Backup)
}

// A restore may take hours. Meanwhile the volume is there and busy, nobody
// waits for it, rounds go on, and the lease is the only thing that tells other
// instances to leave it alone.
func TestWhileAVolumeIsRestored(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "new content")
	w.opts.AttachWait = 0
	w.svc = volume.New(w.opts)
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	w.points.filling = func() { close(begun); <-goOn }
	go func() {
		_, err := w.create(t, vm1, "db", "restore-from", "p1", "size", "9gb")
		done <- err
	}()
	<-begun
	w.points.filling = nil
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	v, err := w.svc.Get(ctx, vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, volspec.Creating, v.State)
	busy := "volume db@fast is being restored: repeat the command when that job has ended"
	for what, do := range map[string]func() error{
		"attach": func() error { _, err := w.svc.Attach(ctx, vm1, "db", wire.Attach{}); return err },
		"remove": func() error { return w.svc.Remove(ctx, vm1, "", "db", true) },
		"create": func() error { return create(ctx, w, "db", nil) },
		"set": func() error {
			p := true
			_, err := w.svc.Set(ctx, admin, "dev", "db", wire.SetVolume{Protect: &p})
			return err
		},
		"all":      func() error { return w.svc.RemoveAll(ctx, admin, w.dev) },
		"snapshot": func() error { _, err := w.svc.TakeBackupSnapshot(ctx, v.ID, "s", "job", ""); return err },
	} {
		require.EqualError(t, do(), busy, what)
	}
	requireKind(t, errkind.Quota, create(ctx, w, "other", map[string]string{"size": "2gb"}))
	w.svc.Round(ctx)
	require.NoError(t, ctx.Err(), "nothing waited for the restore")
	other := w.opts
	other.Instance, other.Installation = "other", "elsewhere"
	require.NoError(t, volume.New(other).Recover(ctx))

	close(goOn)
	require.NoError(t, <-done)
	assert.Equal(t, "new content", w.content(t, "db", 11))
	w.agree(t)
}

func TestARestoreThatIsEndedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	ctx, cancel := context.WithCancel(t.Context())
	w.points.filling = cancel
	_, err := w.svc.CreateRestored(ctx, vm1, "", wire.CreateVolume{Name: "db", Options: map[string]string{"restore-from": "p1"}})
	require.Error(t, err)
	gone(t, w)
	w.agree(t)
	w.points.filling = nil
	w.mustCreate(t, vm1, "db", "restore-from", "p1")
}

func TestAStoppedServiceBeginsNoJob(t *testing.T) {
	w := newWorld(t)
	w.points.add(w.dev, "db", "p1", "x")
	require.NoError(t, w.svc.Close(t.Context()))
	_, err := w.svc.CreateRestored(t.Context(), vm1, "", wire.CreateVolume{Name: "db", Options: map[string]string{"restore-from": "p1"}})
	requireKind(t, errkind.Unavailable, err)
	_, err = w.svc.TakeBackupSnapshot(t.Context(), "v", "s", "job", "")
	requireKind(t, errkind.Unavailable, err)
	_, err = w.svc.RestoreInPlace(t.Context(), admin, "dev", "db", volume.Point{}, "s")
	requireKind(t, errkind.Unavailable, err)
	requireKind(t, errkind.Unavailable, w.svc.DropBackupSnapshot(t.Context(), "v", "s"))
}
