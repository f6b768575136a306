package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/descriptor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

// overHTTP moves disks in flat files, which datastores of files serve by HTTP.
type overHTTP struct{ v *VSphere }

func (overHTTP) String() string { return "datastore HTTP" }

func (t overHTTP) open(ctx context.Context, s source) (content, error) {
	return t.flat(ctx, s.ds, s.file)
}

// send sends a new disk whole: a datastore takes no parts of files.
func (t overHTTP) send(ctx context.Context, n blank, s *scratch) error {
	ds, file, err := t.v.placeOf(ctx, n.at)
	if err != nil {
		return err
	}
	f, err := t.flat(ctx, ds, file)
	if err != nil {
		return err
	}
	size := int64(n.size)
	if len(f.extents) != 1 || f.extents[0].Size != size {
		return errkind.New(errkind.Internal, "a new disk of %d bytes on datastore %s does not lie in one file of that size", size, ds.Name)
	}
	return t.v.c.Files().Put(ctx, ds.Name, path.Join(f.folder, f.extents[0].File), io.NewSectionReader(s.f, 0, size), size)
}

// flat are the files of a disk. Unsupported: its content lies in another way, as
// that of a delta does.
func (t overHTTP) flat(ctx context.Context, ds vcenter.Datastore, file string) (*flatFiles, error) {
	if keepsObjects(ds) {
		return nil, errkind.New(errkind.Unsupported, "datastore %s (%s) keeps disks as objects, there are no files behind their names", ds.Name, ds.Type)
	}
	d, err := t.v.descriptor(ctx, ds.Name, file)
	if err != nil {
		return nil, err
	}
	extents, ok := d.Flat()
	if !ok {
		return nil, errkind.New(errkind.Unsupported, "disk %s does not lie in flat files", vcenter.Path(ds.Name, file))
	}
	return &flatFiles{files: t.v.c.Files(), datastore: ds.Name, folder: path.Dir(file), extents: extents}, nil
}

// flatFiles is the content of a disk in flat files.
type flatFiles struct {
	files     vcenter.Files
	datastore string
	folder    string
	extents   []descriptor.Extent
}

// Close implements content.
func (f *flatFiles) Close() error { return nil }

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
