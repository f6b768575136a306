package kopia

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/pkg/errkind"
)

// segment is a part of the image that is looked at block by block.
type segment struct {
	index         int
	start, length int64
	ids           []content.ID
	left          atomic.Int32 // jobs that have not ended, and one for the plan
	old           []content.ID // of the parent, nil if unknown
	oldID         object.ID    // of the parent, empty if it must not be used again
}

// plan goes through the image once, in order, and decides for each segment
// and block: taken over, zero, or read.
type plan struct {
	w       *backup
	jobs    chan<- job
	data    *cursor
	changed *cursor // nil: everything may have changed
	// spare is a segment taken over, chosen by chance from seen, of which a block
	// is compared if chance took none.
	spare   *segment
	spareID object.ID
	seen    int
	sent    bool // a block to be compared
}

// checkedSegments is how many of the segments taken over unseen are looked
// into, by chance: are their blocks still there?
const checkedSegments = 64

func newPlan(w *backup, jobs chan<- job) *plan {
	return &plan{w: w, jobs: jobs}
}

func (p *plan) close() {
	for _, c := range []*cursor{p.data, p.changed} {
		if c != nil {
			c.stop()
		}
	}
}

func (p *plan) run(ctx context.Context) error {
	w := p.w
	p.data = newCursor(w.b.Image.Data(ctx))
	if w.parent != nil && w.b.Changed != nil {
		p.changed = newCursor(w.b.Changed)
	}
	for i := range w.top {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		s := &segment{index: i, start: int64(i) * segmentSize, length: lengthOf(i, segmentSize, w.size)}
		if err := p.segment(ctx, s); err != nil {
			return err
		}
	}
	if p.changed != nil {
		if err := p.dropped(ctx); err != nil {
			return err
		}
	}
	return p.compareOne(ctx)
}

// compareOne sees to it that a sample has at least one block.
func (p *plan) compareOne(ctx context.Context) error {
	if p.spare == nil || p.sent {
		return nil
	}
	ids, err := p.w.r.blocks(ctx, p.spareID, p.spare.length)
	if err != nil {
		if errkind.Is(err, errkind.Corrupt) { // nothing to compare with; a verification finds it
			return nil
		}
		return err
	}
	i := rand.IntN(len(ids))
	s := &segment{index: p.spare.index, start: p.spare.start, length: p.spare.length}
	s.left.Store(1) // never finished
	p.w.report.add(-lengthOf(i, blockSize, s.length), 0)
	return p.send(ctx, job{s: s, i: i, compare: ids[i]})
}

// candidate remembers a segment for compareOne, each with the same chance.
func (p *plan) candidate(s *segment, old object.ID) {
	if p.w.b.Sample <= 0 || p.sent {
		return
	}
	if p.seen++; rand.IntN(p.seen) == 0 {
		p.spare, p.spareID = s, old
	}
}

func (p *plan) send(ctx context.Context, j job) error {
	j.s.left.Add(1)
	p.sent = p.sent || j.compare != content.EmptyID
	select {
	case p.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *plan) segment(ctx context.Context, s *segment) error {
	end := s.start + s.length
	old, known := p.w.parent.segment(s.index, s.length)
	if p.changed != nil && known {
		changed, err := p.changed.meets(s.start, end)
		if err != nil {
			return failedSource(err, s.start)
		}
		if !changed {
			return p.unchanged(ctx, s, old)
		}
		return p.mixed(ctx, s, old)
	}
	has, err := p.data.meets(s.start, end)
	if err != nil {
		return failedSource(err, s.start)
	}
	if !has {
		p.w.report.add(s.length, 0)
		p.w.top[s.index], err = p.w.zeroSegment(ctx, s.length)
		return err
	}
	return p.build(ctx, s, func(int) bool { return true })
}

// unchanged takes a segment over as it is, unless chance or known damage wants
// a closer look.
func (p *plan) unchanged(ctx context.Context, s *segment, old object.ID) error {
	w := p.w
	w.top[s.index] = old
	sampled := p.sample(s)
	has, err := p.data.meets(s.start, s.start+s.length)
	if err != nil {
		return failedSource(err, s.start)
	}
	empty := old == w.r.zeroSegmentID(s.length)
	if empty && !has && !w.everything {
		sampled = nil // zeros before and now
	}
	if !empty || has {
		p.candidate(s, old)
	}
	if w.everything || !empty && rand.IntN(len(w.top)) < checkedSegments {
		return p.checked(ctx, s, old, sampled)
	}
	if len(sampled) == 0 {
		w.report.add(s.length, 0)
		return nil
	}
	ids, err := w.r.blocks(ctx, old, s.length)
	if errkind.Is(err, errkind.Corrupt) {
		return p.checked(ctx, s, old, sampled)
	}
	if err != nil {
		return err
	}
	return p.compare(ctx, s, ids, sampled)
}

// sample chooses blocks of a segment by chance.
func (p *plan) sample(s *segment) (blocks []int) {
	if p.w.b.Sample <= 0 {
		return nil
	}
	for i := range blocksIn(s.length) {
		if rand.Float64() < p.w.b.Sample {
			blocks = append(blocks, i)
		}
	}
	return blocks
}

// compare sends jobs that compare blocks that are taken over.
func (p *plan) compare(ctx context.Context, s *segment, ids []content.ID, blocks []int) error {
	s.left.Store(1) // never finished: it keeps the parent's index
	whole := s.length
	for _, i := range blocks {
		whole -= lengthOf(i, blockSize, s.length)
		if err := p.send(ctx, job{s: s, i: i, compare: ids[i]}); err != nil {
			return err
		}
	}
	p.w.report.add(whole, 0)
	return nil
}

// checked looks whether the blocks of an unchanged segment are there; those
// that are not are read again.
func (p *plan) checked(ctx context.Context, s *segment, old object.ID, sampled []int) error {
	return p.take(ctx, s, old, func(int) (bool, error) { return false, nil }, sampled)
}

// mixed is a segment with changes.
func (p *plan) mixed(ctx context.Context, s *segment, old object.ID) error {
	return p.take(ctx, s, old, func(i int) (bool, error) {
		at := s.start + int64(i)*blockSize
		return p.changed.meets(at, at+lengthOf(i, blockSize, s.length))
	}, p.sample(s))
}

// take makes a segment from the parent's and what changed.
func (p *plan) take(ctx context.Context, s *segment, old object.ID, changed func(int) (bool, error), sampled []int) error {
	w := p.w
	ids, err := w.r.blocks(ctx, old, s.length)
	if errkind.Is(err, errkind.Corrupt) {
		if cid, err := segmentContent(old); err == nil {
			w.damaged(cid)
		}
		return p.build(ctx, s, func(int) bool { return true })
	}
	if err != nil {
		return err
	}
	s.old, s.oldID = ids, old
	if cid, err := segmentContent(old); err != nil {
		s.oldID = object.EmptyID
	} else if ok, _, err := w.stored(ctx, cid); err != nil {
		return failed(err, "look for an index in %s", w.r.g.where)
	} else if !ok {
		s.oldID = object.EmptyID
	}
	s.ids = slices.Clone(ids)
	read := make([]bool, len(ids))
	for i, id := range ids {
		if read[i], err = changed(i); err != nil {
			return failedSource(err, s.start)
		}
		if read[i] {
			continue
		}
		there, _, err := w.stored(ctx, id)
		if err != nil {
			return failed(err, "look for blocks in %s", w.r.g.where)
		}
		read[i] = !there
	}
	s.left.Store(1)
	for _, i := range sampled {
		if !read[i] {
			if err := p.send(ctx, job{s: s, i: i, compare: ids[i]}); err != nil {
				return err
			}
			w.report.add(-lengthOf(i, blockSize, s.length), 0) // counted below too
		}
	}
	return p.fill(ctx, s, func(i int) bool { return read[i] })
}

// build makes a segment without a parent's.
func (p *plan) build(ctx context.Context, s *segment, read func(int) bool) error {
	s.ids = make([]content.ID, blocksIn(s.length))
	s.left.Store(1)
	return p.fill(ctx, s, read)
}

// fill sends the jobs for what must be read and is not a hole.
func (p *plan) fill(ctx context.Context, s *segment, read func(int) bool) error {
	w := p.w
	for i := range s.ids {
		at, n := s.start+int64(i)*blockSize, lengthOf(i, blockSize, s.length)
		if !read(i) {
			w.report.add(n, 0)
			continue
		}
		has, err := p.data.meets(at, at+n)
		if err != nil {
			return failedSource(err, at)
		}
		if has {
			err = p.send(ctx, job{s: s, i: i})
		} else {
			w.report.add(n, 0)
			s.ids[i], err = w.zeroBlock(ctx, int(n))
		}
		if err != nil {
			return err
		}
	}
	if s.left.Add(-1) == 0 {
		return w.finish(ctx, s)
	}
	return nil
}

// dropped counts what the parent had beyond the parts that were taken over.
func (p *plan) dropped(ctx context.Context) error {
	par := p.w.parent
	for i, id := range par.segments {
		n := lengthOf(i, segmentSize, par.size)
		if _, kept := par.segment(i, n); kept && i < len(p.w.top) && lengthOf(i, segmentSize, p.w.size) == n {
			continue
		}
		if id == p.w.r.zeroSegmentID(n) {
			continue
		}
		ids, err := p.w.r.blocks(ctx, id, n)
		if err != nil && !errkind.Is(err, errkind.Corrupt) {
			return err
		}
		p.w.old.Add(p.w.r.dataIn(ids, n))
	}
	return nil
}
