package kopia

import (
	"cmp"
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// backup is one image on its way into the repository.
type backup struct {
	*session
	b      repository.Backup
	size   int64
	parent *parent // nil: there is none that can be used
	top    []object.ID
	report *progress
	// everything makes each segment of the parent be looked at, because something
	// in the repository is known to be damaged.
	everything bool

	read, fresh, data, old atomic.Int64 // bytes; data and old of segments made anew
	passed                 atomic.Int64 // blocks taken over that were compared

	mu    sync.Mutex // guards zeros
	zeros map[int64]object.ID

	flush   sync.Mutex // held while flushing; guards what follows
	flushed int64      // stored when it was last flushed
	since   time.Time  // when that was
	begun   time.Time
}

// maxStreams bounds memory: each may hold a block and a pack on its way.
const maxStreams = 8

// streamsOf is how many blocks are worked on at a time. While some wait for the
// disk or the place, the others keep the processors busy.
func streamsOf(asked int) int {
	if asked <= 0 {
		asked = 2 * runtime.GOMAXPROCS(0)
	}
	return min(asked, maxStreams)
}

// Write stores an image.
func (r *Repository) Write(ctx context.Context, b repository.Backup, report repository.Report) (repository.Point, error) {
	done, err := r.use()
	if err != nil {
		return repository.Point{}, err
	}
	defer done()
	if s := b.Image.Size(); s <= 0 || s%512 != 0 || b.Point.ID == "" {
		return repository.Point{}, errkind.New(errkind.Invalid, "a disk of %d bytes cannot be backed up as recovery point %q", s, b.Point.ID)
	}
	unlock, err := r.writing.Lock(ctx, b.Point.ID)
	if err != nil {
		return repository.Point{}, err
	}
	defer unlock()
	if err := r.fresh(ctx); err != nil {
		return repository.Point{}, err
	}
	if old, err := r.find(ctx, b.Point.ID); err == nil {
		return old.Point, nil
	} else if k := errkind.Of(err); k != errkind.NotFound && k != errkind.Corrupt && k != errkind.Unsupported {
		return repository.Point{}, err
	}
	m := &meter{}
	m.pace.Rate = b.Limit
	var p repository.Point
	err = r.session(ctx, "backup", m, func(ctx context.Context, s *session) error {
		w := &backup{
			session: s, b: b, size: b.Image.Size(), report: newProgress(report, b.Image.Size(), m),
			zeros: map[int64]object.ID{}, begun: time.Now(), since: time.Now(),
		}
		p, err = w.run(ctx)
		return err
	})
	if err != nil && (p.ID == "" || !r.arrived(ctx, p.ID)) {
		return repository.Point{}, err
	}
	r.healed(ctx, p.ID)
	return p, nil
}

// arrived reports whether a point is there although the last write of it
// failed: what came after its index did not matter, or only the answer was
// lost.
func (r *Repository) arrived(ctx context.Context, id volspec.PointID) bool {
	if err := r.fresh(ctx); err != nil {
		return false
	}
	_, err := r.find(ctx, id)
	return err == nil
}

func (w *backup) run(ctx context.Context) (repository.Point, error) {
	var tracking string
	var err error
	w.parent, tracking, err = w.findParent(ctx)
	if err != nil {
		return repository.Point{}, err
	}
	f, err := w.r.damage(ctx)
	if err != nil {
		return repository.Point{}, err
	}
	w.everything = f.has() && (w.parent == nil || !slices.Contains(f.Checked, w.parent.id))
	w.doubt = w.everything && w.parent == nil
	w.top = make([]object.ID, segmentsIn(w.size))
	if err := w.blocks(ctx); err != nil {
		if ctx.Err() != nil {
			w.rescue(ctx)
		}
		return repository.Point{}, err
	}
	return w.conclude(ctx, tracking)
}

// rescue makes what is stored already last, so that the next attempt need not
// store it again. It is a favour: its error is not the backup's.
func (w *backup) rescue(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	_ = w.w.Flush(ctx)
}

// blocks reads, compares and stores everything but the topmost index.
func (w *backup) blocks(ctx context.Context) error {
	streams := streamsOf(w.b.Streams)
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan job)
	g.Go(func() error {
		defer close(jobs)
		p := newPlan(w, jobs)
		defer p.close()
		return p.run(ctx)
	})
	for range streams {
		g.Go(func() error {
			buf := make([]byte, blockSize)
			for j := range jobs {
				if err := w.work(ctx, j, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// job is one block to be read. A block with a parent's id is only compared.
type job struct {
	s       *segment
	i       int
	compare content.ID
}

func (w *backup) work(ctx context.Context, j job, buf []byte) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	n := lengthOf(j.i, blockSize, j.s.length)
	off := j.s.start + int64(j.i)*blockSize
	buf = buf[:n]
	if _, err := w.b.Image.ReadAt(buf, off); err != nil {
		return failedSource(err, off)
	}
	w.read.Add(n)
	if j.compare != content.EmptyID {
		w.passed.Add(1)
		if w.r.hash.id("", buf) != j.compare {
			return &repository.TrackingError{Offset: off}
		}
	} else if err := w.keep(ctx, j, buf); err != nil {
		return failed(err, "store a block in %s", w.r.g.where)
	}
	w.report.add(n, n)
	if j.s.left.Add(-1) == 0 {
		return w.finish(ctx, j.s)
	}
	return nil
}

// keep stores one block and notes it in its segment.
func (w *backup) keep(ctx context.Context, j job, buf []byte) error {
	if isZero(buf) {
		id, err := w.zeroBlock(ctx, len(buf))
		j.s.ids[j.i] = id
		return err
	}
	id, isNew, err := w.put(ctx, "", buf)
	if err != nil {
		return err
	}
	j.s.ids[j.i] = id
	if !isNew {
		return nil
	}
	w.fresh.Add(int64(len(buf)))
	return w.checkpoint(ctx)
}

// checkpoint flushes now and then. The longer a backup takes, the longer it
// waits: there would be too many small indexes, and what a crash costs stays a
// small part of what was done.
func (w *backup) checkpoint(ctx context.Context) error {
	if !w.flush.TryLock() {
		return nil
	}
	defer w.flush.Unlock()
	const part = 16
	stored := w.m.stored.Load()
	due := stored-w.flushed >= max(w.r.o.Checkpoint, stored/part) ||
		stored > w.flushed && time.Since(w.since) >= max(w.r.o.CheckpointEvery, time.Since(w.begun)/part)
	if !due {
		return nil
	}
	if err := w.w.Flush(ctx); err != nil {
		return err
	}
	w.flushed, w.since = w.m.stored.Load(), time.Now()
	return nil
}

// failedSource is an error of the image, which has its own kind.
func failedSource(err error, off int64) error {
	if _, ok := errors.AsType[*errkind.Error](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errkind.Wrap(errkind.Unavailable, err, "read the disk at byte %d", off)
}

func isZero(b []byte) bool {
	const step = 4096
	for len(b) >= step {
		if [step]byte(b) != [step]byte{} {
			return false
		}
		b = b[step:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// parent is a point whose blocks can be taken over.
type parent struct {
	id       volspec.PointID
	size     int64
	data     int64
	segments []object.ID
}

// segment is part i of the parent, if it has one of that length.
func (p *parent) segment(i int, length int64) (object.ID, bool) {
	if p == nil || i >= len(p.segments) || lengthOf(i, segmentSize, p.size) != length {
		return object.EmptyID, false
	}
	return p.segments[i], true
}

// findParent looks for the parent, and says how changes are found.
func (w *backup) findParent(ctx context.Context) (*parent, string, error) {
	id := w.b.Parent
	if id == "" {
		return nil, w.say("first backup: everything was read"), nil
	}
	l, err := w.r.find(ctx, id)
	if err != nil {
		if errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Corrupt) {
			return nil, "full read: the point before is gone", nil
		}
		return nil, "", err
	}
	if l.Point.Source.Volume != w.b.Point.Source.Volume || l.Point.Source.Tenant != w.b.Point.Source.Tenant {
		return nil, "full read: the point before is of another volume", nil
	}
	segments, err := w.r.segments(ctx, l.record)
	switch {
	case errkind.Is(err, errkind.Corrupt):
		return nil, "full read: the index of the point before is damaged", nil
	case err != nil:
		return nil, "", err
	}
	p := &parent{id: id, size: l.Point.Size, data: l.Point.Stats.Data, segments: segments}
	if w.b.Changed == nil {
		return p, w.say("full read: only what differs from the point before was stored"), nil
	}
	return p, w.say("changed ranges since the point before"), nil
}

// say is the caller's word for how changes are found, or words of our own.
func (w *backup) say(words string) string { return cmp.Or(w.b.Point.Tracking, words) }
