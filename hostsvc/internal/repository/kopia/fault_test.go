package kopia_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/errkind"
)

// faulty counts the requests to a storage and lets some of them fail: the one
// with number at, for ever if it sticks. lag is added to every time.
type faulty struct {
	blob.Storage
	f *requests
}

type requests struct {
	n, at atomic.Int64
	stick bool
	err   error
	lag   time.Duration
	what  atomic.Value // of the request that failed
}

func (f *requests) wrap(st blob.Storage) blob.Storage { return &faulty{Storage: st, f: f} }

func (f *requests) next(what string, id blob.ID) error {
	n, at := f.n.Add(1), f.at.Load()
	if at > 0 && (n == at || f.stick && n > at) {
		f.what.CompareAndSwap(nil, what+" "+string(id))
		return f.err
	}
	return nil
}

func (s *faulty) PutBlob(ctx context.Context, id blob.ID, b blob.Bytes, o blob.PutOptions) error {
	if err := s.f.next("put", id); err != nil {
		return err
	}
	err := s.Storage.PutBlob(ctx, id, b, o)
	if o.GetModTime != nil {
		*o.GetModTime = o.GetModTime.Add(s.f.lag)
	}
	return err
}

func (s *faulty) GetBlob(ctx context.Context, id blob.ID, offset, length int64, out blob.OutputBuffer) error {
	if err := s.f.next("get", id); err != nil {
		return err
	}
	return s.Storage.GetBlob(ctx, id, offset, length, out)
}

func (s *faulty) GetMetadata(ctx context.Context, id blob.ID) (blob.Metadata, error) {
	if err := s.f.next("stat", id); err != nil {
		return blob.Metadata{}, err
	}
	m, err := s.Storage.GetMetadata(ctx, id)
	m.Timestamp = m.Timestamp.Add(s.f.lag)
	return m, err
}

func (s *faulty) DeleteBlob(ctx context.Context, id blob.ID) error {
	if err := s.f.next("delete", id); err != nil {
		return err
	}
	return s.Storage.DeleteBlob(ctx, id)
}

func (s *faulty) ListBlobs(ctx context.Context, prefix blob.ID, f func(blob.Metadata) error) error {
	if err := s.f.next("list", prefix); err != nil {
		return err
	}
	return s.Storage.ListBlobs(ctx, prefix, func(m blob.Metadata) error {
		m.Timestamp = m.Timestamp.Add(s.f.lag)
		return f(m)
	})
}

// TestFaultsByIndex lets each request of a backup fail in turn. The backup
// fails, or it did not need the request; nothing is listed that is not whole,
// and the next attempt succeeds.
func TestFaultsByIndex(t *testing.T) {
	ctx := t.Context()
	// A kind that is final, so that the test need not wait for repetitions.
	f := &requests{err: fmt.Errorf("disk: %w", syscall.EROFS)}
	s := directory(t, kopia.Options{Wrap: f.wrap, Checkpoint: 1 << 20})
	r, _ := s.Create(t, "r-1")
	d := repositorytest.NewDisk(6 << 20)
	write := func(n int, parent bool) (repository.Point, *repositorytest.Snapshot, error) {
		require.NoError(t, d.Fill(random(uint64(n)), 0, 2<<20))
		require.NoError(t, d.Fill(random(uint64(n)), 5<<20, 1<<20))
		img, changed := d.Snapshot()
		b := repositorytest.Backup(n, img, "", nil)
		if parent {
			b = repositorytest.Backup(n, img, repositorytest.ID(0), changed)
		}
		b.Streams = 1
		f.n.Store(0)
		point, err := r.Write(ctx, b, nil)
		return point, img, err
	}
	_, base, err := write(0, false)
	require.NoError(t, err)
	failures, steps := 0, map[string]bool{}
	for at := int64(1); ; at++ {
		n := int(at)
		f.what.Store("")
		f.what = atomic.Value{}
		f.at.Store(at)
		_, img, err := write(n, at%2 == 0)
		used := f.n.Load()
		f.at.Store(0)
		points, lerr := r.Points(ctx)
		require.NoError(t, lerr)
		listed := false
		for _, q := range points {
			listed = listed || q.ID == repositorytest.ID(n)
		}
		if err != nil {
			failures++
			steps[fmt.Sprint(f.what.Load())[:5]] = true
			assert.NotEqual(t, errkind.Internal, errkind.Of(err), "request %d (%v): %v", at, f.what.Load(), err)
		}
		assert.Equal(t, err == nil, listed, "request %d: %v", at, err)
		if listed {
			repositorytest.Equal(t, r, repositorytest.ID(n), img)
			require.NoError(t, r.Delete(ctx, repositorytest.ID(n)))
		}
		if used < at {
			break
		}
		require.Less(t, at, int64(300))
	}
	assert.Greater(t, failures, 10)
	assert.True(t, steps["put p"], "packs: %v", steps)
	assert.True(t, steps["put x"], "indexes: %v", steps)
	assert.True(t, steps["list "], "lists: %v", steps)
	repositorytest.Equal(t, r, repositorytest.ID(0), base)
	v := full(t, r, 0)
	assert.Empty(t, v.Damaged, v.Why)
}

// TestTransientFault: what is better the next time does not fail a backup.
func TestTransientFault(t *testing.T) {
	f := &requests{err: errors.New("connection reset")}
	r, _ := directory(t, kopia.Options{Wrap: f.wrap}).Create(t, "r-1")
	img := small(t, 1)
	f.n.Store(0)
	f.at.Store(12)
	_, err := r.Write(t.Context(), repositorytest.Backup(1, img, "", nil), nil)
	require.NoError(t, err)
	assert.NotNil(t, f.what.Load(), "the fault happened")
	repositorytest.Equal(t, r, repositorytest.ID(1), img)
}

// TestStorageGone: a storage that answers nothing any more ends every call.
func TestStorageGone(t *testing.T) {
	f := &requests{err: fmt.Errorf("gone: %w", syscall.EROFS), stick: true}
	r, _ := directory(t, kopia.Options{Wrap: f.wrap}).Create(t, "r-1")
	ctx := t.Context()
	_, err := r.Write(ctx, repositorytest.Backup(1, small(t, 1), "", nil), nil)
	require.NoError(t, err)
	m, err := r.Open(ctx, repositorytest.ID(1))
	require.NoError(t, err)
	defer m.Close()
	f.at.Store(1)
	for name, call := range map[string]func() error{
		"points": func() error { _, err := r.Points(ctx); return err },
		"write":  func() error { _, err := r.Write(ctx, repositorytest.Backup(2, small(t, 2), "", nil), nil); return err },
		"verify": func() error {
			_, err := r.Verify(ctx, repositorytest.ID(1), repository.Verify{Mode: repository.Full}, nil)
			return err
		},
		"maintain": func() error { _, err := r.Maintain(ctx, true); return err },
		"status":   func() error { _, err := r.Status(ctx); return err },
		"delete":   func() error { return r.Delete(ctx, repositorytest.ID(1)) },
		"read":     func() error { _, err := m.ReadAt(make([]byte, 10), 1<<20); return err },
	} {
		err := call()
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%s: %v", name, err)
	}
	f.at.Store(0)
	v := full(t, r, 1)
	assert.Empty(t, v.Damaged, "silence is not damage")
}

// TestKilledAnywhere stops a backup at each of its blocks in turn, as a crash
// would, and repeats it with another process' view: it ends right, and costs
// less than the whole.
func TestKilledAnywhere(t *testing.T) {
	s := directory(t, kopia.Options{Checkpoint: 1})
	r, p := s.Create(t, "r-1")
	d := repositorytest.NewDisk(8 << 20)
	for at := range 8 {
		require.NoError(t, d.Fill(random(uint64(at)), 0, d.Size()))
		img, _ := d.Snapshot()
		ctx, cancel := context.WithCancel(t.Context())
		img.Fail = func(off int64) error {
			if off == int64(at)<<20 {
				cancel()
				return ctx.Err()
			}
			return nil
		}
		b := repositorytest.Backup(at, img, "", nil)
		b.Streams = 1
		_, err := r.Write(ctx, b, nil)
		require.Error(t, err)
		again := s.Open(t, p, "r-1")
		_, err = again.Point(t.Context(), repositorytest.ID(at))
		require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
		img.Fail = nil
		point, err := again.Write(t.Context(), b, nil)
		require.NoError(t, err)
		assert.EqualValues(t, 8<<20-at<<20, point.Stats.New, "what was stored before block %d is kept", at)
		repositorytest.Equal(t, again, repositorytest.ID(at), img)
		require.NoError(t, again.Close(t.Context()))
	}
}

// TestClockJumps: whatever the clock does between backups, deletions and
// maintenances, every listed point restores, and what is deleted stays so.
func TestClockJumps(t *testing.T) {
	const year = 365 * 24 * time.Hour
	f := &requests{err: errors.New("unused")}
	var lag atomic.Int64
	o := kopia.Options{Wrap: f.wrap, Now: func() time.Time { return time.Now().Add(time.Duration(lag.Load())) }}
	s := directory(t, o)
	ctx := t.Context()
	_, p := s.Create(t, "r-1")
	d := repositorytest.NewDisk(6 << 20)
	want := map[int]*repositorytest.Snapshot{}
	n := 0
	for _, jump := range []time.Duration{0, year, -year, 25 * time.Hour, 50 * time.Hour, 100 * time.Hour, -2 * year, 0, year, year + 30*time.Hour, year + 60*time.Hour, year + 90*time.Hour} {
		lag.Store(int64(jump))
		f.lag = jump // of the place's clock, too
		r := s.Open(t, p, "r-1")
		require.NoError(t, d.Fill(random(uint64(n)), int64(n%6)<<20, 1<<20))
		img, _ := d.Snapshot()
		_, err := r.Write(ctx, repositorytest.Backup(n, img, "", nil), nil)
		require.NoError(t, err)
		want[n] = img
		if n >= 2 {
			require.NoError(t, r.Delete(ctx, repositorytest.ID(n-2)))
			delete(want, n-2)
		}
		m, err := r.Maintain(ctx, true)
		require.NoError(t, err)
		require.True(t, m.Ran, m.Note)
		points, err := r.Points(ctx)
		require.NoError(t, err)
		require.Len(t, points, len(want), "after a jump of %v", jump)
		for i, img := range want {
			repositorytest.Equal(t, r, repositorytest.ID(i), img)
		}
		require.NoError(t, r.Close(ctx)) // the next one sees what is in the place
		n++
	}
	f.lag = 0 // now this machine's clock only
	r := s.Open(t, p, "r-1")
	_, err := r.Maintain(ctx, true)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	assert.ErrorContains(t, err, "clock")
}

// TestMaintenanceIsExclusive: one at a time, not while somebody writes, and
// only by the owner.
func TestMaintenanceIsExclusive(t *testing.T) {
	ctx := t.Context()
	s := directory(t, kopia.Options{})
	r, p := s.Create(t, "r-1")
	img := small(t, 1)
	started, goOn := make(chan struct{}), make(chan struct{})
	var once atomic.Bool
	img.Fail = func(int64) error {
		if once.CompareAndSwap(false, true) {
			close(started)
		}
		<-goOn
		return nil
	}
	wrote := make(chan error)
	go func() {
		_, err := r.Write(ctx, repositorytest.Backup(1, img, "", nil), nil)
		wrote <- err
	}()
	<-started
	second := s.Open(t, p, "r-1") // as of another process
	m, err := second.Maintain(ctx, true)
	require.NoError(t, err)
	assert.False(t, m.Ran)
	assert.Contains(t, m.Note, "backup is running")
	close(goOn)
	require.NoError(t, <-wrote)

	done := make(chan repository.Maintained, 4)
	for range cap(done) {
		go func() {
			m, err := s.Open(t, p, "r-1").Maintain(ctx, true)
			assert.NoError(t, err)
			done <- m
		}()
	}
	ran := 0
	for range cap(done) {
		if m := <-done; m.Ran {
			ran++
		} else {
			assert.NotEmpty(t, m.Note)
		}
	}
	assert.Positive(t, ran)

	other := kopia.New(kopia.Options{Dir: filepath.Join(t.TempDir(), "state"), Owner: "Installation-2"})
	o, err := other.Open(ctx, p, repositorytest.Key, "r-1")
	require.NoError(t, err)
	defer o.Close(ctx)
	m, err = o.Maintain(ctx, true)
	require.NoError(t, err)
	assert.False(t, m.Ran)
	assert.Contains(t, m.Note, "installation-1")
	require.NoError(t, o.(*kopia.Repository).Own(ctx))
	m, err = o.Maintain(ctx, true)
	require.NoError(t, err)
	assert.True(t, m.Ran, m.Note)
	m, err = r.Maintain(ctx, true)
	require.NoError(t, err)
	assert.False(t, m.Ran, "it has another owner now")
	repositorytest.Equal(t, r, repositorytest.ID(1), img)
}
