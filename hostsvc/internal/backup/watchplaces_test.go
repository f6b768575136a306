package backup_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// tarpit takes for ever to open what is below a path.
type tarpit struct {
	repository.Opener
	below string
	once  *sync.Once
	begun chan struct{}
}

func (o tarpit) Open(ctx context.Context, at repository.Place, key string, want volspec.RepositoryID) (repository.Repository, error) {
	if strings.HasPrefix(at.Location.Path, o.below) {
		o.once.Do(func() { close(o.begun) })
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return o.Opener.Open(ctx, at, key, want)
}

type ticks chan time.Time

func (c ticks) Tick(_ context.Context, at time.Time, _ []job.Scheduled) error {
	select {
	case c <- at:
	default:
	}
	return nil
}

// A place of one vmgroup that does not answer holds up neither the repositories
// of others nor anybody's schedules. What is offline is asked again only after
// a pause, and what a crash left half made is settled.
func TestAPlaceThatDoesNotAnswerHoldsUpItsVMGroupAlone(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, &plug{})
	p.makeRepository(t, "good")
	p.makeRepository(t, "gone")
	p.makeRepository(t, "half")
	_, err := p.CreateRepository(t.Context(), admin, "Test", wire.CreateRepository{Name: "stuck", Location: wire.Location{Type: "directory", Path: filepath.Join(w.dir, "tar", "pit")}})
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(w.dir, "repo-gone")))
	_, err = p.CheckRepository(t.Context(), "Dev", "gone")
	require.NoError(t, err)
	p.end()

	old := time.Now().Add(-2 * time.Hour).Truncate(time.Second)
	require.NoError(t, w.store.Backup().Update(t.Context(), func(tx backup.Tx) error {
		all, err := tx.Repositories("")
		require.Len(t, all, 4)
		for _, r := range all {
			if r.Body.Checked = old; r.Name == "half" {
				r.State, r.Body.Created = "creating", old
			}
			require.NoError(t, tx.PutRepository(r))
		}
		return err
	}))
	pit := tarpit{kopia.New(kopia.Options{Dir: filepath.Join(w.dir, "cache"), Owner: "test"}), filepath.Join(w.dir, "tar"), &sync.Once{}, make(chan struct{})}
	s, _ := w.watching(pit, 0)
	ctx, stop := context.WithCancel(t.Context())
	done, ticked := make(chan error, 1), make(ticks)
	go func() { done <- s.Run(ctx, ticked) }()
	<-pit.begun
	<-ticked
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		require.NoError(ct, w.store.Backup().View(t.Context(), func(tx backup.Tx) error {
			all, err := tx.Repositories("")
			for _, r := range all {
				assert.Equal(ct, r.Name == "stuck" || r.Name == "half", r.Body.Checked.Equal(old), r.Name)
				assert.Equal(ct, map[string]string{"good": "online", "gone": "offline", "half": "online", "stuck": "online"}[r.Name], r.State, r.Name)
			}
			return err
		}))
	}, time.Minute, 20*time.Millisecond)
	stop()
	require.NoError(t, <-done)
}

// watching is a service whose watchers are quick, and a queue that does not run.
func (w *world) watching(o repository.Opener, verifyAfter time.Duration) (*backup.Service, *job.Runner) {
	s := backup.New(backup.Options{
		Store: store{w.store.Backup(), &plug{}}, Volumes: &volumes{d: w.disks, p: &plug{}}, Opener: o, Keyring: sealing{w.ring},
		Sample: 0.05, Zone: "UTC", Allowances: w.allowances(), Tick: 20 * time.Millisecond, VerifyAfter: verifyAfter,
	})
	queue := job.New(job.Options{Store: jobStore{w.store.Jobs(), &plug{}}, Instance: uuid.NewString(), Kinds: s.Handlers(), Total: 1, Sole: true, Lease: time.Minute, Poll: time.Hour})
	s.Use(queue)
	return s, queue
}

// What was never verified is, but for what is young, and for what cannot be
// read, which does not keep the rest waiting.
func TestOldPointsAreVerified(t *testing.T) {
	w := newWorld(t)
	p := w.start(t, &plug{})
	p.makeRepository(t, "good")
	p.makeRepository(t, "gone")
	p.end()
	require.NoError(t, w.store.Backup().Update(t.Context(), func(tx backup.Tx) error {
		all, err := tx.Repositories("")
		require.Len(t, all, 2)
		for _, r := range all {
			point := func(n int, age time.Duration, state volspec.PointState) {
				id := volspec.PointID(fmt.Sprintf("%s %d", r.Name, n))
				require.NoError(t, tx.PutPoint(backup.Point{
					ID: id, Group: w.group.ID, Repository: r.ID, VolumeID: volspec.VolumeID(r.Name), Volume: "db", Datastore: "d1", Created: time.Now().Add(-age), State: state,
				}))
			}
			if r.Body.Checked = time.Now(); r.Name == "gone" {
				r.State = "offline"
				for n := range 300 {
					point(n, 24*time.Hour, volspec.Completed)
				}
			} else {
				point(1, 2*time.Hour, volspec.Completed)
				point(2, time.Minute, volspec.Completed)
				point(3, 3*time.Hour, volspec.Verified)
				point(4, 3*time.Hour, volspec.Damaged)
			}
			require.NoError(t, tx.PutRepository(r))
		}
		return err
	}))
	s, queue := w.watching(kopia.New(kopia.Options{Dir: filepath.Join(w.dir, "cache"), Owner: "test"}), time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, make(ticks)) }()
	var jobs []job.Job
	require.EventuallyWithT(t, func(ct *assert.CollectT) {
		var err error
		jobs, err = queue.List(t.Context(), job.Query{Kind: "verify"})
		require.NoError(ct, err)
		assert.NotEmpty(ct, jobs)
	}, time.Minute, 20*time.Millisecond)
	stop()
	require.NoError(t, <-done)
	jobs, err := queue.List(t.Context(), job.Query{Kind: "verify"})
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	assert.Contains(t, string(jobs[0].Params), `"good 1"`)
}
