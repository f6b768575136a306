package vsphere

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

const (
	grain  = 64 << 10 // runs of zeros of this length are holes
	window = 8 << 20  // what is read at a time to find them
)

// known is what was found out by reading, kept for the next time.
type known struct {
	mu       sync.Mutex // held while it is found out
	complete bool
	data     []image.Extent
}

// scan yields the data of an image that has to be read for it.
func (o *opened) scan(ctx context.Context, yield func(image.Extent, error) bool) {
	o.mu.RLock()
	c := o.content
	o.mu.RUnlock()
	o.known.scan(ctx, "reading snapshot "+string(o.id), o.size, c, o.read, yield)
}

// mapped is content that knows where it has data.
type mapped interface {
	data(ctx context.Context) image.Extents
}

type read func(ctx context.Context, p []byte, off int64) (int, error)

// scan yields the data of c. Unless c knows them everything is read with r, once.
func (k *known) scan(ctx context.Context, what string, size int64, c content, r read, yield func(image.Extent, error) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.complete {
		data, err := dataOf(ctx, what, size, c, r)
		if err != nil {
			yield(image.Extent{}, err)
			return
		}
		k.data, k.complete = data, true
	}
	for _, e := range k.data {
		if !yield(e, nil) {
			return
		}
	}
}

func dataOf(ctx context.Context, what string, size int64, c content, r read) (data []image.Extent, err error) {
	m, ok := c.(mapped)
	if !ok {
		return find(ctx, what, size, r)
	}
	for e, err := range m.data(ctx) {
		if err != nil {
			return nil, vcenter.Translate(err, what)
		}
		data = append(data, e)
	}
	return data, nil
}

// find reads everything. In memory is one window, and where the data are.
func find(ctx context.Context, what string, size int64, r read) (data []image.Extent, err error) {
	j := image.NewJoiner(func(e image.Extent, _ error) bool { data = append(data, e); return true })
	buf, zeros := make([]byte, min(window, size)), make([]byte, grain)
	for at := int64(0); at < size; at += int64(len(buf)) {
		if ctx.Err() != nil {
			return nil, vcenter.Translate(context.Cause(ctx), what)
		}
		buf = buf[:min(int64(len(buf)), size-at)]
		if _, err := r(ctx, buf, at); err != nil {
			return nil, err
		}
		for i := 0; i < len(buf); i += grain {
			part := buf[i:min(i+grain, len(buf))]
			if !bytes.Equal(part, zeros[:len(part)]) {
				j.Add(image.Extent{Offset: at + int64(i), Length: int64(len(part))})
			}
		}
	}
	j.Flush()
	return data, nil
}

// readWithin reads from a disk of that size, up to its end.
func readWithin(ctx context.Context, r reader, size int64, p []byte, off int64) (int, error) {
	if off >= size {
		return 0, io.EOF
	}
	n := min(int64(len(p)), size-off)
	ctx, cancel := context.WithTimeout(ctx, transfer)
	defer cancel()
	got, err := r.readAt(ctx, p[:n], off)
	if err == nil && n < int64(len(p)) {
		err = io.EOF
	}
	return got, err
}

// areasOr yields areas; where change tracking cannot tell them, otherwise does.
func areasOr(areas image.Extents, otherwise func(), yield func(image.Extent, error) bool) {
	first := true
	for e, err := range areas {
		if first && errkind.Is(err, errkind.Unsupported) {
			otherwise()
			return
		}
		first = false
		if !yield(e, err) {
			return
		}
	}
}

// union yields what is in a or in b.
func union(a, b image.Extents) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		nextA, stopA := iter.Pull2(a)
		defer stopA()
		nextB, stopB := iter.Pull2(b)
		defer stopB()
		x, err, hasX := nextA()
		y, errY, hasY := nextB()
		j := image.NewJoiner(yield)
		for err == nil && errY == nil && (hasX || hasY) {
			e := y
			if hasX && (!hasY || x.Offset <= y.Offset) {
				e = x
				x, err, hasX = nextA()
			} else {
				y, errY, hasY = nextB()
			}
			if !j.Add(e) {
				return
			}
		}
		if err = errors.Join(err, errY); err != nil {
			yield(image.Extent{}, err)
			return
		}
		j.Flush()
	}
}
