package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// world is everything around the service that survives its process: catalog,
// disks, repositories. Repositories are real ones in folders.
type world struct {
	dir   string
	store *catalog.Catalog
	ring  *keyring.Ring
	group volspec.VMGroup
	disks *disks
	vms   *vms // nil: a hypervisor without images of VMs
	// drill is what is found of the disk of a VM; nil: nothing wrong.
	drill func(image.Image) backup.Drilled
}

var admin = volspec.Caller{Admin: true, Actor: "admin:0"}

func newWorld(t testing.TB) *world {
	t.Helper()
	dir := t.TempDir()
	w := &world{dir: dir, disks: &disks{volumes: map[volspec.VolumeID]*disk{}}, vms: newVMs()}
	var err error
	w.store, err = catalog.Open(context.Background(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { _ = w.store.Close() })
	w.ring, err = keyring.Create(filepath.Join(dir, "key"))
	require.NoError(t, err)
	w.group = volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: "Dev"}
	other := volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: "Test"}
	require.NoError(t, w.store.Tenancy().Update(context.Background(), func(tx tenancy.Tx) error {
		return errors.Join(tx.PutGroup(w.group), tx.PutGroup(other))
	}))
	return w
}

// process is one life of the service. When its plug is pulled every call to
// what survives it fails without effect, as if the process were dead.
type process struct {
	*backup.Service
	w     *world
	queue *job.Runner
	plug  *plug
	stop  context.CancelFunc
	done  chan struct{}
}

func (w *world) start(t testing.TB, p *plug) *process {
	t.Helper()
	var whole backup.Machines
	if w.vms != nil {
		whole = machines{w.vms, p}
	}
	vols := &volumes{d: w.disks, p: p}
	s := backup.New(backup.Options{
		Store: store{w.store.Backup(), p}, Volumes: vols, Machines: whole,
		Opener:  opener{kopia.New(kopia.Options{Dir: filepath.Join(w.dir, "cache"), Owner: "test"}), p},
		Keyring: sealing{w.ring}, Files: drills{w, p}, Sample: 0.05, Zone: "UTC",
	})
	queue := job.New(job.Options{Store: jobStore{w.store.Jobs(), p}, Instance: uuid.NewString(), Kinds: s.Handlers(), Total: 4, Sole: true, Lease: 2 * time.Second, Poll: 20 * time.Millisecond})
	s.Use(queue)
	vols.fill = s.Fill
	ctx, cancel := context.WithCancel(context.Background())
	out := &process{Service: s, w: w, queue: queue, plug: p, stop: cancel, done: make(chan struct{})}
	require.NoError(t, s.Recover(ctx))
	go func() {
		defer close(out.done)
		_ = queue.Run(ctx)
	}()
	t.Cleanup(out.end)
	return out
}

// end is the orderly stop. What is dead is only waited for at the test's end:
// it goes on trying to reach a catalog that does not answer.
func (p *process) end() {
	p.stop()
	<-p.done
}

// abandon leaves a dead process behind.
func (p *process) abandon() { p.stop() }

func (p *process) makeRepository(t testing.TB, name string) wire.Repository {
	t.Helper()
	r, err := p.CreateRepository(t.Context(), admin, "Dev", wire.CreateRepository{Name: name, Location: wire.Location{Type: "directory", Path: filepath.Join(p.w.dir, "repo-"+name)}})
	require.NoError(t, err)
	return r
}

// finish waits for a job's end.
func (p *process) finish(t testing.TB, id volspec.JobID) job.Job {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	j, err := p.queue.Wait(ctx, id)
	require.NoError(t, err)
	require.True(t, j.Ended(), "job %s is still %s in %s", id, j.State, j.Stage)
	return j
}

func (p *process) run(t testing.TB, volume string) job.Job {
	t.Helper()
	jobs, err := p.Backup(t.Context(), admin, "Dev", wire.RunBackup{Volumes: []string{volume}, Repository: "main"})
	require.NoError(t, err)
	return p.finish(t, jobs[0].ID)
}

// content reads a point back through the repository.
func (p *process) content(t testing.TB, ref string) []byte {
	t.Helper()
	var b bytes.Buffer
	err := p.Image(context.Background(), admin, "Dev", ref, func(string, int64) {}, &b)
	require.NoError(t, err)
	return b.Bytes()
}

// disk is a volume with its snapshots, in memory.
type disk struct {
	v       backup.Volume
	data    []byte
	snaps   map[volspec.SnapshotID]*frozen
	moments map[string][]byte // what it held at each, as long as changes are tracked
}

type frozen struct {
	data   []byte
	owner  string
	at     time.Time
	moment string
}

// disks are the volumes of a world.
type disks struct {
	mu      sync.Mutex
	volumes map[volspec.VolumeID]*disk
	blind   bool // changes cannot be told
	lies    bool // changes are not told
	tracks  bool // changes are remembered without snapshots
}

// track switches tracking on or off; either way all moments are forgotten.
func (d *disks) track(on bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tracks = on
	for _, x := range d.volumes {
		x.moments = map[string][]byte{}
	}
}

// grow makes a disk larger.
func (d *disks) grow(x *disk, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	x.data = append(x.data, make([]byte, by)...)
	x.v.Size = volspec.Size(len(x.data))
}

func (d *disks) add(g volspec.VMGroup, name string, size int) *disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := &disk{
		v: backup.Volume{ID: volspec.VolumeID(uuid.NewString()), Group: g, Name: volspec.Name{Volume: name, Datastore: "d1"},
			Size: volspec.Size(size), Format: volspec.Formatted, Created: time.Now()},
		data: make([]byte, size), snaps: map[volspec.SnapshotID]*frozen{}, moments: map[string][]byte{},
	}
	d.volumes[x.v.ID] = x
	return x
}

func (d *disks) write(x *disk, off int, b []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(x.data[off:], b)
}

func (d *disks) snapshots() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, x := range d.volumes {
		n += len(x.snaps)
	}
	return n
}

// volumes is the volume service of one process.
type volumes struct {
	d    *disks
	p    *plug
	fill func(context.Context, volspec.PointID, volspec.VolumeID, image.Target) error
}

func (v volumes) Volumes(_ context.Context, g volspec.VMGroupID) (out []backup.Volume, err error) {
	err = v.p.do("Volumes", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		for _, x := range v.d.volumes {
			if g == "" || x.v.Group.ID == g {
				out = append(out, x.v)
			}
		}
		slices.SortFunc(out, func(a, b backup.Volume) int { return bytes.Compare([]byte(a.ID), []byte(b.ID)) })
		return nil
	})
	return out, err
}

func (v volumes) Volume(_ context.Context, id volspec.VolumeID) (out backup.Volume, err error) {
	err = v.p.do("Volume", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok {
			return errkind.New(errkind.NotFound, "Volume %s not found", id)
		}
		out = x.v
		return nil
	})
	return out, err
}

func (v volumes) Find(ctx context.Context, _ volspec.Caller, group, name string) (backup.Volume, error) {
	all, err := v.Volumes(ctx, "")
	if err != nil {
		return backup.Volume{}, err
	}
	for _, x := range all {
		if (x.Name.Volume == name || x.Name.String() == name) && x.Group.Name == group {
			return x, nil
		}
	}
	return backup.Volume{}, errkind.New(errkind.NotFound, "Volume %s not found", name)
}

func (v volumes) TakeSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID, owner string, _ volspec.Consistency) (t backup.Taken, err error) {
	err = v.p.do("TakeSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok {
			return errkind.New(errkind.NotFound, "Volume %s not found", id)
		}
		if x.snaps[snap] == nil {
			f := &frozen{data: bytes.Clone(x.data), owner: owner, at: time.Now().UTC()}
			if v.d.tracks {
				f.moment = uuid.NewString()
				x.moments[f.moment] = f.data
			}
			x.snaps[snap] = f
		}
		f := x.snaps[snap]
		t = backup.Taken{Volume: x.v, Size: volspec.Size(len(f.data)), Consistency: volspec.FilesystemConsistent, At: f.at}
		return nil
	})
	return t, err
}

func (v volumes) DropSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) error {
	return v.p.do("DropSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		if x, ok := v.d.volumes[id]; ok {
			delete(x.snaps, snap)
		}
		return nil
	})
}

func (v volumes) Snapshots(context.Context) (out []backup.OwnedSnapshot, err error) {
	err = v.p.do("Snapshots", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		for id, x := range v.d.volumes {
			for snap, f := range x.snaps {
				out = append(out, backup.OwnedSnapshot{id, snap, f.owner})
			}
		}
		return nil
	})
	return out, err
}

func (v volumes) OpenSnapshot(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (img image.Image, err error) {
	err = v.p.do("OpenSnapshot", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x, ok := v.d.volumes[id]
		if !ok || x.snaps[snap] == nil {
			return errkind.New(errkind.NotFound, "no snapshot %s", snap)
		}
		img = &memImage{Reader: bytes.NewReader(x.snaps[snap].data), p: v.p}
		return nil
	})
	return img, err
}

func (v volumes) Changed(_ context.Context, id volspec.VolumeID, base, snap volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		v.d.mu.Lock()
		x := v.d.volumes[id]
		var a, b *frozen
		if x != nil {
			a, b = x.snaps[base], x.snaps[snap]
		}
		blind, lies := v.d.blind, v.d.lies
		v.d.mu.Unlock()
		switch {
		case blind:
			yield(image.Extent{}, errkind.New(errkind.Unsupported, "this storage cannot tell what changed"))
			return
		case a == nil || b == nil:
			yield(image.Extent{}, errkind.New(errkind.NotFound, "no such snapshot"))
			return
		case lies:
			return
		}
		differing(a.data, b.data)(yield)
	}
}

// differing yields the pages of now that are not the same in was.
func differing(was, now []byte) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		const page = 4096
		for off := 0; off < len(now); off += page {
			end := min(off+page, len(now))
			if end <= len(was) && bytes.Equal(was[off:end], now[off:end]) {
				continue
			}
			if !yield(image.Extent{Offset: int64(off), Length: int64(end - off)}, nil) {
				return
			}
		}
	}
}

func (v volumes) Moment(_ context.Context, id volspec.VolumeID, snap volspec.SnapshotID) (moment string, err error) {
	err = v.p.do("Moment", func() error {
		v.d.mu.Lock()
		defer v.d.mu.Unlock()
		x := v.d.volumes[id]
		if x == nil || x.snaps[snap] == nil {
			return errkind.New(errkind.NotFound, "no snapshot %s", snap)
		}
		if v.d.tracks {
			moment = x.snaps[snap].moment
		}
		return nil
	})
	return moment, err
}

// ChangedSince does not say that a disk has grown: whoever asks knows.
func (v volumes) ChangedSince(_ context.Context, id volspec.VolumeID, moment string, snap volspec.SnapshotID) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		var was, now []byte
		var lies bool
		err := v.p.do("ChangedSince", func() error {
			v.d.mu.Lock()
			defer v.d.mu.Unlock()
			x := v.d.volumes[id]
			if x == nil || x.snaps[snap] == nil {
				return errkind.New(errkind.NotFound, "no snapshot %s", snap)
			}
			if was = x.moments[moment]; was == nil {
				return errkind.New(errkind.Unsupported, "tracking was begun anew")
			}
			now, lies = x.snaps[snap].data, v.d.lies
			now = now[:min(len(was), len(now))]
			return nil
		})
		switch {
		case err != nil:
			yield(image.Extent{}, err)
		case !lies:
			differing(was, now)(yield)
		}
	}
}

func (v volumes) Restore(context.Context, backup.RestoreTo) (wire.Volume, error) {
	return wire.Volume{}, v.p.do("Restore", func() error { return errors.New("not in this world") })
}

func (v volumes) RestoreInPlace(ctx context.Context, c volspec.Caller, group, name string, pt backup.PointInfo, keep string) (wire.Volume, error) {
	found, err := v.Find(ctx, c, group, name)
	if err != nil {
		return wire.Volume{}, err
	}
	to := memTarget(make([]byte, found.Size))
	if err := v.fill(ctx, pt.ID, found.ID, to); err != nil {
		return wire.Volume{}, err
	}
	v.d.mu.Lock()
	defer v.d.mu.Unlock()
	x := v.d.volumes[found.ID]
	x.snaps[volspec.SnapshotID(keep)] = &frozen{data: x.data, at: time.Now().UTC()}
	x.data = to
	return wire.Volume{Name: name}, nil
}

func (v volumes) ViewsOf(context.Context, volspec.PointID) ([]string, error) {
	return nil, v.p.do("ViewsOf", func() error { return nil })
}

// memImage is a frozen content.
type memImage struct {
	*bytes.Reader
	p *plug
}

func (m *memImage) ReadAt(b []byte, off int64) (n int, err error) {
	err = m.p.do("ReadAt", func() error {
		n, err = m.Reader.ReadAt(b, off)
		if errors.Is(err, io.EOF) && n == len(b) {
			err = nil
		}
		return err
	})
	return n, err
}

func (m *memImage) Close() error { return nil }

func (m *memImage) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		const page = 64 << 10
		b := make([]byte, page)
		var zero [page]byte
		for off := int64(0); off < m.Size(); off += page {
			n, _ := m.Reader.ReadAt(b, off)
			if n > 0 && !bytes.Equal(b[:n], zero[:n]) && !yield(image.Extent{Offset: off, Length: int64(n)}, nil) {
				return
			}
		}
	}
}

// memTarget is a disk to be filled.
type memTarget []byte

func (m memTarget) Size() int64 { return int64(len(m)) }

func (m memTarget) ReadAt(b []byte, off int64) (int, error) { return copy(b, m[off:]), nil }

func (m memTarget) WriteAt(b []byte, off int64) (int, error) { return copy(m[off:], b), nil }

func (m memTarget) Discard(_ context.Context, e image.Extent) error {
	clear(m[e.Offset:e.End()])
	return nil
}

// store and jobStore are the catalog of one process.
type store struct {
	backup.Store
	p *plug
}

func (s store) View(ctx context.Context, fn func(backup.Tx) error) error {
	return s.p.do("View", func() error { return s.Store.View(ctx, fn) })
}

func (s store) Update(ctx context.Context, fn func(backup.Tx) error) error {
	return s.p.do("Update", func() error { return s.Store.Update(ctx, fn) })
}

// jobStore only dies with the process: a queue that cannot write is tested
// where it lives.
type jobStore struct {
	job.Store
	p *plug
}

func (s jobStore) dead() error {
	if s.p.died() {
		return errInjected
	}
	return nil
}

func (s jobStore) View(ctx context.Context, fn func(job.Tx) error) error {
	if err := s.dead(); err != nil {
		return err
	}
	return s.Store.View(ctx, fn)
}

func (s jobStore) Update(ctx context.Context, fn func(job.Tx) error) error {
	if err := s.dead(); err != nil {
		return err
	}
	return s.Store.Update(ctx, fn)
}

// opener and repo are the repositories of one process.
type opener struct {
	repository.Opener
	p *plug
}

func (o opener) Create(ctx context.Context, at repository.Place, key string, id repository.Identity) (out repository.Identity, err error) {
	err = o.p.do("Create", func() error { out, err = o.Opener.Create(ctx, at, key, id); return err })
	return out, err
}

func (o opener) Open(ctx context.Context, at repository.Place, key string, want volspec.RepositoryID) (out repository.Repository, err error) {
	err = o.p.do("Open", func() error {
		r, err := o.Opener.Open(ctx, at, key, want)
		if err == nil {
			out = repo{r, o.p}
		}
		return err
	})
	if err != nil {
		if out != nil {
			_ = out.Close(context.Background())
		}
		return nil, err
	}
	return out, nil
}

type repo struct {
	repository.Repository
	p *plug
}

func (r repo) Write(ctx context.Context, b repository.Backup, report repository.Report) (out repository.Point, err error) {
	err = r.p.do("Write", func() error { out, err = r.Repository.Write(ctx, b, report); return err })
	return out, err
}

func (r repo) Points(ctx context.Context) (out []repository.Point, err error) {
	err = r.p.do("Points", func() error { out, err = r.Repository.Points(ctx); return err })
	return out, err
}

func (r repo) Point(ctx context.Context, id volspec.PointID) (out repository.Point, err error) {
	err = r.p.do("Point", func() error { out, err = r.Repository.Point(ctx, id); return err })
	return out, err
}

func (r repo) Delete(ctx context.Context, id volspec.PointID) error {
	return r.p.do("Delete", func() error { return r.Repository.Delete(ctx, id) })
}

func (r repo) Verify(ctx context.Context, id volspec.PointID, v repository.Verify, report repository.Report) (out repository.Verified, err error) {
	err = r.p.do("Verify", func() error { out, err = r.Repository.Verify(ctx, id, v, report); return err })
	return out, err
}

func (r repo) Status(ctx context.Context) (out repository.Status, err error) {
	err = r.p.do("Status", func() error { out, err = r.Repository.Status(ctx); return err })
	return out, err
}

func (r repo) Copy(ctx context.Context, point volspec.PointID, dst repository.Repository, id, parent volspec.PointID, limit int64, report repository.Report) (out repository.Point, err error) {
	err = r.p.do("Copy", func() error {
		out, err = r.Repository.Copy(ctx, point, dst.(repo).Repository, id, parent, limit, report)
		return err
	})
	return out, err
}

func (r repo) String() string { return fmt.Sprintf("repository %s", r.Identity().ID) }

type sealing struct{ *keyring.Ring }

func (sealing) NewPassword() string { return keyring.NewPassword().Reveal() }
