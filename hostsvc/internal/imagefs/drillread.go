package imagefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// read reads the restored filesystem and unmounts it.
func (d *drill) read(ctx context.Context) (string, error) {
	found, err := d.look(ctx)
	return found, errors.Join(err, d.unmount(ctx))
}

// look walks the tree of the filesystem.
func (d *drill) look(ctx context.Context) (string, error) {
	root, err := os.OpenRoot("/proc/thread-self/fd/" + strconv.Itoa(int(d.tree.Fd())))
	if err != nil {
		return "", fail(err, "opening the root folder")
	}
	in, err := openPlace(root)
	if err != nil {
		return "", fail(err, "opening the root folder")
	}
	defer in.close()
	w := &walk{d: d, buf: make([]byte, 1<<20), left: d.o.ReadLimit}
	if w.left == 0 {
		w.left = 1 << 62
	}
	r := d.report
	before := *r
	r.Dirs++
	if err := w.dir(ctx, in, "", 0); err != nil {
		return "", err
	}
	d.now.files = r.Files - before.Files
	return fmt.Sprintf("%d files, %d folders, %d others; %s of contents read",
		d.now.files, r.Dirs-before.Dirs, r.Others-before.Others, volspec.Size(r.Read-before.Read)), nil
}

type walk struct {
	d    *drill
	buf  []byte
	left int64 // bytes that may still be read
}

func (w *walk) dir(ctx context.Context, in *place, at string, depth int) error {
	if depth > maxDepth {
		return errkind.New(errkind.Unsupported, "%q lies more than %d folders deep", at, maxDepth)
	}
	err := eachName(ctx, in.dir, func(name string) error { return w.one(ctx, in, name, path.Join(at, name), depth) })
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err // of something in it
	}
	return fail(err, "reading folder %q", "/"+at)
}

func (w *walk) one(ctx context.Context, in *place, name, full string, depth int) error {
	st, err := in.Lstat(name)
	if err != nil {
		return fail(err, "looking at %q", full)
	}
	r := w.d.report
	switch e := entryOf(name, st); e.Type {
	case TypeFile:
		r.Files++
		return fail(w.file(ctx, in, name), "reading file %q", full)
	case TypeDir:
		r.Dirs++
		root, err := in.OpenRoot(name)
		if err != nil {
			return fail(err, "opening folder %q", full)
		}
		sub, err := openPlace(root)
		if err != nil {
			return fail(err, "opening folder %q", full)
		}
		defer sub.close()
		return w.dir(ctx, sub, full, depth+1)
	case TypeSymlink:
		r.Others++
		_, err := in.Readlink(name)
		return fail(err, "reading link %q", full)
	default:
		r.Others++
	}
	return nil
}

// file reads a file, but for its holes, as far as the limit goes.
func (w *walk) file(ctx context.Context, in *place, name string) error {
	if w.left <= 0 {
		return nil
	}
	f, err := openRegular(in.Root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	var segs []image.Extent
	if err == nil {
		segs, err = segments(f, st.Size())
	}
	if err != nil {
		return err
	}
	for _, s := range segs {
		for at := s.Offset; at < s.End() && w.left > 0; {
			b := w.buf[:min(int64(len(w.buf)), s.End()-at, w.left)]
			if err := ctx.Err(); err != nil {
				return err
			}
			if n, err := f.ReadAt(b, at); n < len(b) {
				return err
			}
			at += int64(len(b))
			w.left -= int64(len(b))
			w.d.report.Read += int64(len(b))
			w.d.pace.at(w.d.report.Read, 0)
		}
	}
	// What was read must not stay in memory that others need.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}
