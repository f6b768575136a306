package backup_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
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
	drill   func(image.Image) backup.Drilled
	files   backup.FS      // in every point; nil: none can be opened
	tenants backup.Tenants // nil: every vmgroup may do everything
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
		Keyring: sealing{w.ring}, Files: drills{w, p}, Sample: 0.05, Zone: "UTC", Allowances: w.allowances(),
		Tenants: w.tenants,
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

// idle waits for the end of all jobs: one whose answer was lost is done, too.
func (p *process) idle(t testing.TB) {
	t.Helper()
	open, err := p.queue.List(context.Background(), job.Query{Open: true, Limit: 100})
	require.NoError(t, err)
	for _, j := range open {
		p.finish(t, j.ID)
	}
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
