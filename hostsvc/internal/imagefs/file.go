package imagefs

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// File is an open file in an image. Its errors have kinds; a damaged part of
// it is corrupt, and names the file.
type File struct {
	f    *os.File
	of   *FS
	path string
}

var _ io.ReadSeekCloser = (*File)(nil)

// OpenFile opens a regular file for reading. Anything else: invalid; absent:
// not-found. Closing the FS closes it.
func (f *FS) OpenFile(_ context.Context, path string) (*File, Entry, error) {
	done, err := f.use()
	if err != nil {
		return nil, Entry{}, err
	}
	defer done()
	dir, name, err := f.parent(path)
	if err != nil {
		return nil, Entry{}, err
	}
	defer dir.Close()
	e, err := f.entry(dir, name, path)
	if err != nil {
		return nil, e, err
	}
	if e.Type != TypeFile {
		return nil, e, errkind.New(errkind.Invalid, "%q cannot be read as a file: it is a %s; get it in an archive", path, e.Type)
	}
	file, err := openRegular(dir, name)
	if err != nil {
		return nil, e, f.stack.explain(err, "opening file %q", path)
	}
	h := &File{file, f, path}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[h] = struct{}{}
	return h, e, nil
}

// openRegular opens a file that was seen to be a regular one. The filesystem
// does not change.
func openRegular(dir *os.Root, name string) (*os.File, error) {
	return dir.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOATIME, 0)
}

func (h *File) explain(n int, err error) (int, error) {
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	return n, h.of.stack.explain(err, "reading file %q", h.path)
}

// Read implements io.Reader.
func (h *File) Read(p []byte) (int, error) { return h.explain(h.f.Read(p)) }

// ReadAt implements io.ReaderAt.
func (h *File) ReadAt(p []byte, off int64) (int, error) { return h.explain(h.f.ReadAt(p, off)) }

// Seek implements io.Seeker.
func (h *File) Seek(offset int64, whence int) (int64, error) {
	at, err := h.f.Seek(offset, whence)
	return at, fail(err, "seeking in file %q", h.path)
}

// Close ends the use. Again: nil.
func (h *File) Close() error {
	h.of.mu.Lock()
	delete(h.of.files, h)
	h.of.mu.Unlock()
	if err := h.f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fail(err, "closing file %q", h.path)
	}
	return nil
}
