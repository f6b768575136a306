package fuseimg

import (
	"io"
	"slices"
	"sync"

	"mooring.dev/mooring/pkg/image"
)

// Damage remembers which ranges of an image could not be read. The zero value
// is ready, a nil one forgets. It is safe for concurrent use.
type Damage struct {
	mu    sync.Mutex // guards the rest
	parts []image.Extent
	first error
}

const (
	maxParts = 1000
	grain    = 64 << 10 // how exactly a damaged range is looked for
)

// locate finds the pieces of e that cannot be read, after a read of e as a
// whole failed with err.
func (d *Damage) locate(r io.ReaderAt, e image.Extent, err error) {
	if d == nil {
		return
	}
	if e.Length <= grain {
		d.Add(e, err)
		return
	}
	buf, found := make([]byte, grain), false
	for at := e.Offset; at < e.End(); {
		piece := image.Extent{Offset: at, Length: min(grain-at%grain, e.End()-at)}
		at = piece.End()
		if n, err := r.ReadAt(buf[:piece.Length], piece.Offset); int64(n) < piece.Length {
			d.Add(piece, err)
			found = true
		}
	}
	if !found { // it is readable now
		d.note(err)
	}
}

func (d *Damage) note(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.first == nil {
		d.first = err
	}
}

// Add remembers a range that could not be read because of err.
func (d *Damage) Add(e image.Extent, err error) {
	d.note(err)
	d.mu.Lock()
	defer d.mu.Unlock()
	at, there := slices.BinarySearchFunc(d.parts, e, func(a, b image.Extent) int { return int(min(max(a.Offset-b.Offset, -1), 1)) })
	switch {
	case there && d.parts[at].Length >= e.Length, at > 0 && d.parts[at-1].End() >= e.End():
		return // known
	case there:
		d.parts[at].Length = e.Length
	case at > 0 && d.parts[at-1].End() >= e.Offset:
		at--
		d.parts[at].Length = e.End() - d.parts[at].Offset
	case len(d.parts) < maxParts:
		d.parts = slices.Insert(d.parts, at, e)
	default:
		return
	}
	for at+1 < len(d.parts) && d.parts[at+1].Offset <= d.parts[at].End() {
		d.parts[at].Length = max(d.parts[at].End(), d.parts[at+1].End()) - d.parts[at].Offset
		d.parts = slices.Delete(d.parts, at+1, at+2)
	}
}

// Err is the first error, nil when everything could be read.
func (d *Damage) Err() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.first
}

// Ranges are the damaged ones in ascending order, at most 1000. A transient
// error leaves none.
func (d *Damage) Ranges() []image.Extent {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.parts)
}
