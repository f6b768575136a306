package app

import (
	"context"
	"errors"
	"io"
	"time"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/imagefs"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The parts fit.
var (
	_ api.Backups    = (*backup.Service)(nil)
	_ backup.Volumes = backupVolumes{}
	_ volume.Points  = volumePoints{}
	_ backup.Jobs    = (*job.Runner)(nil)
	_ backup.Ticker  = (*job.Runner)(nil)
	_ notify.Alarms  = alarms{}
)

// backupVolumes is the volume service as backup needs it.
type backupVolumes struct{ v *volume.Service }

func volumeOf(b volume.BackupVolume) backup.Volume {
	return backup.Volume{
		ID: b.ID, Group: b.Group, Name: b.Name, Size: b.Size, Spec: b.Spec, Format: b.Format,
		FSUUID: b.FSUUID, FSSize: b.FSSize, Attached: b.AttachedTo, Created: b.Created,
	}
}

func (a backupVolumes) Volumes(ctx context.Context, g volspec.VMGroupID) ([]backup.Volume, error) {
	all, err := a.v.BackupVolumes(ctx, g)
	out := make([]backup.Volume, 0, len(all))
	for _, b := range all {
		out = append(out, volumeOf(b))
	}
	return out, err
}

func (a backupVolumes) Volume(ctx context.Context, id volspec.VolumeID) (backup.Volume, error) {
	b, err := a.v.BackupVolume(ctx, id)
	return volumeOf(b), err
}

func (a backupVolumes) Find(ctx context.Context, c volspec.Caller, group, name string) (backup.Volume, error) {
	b, err := a.v.BackupTarget(ctx, c, group, name)
	return volumeOf(b), err
}

func (a backupVolumes) TakeSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID, owner string, require volspec.Consistency) (backup.Taken, error) {
	t, err := a.v.TakeBackupSnapshot(ctx, v, id, owner, require)
	return backup.Taken{Volume: volumeOf(t.Volume), Size: t.Size, Consistency: t.Consistency, Stall: t.Stall, Note: t.Note, At: t.At}, err
}

func (a backupVolumes) DropSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) error {
	return a.v.DropBackupSnapshot(ctx, v, id)
}

func (a backupVolumes) Snapshots(ctx context.Context) ([]backup.OwnedSnapshot, error) {
	all, err := a.v.BackupSnapshots(ctx)
	out := make([]backup.OwnedSnapshot, 0, len(all))
	for _, sn := range all {
		out = append(out, backup.OwnedSnapshot{Volume: sn.Volume, ID: sn.ID, Owner: sn.Owner})
	}
	return out, err
}

func (a backupVolumes) OpenSnapshot(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) (image.Image, error) {
	return a.v.OpenSnapshot(ctx, v, id)
}

func (a backupVolumes) Changed(ctx context.Context, v volspec.VolumeID, base, id volspec.SnapshotID) image.Extents {
	return a.v.ChangedSince(ctx, v, base, id)
}

func (a backupVolumes) Moment(ctx context.Context, v volspec.VolumeID, id volspec.SnapshotID) (string, error) {
	return a.v.Moment(ctx, v, id)
}

func (a backupVolumes) ChangedSince(ctx context.Context, v volspec.VolumeID, moment string, id volspec.SnapshotID) image.Extents {
	return a.v.ChangedSinceMoment(ctx, v, moment, id)
}

func (a backupVolumes) Restore(ctx context.Context, to backup.RestoreTo) (wire.Volume, error) {
	return a.v.CreateRestored(ctx, to.Caller, to.Group, to.Request)
}

func (a backupVolumes) RestoreInPlace(ctx context.Context, c volspec.Caller, group, name string, p backup.PointInfo, keep string) (wire.Volume, error) {
	return a.v.RestoreInPlace(ctx, c, group, name, volume.Point(p), keep)
}

func (a backupVolumes) ViewsOf(ctx context.Context, p volspec.PointID) ([]string, error) {
	return a.v.ViewsOf(ctx, p)
}

// volumePoints is the backup service as the volume service needs it.
type volumePoints struct{ *backup.Service }

func (a volumePoints) Resolve(ctx context.Context, g volspec.VMGroupID, name, ref string) (volume.Point, error) {
	p, err := a.Service.Resolve(ctx, g, name, ref)
	return volume.Point(p), err
}

func (a volumePoints) Restore(ctx context.Context, c volspec.Caller, g volspec.VMGroup, req wire.CreateVolume) error {
	return a.RestoreVolume(ctx, c, g, req)
}

// sealer is the keyring as backup needs it.
type sealer struct{ *keyring.Ring }

func (sealer) NewPassword() string { return keyring.NewPassword().Reveal() }

// shows are the views as backup needs them: showing what is shown already is
// a success.
type shows struct{ v *imagefs.Views }

func (a shows) Add(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID, open func(context.Context) (image.Image, error)) error {
	err := a.v.Add(ctx, g, v, open)
	if errkind.Is(err, errkind.Exists) {
		return nil
	}
	return err
}

func (a shows) Remove(_ context.Context, g volspec.VMGroupID, v volspec.VolumeID) error {
	return a.v.Remove(g, v)
}

// files reads filesystems in images.
type files struct {
	dir     string
	streams int
}

func (f files) Open(ctx context.Context, img image.Image) (backup.FS, error) {
	fs, err := imagefs.Open(ctx, img, imagefs.Options{Dir: f.dir, Name: "point"})
	if err != nil {
		return nil, err
	}
	return openFS{fs}, nil
}

// openFS is a filesystem of an image as backup needs it.
type openFS struct{ fs *imagefs.FS }

func fileOf(e imagefs.Entry) wire.File {
	return wire.File{
		Name: e.Name, Type: e.Type, Size: e.Size, Mode: e.Mode, UID: int(e.UID), GID: int(e.GID), ModTime: e.ModTime.UTC(), Target: e.Target,
	}
}

func (o openFS) List(ctx context.Context, path, after string, limit int) ([]wire.File, string, error) {
	list, next, err := o.fs.List(ctx, path, after, limit)
	out := make([]wire.File, 0, len(list))
	for _, e := range list {
		out = append(out, fileOf(e))
	}
	return out, next, err
}

func (o openFS) OpenFile(ctx context.Context, path string) (io.ReadCloser, wire.File, error) {
	f, e, err := o.fs.OpenFile(ctx, path)
	if err != nil {
		return nil, wire.File{}, err
	}
	return f, fileOf(e), nil
}

func (o openFS) Tar(ctx context.Context, w io.Writer, paths []string) error {
	_, err := o.fs.Tar(ctx, w, paths, imagefs.TarOptions{})
	return err
}

func (o openFS) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return o.fs.Close(ctx)
}

// tells is the notifier as backup needs it.
type tells struct{ n *notify.Notifier }

func (t tells) Notify(ctx context.Context, e backup.Event) {
	t.n.Notify(ctx, notify.Event{
		Group: e.Group, GroupID: e.GroupID, Kind: notify.Kind(e.Kind), Object: e.Object, Severity: notify.Severity(e.Severity), Sentence: e.Sentence,
	})
}

// alarms are those of the catalog as the notifier needs them.
type alarms struct{ store backup.Store }

func (a alarms) Standing(ctx context.Context) (out []notify.Raised, err error) {
	err = a.store.View(ctx, func(tx backup.Tx) error {
		out = nil
		groups, err := tx.Groups()
		if err != nil {
			return err
		}
		names := map[volspec.VMGroupID]string{}
		for _, g := range groups {
			names[g.ID] = g.Name
		}
		all, err := tx.Alarms("")
		for _, al := range all {
			out = append(out, notify.Raised{Told: al.Told, Event: notify.Event{
				ID: al.ID, Time: al.Since, Group: names[al.Group], GroupID: al.Group, Kind: notify.Kind(al.Kind), Object: al.Object,
				Severity: notify.Error, Sentence: al.Detail,
			}})
		}
		return err
	})
	return out, err
}

func (a alarms) Told(ctx context.Context, events []notify.Event, at time.Time) error {
	return a.store.Update(ctx, func(tx backup.Tx) error {
		var failed error
		for _, e := range events {
			failed = errors.Join(failed, told(tx, e.GroupID, e, at))
		}
		return failed
	})
}

func told(tx backup.Tx, g volspec.VMGroupID, e notify.Event, at time.Time) error {
	all, err := tx.Alarms(g)
	for _, al := range all {
		if err == nil && al.Kind == string(e.Kind) && al.Object == e.Object && al.Group == g {
			al.Told = at
			err = tx.PutAlarm(al)
		}
	}
	return err
}

// Drill reports a point that is no good as a result; that it could not be
// tried is an error.
func (f files) Drill(ctx context.Context, img image.Image, disk bool, report func(done, total int64)) (backup.Drilled, error) {
	r, err := imagefs.Drill(ctx, img, imagefs.DrillOptions{
		Dir: f.dir, Name: "drill", Disk: disk, Streams: f.streams,
		Report: func(p imagefs.DrillProgress) { report(p.Done, p.Total) },
	})
	out := backup.Drilled{Filesystem: r.Filesystem, Files: r.Files, Bytes: r.Compared}
	for _, s := range r.Steps {
		out.Steps = append(out.Steps, backup.DrillStep{Name: s.Name, Part: s.Part, Result: s.Result, Took: s.Duration, Detail: s.Detail})
	}
	for _, p := range r.Parts {
		out.Parts = append(out.Parts, backup.DrillPart(p))
	}
	if errkind.Is(err, errkind.Corrupt) {
		out.Failed, out.Why = r.Failed(), errkind.Text(err)
		return out, nil
	}
	return out, err
}
