package vsphere

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/descriptor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"

	"path"
)

// reader is a path on which the content of a disk that nobody writes to comes
// here. readAt is safe for concurrent use and reads all of p, or fails.
type reader interface {
	readAt(ctx context.Context, p []byte, off int64) (int, error)
}

// writer is a path on which content gets to a disk that was just made and that
// nobody has: all size bytes of it, in order.
type writer interface {
	write(ctx context.Context, content io.ReadSeeker, size int64) error
}

// readable is unsupported for datastores that keep disks as objects: there are
// no files behind their names.
func readable(ds vcenter.Datastore) error {
	switch ds.Type {
	case "vsan", "vsanD", "VVOL", "PMEM":
		return errkind.New(errkind.Unsupported, "the content of disks on datastore %s (%s) cannot be reached from here: it needs a transporter, a VM that the disks are attached to; use a datastore on VMFS or NFS until there is one", ds.Name, ds.Type)
	}
	return nil
}

// flat is the path to a disk in flat files, which the datastore serves by HTTP.
// Unsupported: its content lies in another way, as that of a delta does.
func (v *VSphere) flat(ctx context.Context, datastore, file string) (*flatFiles, error) {
	d, err := v.descriptor(ctx, datastore, file)
	if err != nil {
		return nil, err
	}
	extents, ok := d.Flat()
	if !ok {
		return nil, errkind.New(errkind.Unsupported, "disk %s does not lie in flat files", vcenter.Path(datastore, file))
	}
	return &flatFiles{files: v.c.Files(), datastore: datastore, folder: path.Dir(file), extents: extents}, nil
}

// flatFiles reads and writes a disk in flat files.
type flatFiles struct {
	files     vcenter.Files
	datastore string
	folder    string
	extents   []descriptor.Extent
}

// attempts is how often a piece is asked for whose answer breaks off.
const attempts = 3

func (f *flatFiles) readAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	for _, e := range f.extents {
		if off >= e.Size {
			off -= e.Size
			continue
		}
		part := p[n:min(int64(len(p)), int64(n)+e.Size-off)]
		if err := f.piece(ctx, path.Join(f.folder, e.File), part, off); err != nil {
			return n, err
		}
		n += len(part)
		if off = 0; n == len(p) {
			return n, nil
		}
	}
	return n, io.ErrUnexpectedEOF
}

func (f *flatFiles) piece(ctx context.Context, file string, p []byte, off int64) error {
	what := fmt.Sprintf("reading %d bytes at %d of file %s", len(p), off, vcenter.Path(f.datastore, file))
	for n, attempt := 0, 1; ; attempt++ {
		got, err := f.once(ctx, file, p[n:], off+int64(n))
		if n += got; n == len(p) {
			return nil
		}
		if errors.Is(err, io.EOF) {
			return errkind.New(errkind.Corrupt, "%s: the file ends before the disk does", what)
		}
		if ctx.Err() != nil || attempt == attempts || !errors.Is(err, io.ErrUnexpectedEOF) && !vcenter.Lost(err) {
			return vcenter.Translate(err, what)
		}
	}
}

func (f *flatFiles) once(ctx context.Context, file string, p []byte, off int64) (int, error) {
	body, err := f.files.Get(ctx, f.datastore, file, off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	defer body.Close()
	return io.ReadFull(body, p)
}

// write sends the content to the one flat file that a new disk has.
func (f *flatFiles) write(ctx context.Context, content io.ReadSeeker, size int64) error {
	if len(f.extents) != 1 || f.extents[0].Size != size {
		return errkind.New(errkind.Internal, "a new disk of %d bytes on datastore %s does not lie in one file of that size", size, f.datastore)
	}
	return f.files.Put(ctx, f.datastore, path.Join(f.folder, f.extents[0].File), content, size)
}

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
	o.known.scan(ctx, "reading snapshot "+string(o.id), o.size, o.read, yield)
}

type read func(ctx context.Context, p []byte, off int64) (int, error)

// scan yields the data of what is read, which is done once.
func (k *known) scan(ctx context.Context, what string, size int64, r read, yield func(image.Extent, error) bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.complete {
		data, err := find(ctx, what, size, r)
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

// find reads everything. In memory is one window, and where the data are.
func find(ctx context.Context, what string, size int64, r read) (data []image.Extent, err error) {
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
			if bytes.Equal(part, zeros[:len(part)]) {
				continue
			}
			e := image.Extent{Offset: at + int64(i), Length: int64(len(part))}
			if last := len(data) - 1; last >= 0 && data[last].End() == e.Offset {
				data[last].Length += e.Length
			} else {
				data = append(data, e)
			}
		}
	}
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
