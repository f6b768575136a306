package kopia

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// verification is one look at a point.
type verification struct {
	r      *Repository
	v      repository.Verify
	pace   image.Pace
	report *progress
	look   *session // only for its memory of packs

	folderParts   []content.ID // of the folder, that are damaged
	blocks, bytes atomic.Int64

	mu    sync.Mutex // guards the rest
	out   repository.Verified
	bad   map[content.ID]bool
	fine  map[content.ID]bool // noted as damaged, and readable
	noted map[content.ID]bool
	again map[content.ID][]byte // lost, and known without the repository
	all   []image.Extent
}

// maxDamage is how many ranges are named.
const maxDamage = 1000

// Verify looks at a point.
func (r *Repository) Verify(ctx context.Context, id volspec.PointID, v repository.Verify, report repository.Report) (repository.Verified, error) {
	done, err := r.use()
	if err != nil {
		return repository.Verified{}, err
	}
	defer done()
	if v.Mode != repository.Quick && v.Mode != repository.Sampled && v.Mode != repository.Full {
		return repository.Verified{}, errkind.New(errkind.Invalid, "%q is no way to verify: use quick, sampled or full", v.Mode)
	}
	if err := r.fresh(ctx); err != nil {
		return repository.Verified{}, err
	}
	l, err := r.find(ctx, id)
	if err != nil {
		return repository.Verified{}, err
	}
	f, err := r.damage(ctx)
	if err != nil {
		return repository.Verified{}, err
	}
	w := &verification{
		r: r, v: v, pace: image.Pace{Rate: v.Limit}, report: newProgress(report, l.Point.Size, nil),
		look: &session{r: r, pack: map[blob.ID]packState{}},
		bad:  map[content.ID]bool{}, fine: map[content.ID]bool{}, noted: map[content.ID]bool{}, again: map[content.ID][]byte{},
	}
	for _, id := range f.Contents {
		w.noted[id] = true
	}
	if err := w.run(ctx, l); err != nil {
		return repository.Verified{}, err
	}
	return w.conclude(ctx)
}

func (w *verification) run(ctx context.Context, l listed) error {
	size := l.Point.Size
	whole := image.Extent{Length: size}
	parts, err := w.r.objectContents(ctx, l.record)
	if err != nil && !lost(err) {
		return err
	}
	for _, id := range parts {
		if err := w.content(ctx, id, whole, true); err != nil {
			return err
		}
	}
	top, err := w.r.segments(ctx, l.record)
	if err != nil {
		if !errkind.Is(err, errkind.Corrupt) {
			return err
		}
		w.damage(whole, content.EmptyID, err)
		return nil
	}
	if err := w.folder(ctx, l, whole); err != nil {
		return err
	}
	g, inner := errgroup.WithContext(ctx)
	g.SetLimit(streamsOf(w.v.Streams))
	for i, id := range top {
		if inner.Err() != nil {
			break
		}
		g.Go(func() error { return w.segment(inner, i, id, size) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// folder looks at what only the standard program needs. What is damaged of it
// is written again from the manifest.
func (w *verification) folder(ctx context.Context, l listed, whole image.Extent) error {
	err := w.readFolder(ctx, l)
	if err == nil {
		return nil
	}
	err = failed(err, "read the folder of recovery point %s", l.Point.ID)
	if !errkind.Is(err, errkind.Corrupt) {
		return err
	}
	if w.r.g.readOnly.Load() {
		w.damage(whole, content.EmptyID, err)
		return nil
	}
	rerr := w.r.session(ctx, "folder", nil, func(ctx context.Context, s *session) error {
		img, err := object.ParseID(l.Image)
		if err != nil {
			return errIndex
		}
		for _, id := range w.folderParts {
			s.damaged(id)
		}
		root, err := s.folder(ctx, l.Point, img)
		if err == nil && root.ObjectID != l.root {
			err = errIndex // from a version that wrote it in another way
		}
		return err
	})
	if rerr != nil && !errkind.Is(rerr, errkind.Corrupt) {
		return rerr
	}
	if rerr != nil || w.readFolder(ctx, l) != nil {
		w.damage(whole, content.EmptyID, err)
	}
	return nil
}

func (w *verification) readFolder(ctx context.Context, l listed) error {
	w.folderParts = nil
	read := func(id object.ID) ([]byte, error) {
		b, err := w.r.readObject(ctx, id)
		if lost(err) {
			if cid, _, ok := id.ContentID(); ok {
				w.folderParts = append(w.folderParts, cid)
			}
		}
		return b, err
	}
	text, err := read(l.root)
	if err != nil {
		return err
	}
	doc, err := documentIn(text)
	if err == nil {
		_, err = read(doc)
	}
	return err
}

func (w *verification) segment(ctx context.Context, i int, id object.ID, size int64) error {
	start, length := int64(i)*segmentSize, lengthOf(i, segmentSize, size)
	cid, err := segmentContent(id)
	if err != nil {
		return err
	}
	e := image.Extent{Offset: start, Length: length}
	if err := w.content(ctx, cid, e, true); err != nil {
		return err
	}
	ids, err := w.r.blocks(ctx, id, length)
	if errkind.Is(err, errkind.Corrupt) {
		w.damage(e, content.EmptyID, err) // its content was named by the look at it
		w.report.add(length, 0)
		return nil
	}
	if err != nil {
		return err
	}
	for j, b := range ids {
		if j > 0 && b == ids[j-1] { // zeros, mostly
			w.repeated(start, j, length, b)
			continue
		}
		n := lengthOf(j, blockSize, length)
		read := w.v.Mode == repository.Full || w.v.Mode == repository.Sampled && rand.Float64() < w.v.Share
		if err := w.content(ctx, b, image.Extent{Offset: start + int64(j)*blockSize, Length: n}, read); err != nil {
			return err
		}
		w.blocks.Add(1)
		w.report.add(n, 0)
	}
	return nil
}

// repeated is a block that is the same content as the one before it.
func (w *verification) repeated(start int64, j int, length int64, id content.ID) {
	n := lengthOf(j, blockSize, length)
	w.mu.Lock()
	bad := w.bad[id]
	if bad {
		w.all = append(w.all, image.Extent{Offset: start + int64(j)*blockSize, Length: n})
	}
	w.mu.Unlock()
	w.blocks.Add(1)
	w.report.add(n, 0)
}

// content looks at one content: that it is known and its pack long enough,
// and if read is set, that its bytes are right.
func (w *verification) content(ctx context.Context, id content.ID, e image.Extent, read bool) error {
	i, err := w.r.kopia.ContentInfo(ctx, id)
	if err == nil {
		var whole bool
		if whole, err = w.look.whole(ctx, i); err == nil && !whole {
			err = errDamaged
		}
	}
	if err == nil && (read || w.noted[id]) {
		if err = w.pace.Wait(ctx, int64(i.PackedLength)); err == nil {
			err = w.readBack(ctx, id, e.Length)
		}
		if err == nil && w.noted[id] {
			w.mu.Lock()
			w.fine[id] = true
			w.mu.Unlock()
		}
	}
	if err == nil {
		return nil
	}
	err = failed(err, "read bytes %d to %d of the disk", e.Offset, e.End())
	if !errkind.Is(err, errkind.Corrupt) {
		return err
	}
	if b := w.r.known(id, e.Length); b != nil && !w.r.g.readOnly.Load() {
		w.mu.Lock()
		w.again[id] = b
		w.mu.Unlock()
		return nil
	}
	w.damage(e, id, err)
	return nil
}

// known is the content id if it needs no repository to know it: zeros, and the
// index of zeros. We read it without looking, the standard program does not.
func (r *Repository) known(id content.ID, length int64) []byte {
	if length <= blockSize && id == r.hash.zero(int(length)) {
		return make([]byte, length)
	}
	if cid, err := segmentContent(r.zeroSegmentID(length)); err == nil && cid == id {
		return r.zeroSegmentIndex(length)
	}
	return nil
}

// rewrite stores again what was lost and is known.
func (w *verification) rewrite(ctx context.Context) error {
	if len(w.again) == 0 {
		return nil
	}
	return w.r.session(ctx, "zeros", nil, func(ctx context.Context, s *session) error {
		for id, b := range w.again {
			s.damaged(id)
			if _, _, err := s.put(ctx, id.Prefix(), b); err != nil {
				return failed(err, "store zeros in %s", w.r.g.where)
			}
		}
		return nil
	})
}

func (w *verification) readBack(ctx context.Context, id content.ID, length int64) error {
	buf := blockBuffers.Get().(*[]byte)
	defer blockBuffers.Put(buf)
	b, err := w.r.readTo(ctx, (*buf)[:0], id)
	if err != nil {
		return err
	}
	if !id.HasPrefix() && int64(len(b)) != length {
		return errDamaged
	}
	w.bytes.Add(int64(len(b)))
	w.report.add(0, int64(len(b)))
	return nil
}

var blockBuffers = sync.Pool{New: func() any { b := make([]byte, 0, blockSize); return &b }}

func (w *verification) damage(e image.Extent, id content.ID, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, e)
	if id != content.EmptyID {
		w.bad[id] = true
	}
	if w.out.Why == "" {
		w.out.Why = errkind.Text(err)
	}
}

// conclude sums up, and takes what is damaged out of use.
func (w *verification) conclude(ctx context.Context) (repository.Verified, error) {
	w.out.Blocks, w.out.Bytes = w.blocks.Load(), w.bytes.Load()
	all := merge(w.all)
	for _, e := range all {
		w.out.Lost += e.Length
	}
	w.out.Damaged = all[:min(len(all), maxDamage)]
	w.report.end()
	if err := w.rewrite(ctx); err != nil {
		return w.out, err
	}
	if err := w.r.withdraw(ctx, w.bad); err != nil {
		return w.out, err
	}
	return w.out, w.r.restore(ctx, w.fine)
}

// merge sorts ranges and joins those that touch.
func merge(all []image.Extent) (out []image.Extent) {
	slices.SortFunc(all, func(a, b image.Extent) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	for _, e := range all {
		if l := len(out); l > 0 && e.Offset <= out[l-1].End() {
			out[l-1].Length = max(out[l-1].End(), e.End()) - out[l-1].Offset
			continue
		}
		out = append(out, e)
	}
	return out
}
