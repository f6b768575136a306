package imagefs

import (
	"context"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/image"
)

// file writes a regular file.
func (t *archive) file(ctx context.Context, in *place, name, full string, m *member) error {
	f, err := openRegular(in.Root, name)
	if err != nil {
		return t.lost(ctx, full, t.fs.stack.explain(err, "opening file %q", full))
	}
	defer f.Close()
	st, err := f.Stat()
	var segs []image.Extent
	if err == nil {
		segs, err = segments(f, st.Size())
	}
	if err != nil {
		return t.lost(ctx, full, t.fs.stack.explain(err, "looking at file %q", full))
	}
	m.size = st.Size()
	sparse := ""
	if hasHoles(segs, m.size) {
		sparse = sparseMember(m, segs)
	}
	if err := t.header(m); err != nil {
		return err
	}
	if _, err := t.w.WriteString(sparse); err != nil {
		return fail(err, "writing the archive")
	}
	t.report.Files++
	bad := DamagedFile{Path: full}
	for _, s := range segs {
		if err := t.copy(ctx, f, full, s, &bad); err != nil {
			return err
		}
	}
	if bad.Lost > 0 {
		t.damaged(bad)
	}
	return fail(pad(t.w, m.size), "writing the archive")
}

// copy writes one part of a file.
func (t *archive) copy(ctx context.Context, f *os.File, full string, s image.Extent, bad *DamagedFile) error {
	for at := s.Offset; at < s.End(); {
		if err := ctx.Err(); err != nil {
			return fail(err, "writing the archive")
		}
		b := t.buf[:min(int64(len(t.buf)), s.End()-at)]
		if n, err := f.ReadAt(b, at); n < len(b) {
			err = t.fs.stack.explain(err, "reading file %q", full)
			if !t.o.GoOn {
				return err
			}
			bad.Why = err.Error()
			bad.Lost += salvage(f, b, at)
		}
		if _, err := t.w.Write(b); err != nil {
			return fail(err, "writing the archive")
		}
		at += int64(len(b))
		t.report.Bytes += int64(len(b))
	}
	return nil
}

// salvage reads what can be read of a part, in pages and past the cache, which
// reads much more at a time. It returns how many bytes cannot.
func salvage(f *os.File, b []byte, at int64) (lost int64) {
	const page = 4096
	raw, err := os.OpenFile("/proc/thread-self/fd/"+strconv.Itoa(int(f.Fd())), os.O_RDONLY|unix.O_DIRECT, 0)
	if err == nil {
		defer raw.Close()
	}
	aligned, uerr := unix.Mmap(-1, 0, page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if uerr == nil {
		defer func() { _ = unix.Munmap(aligned) }()
	}
	for i := 0; i < len(b); {
		off := at + int64(i)
		n := min(page-int(off%page), len(b)-i)
		got, _ := f.ReadAt(b[i:i+n], off)
		if got < n && err == nil && uerr == nil {
			start := off - off%page
			if have, _ := raw.ReadAt(aligned, start); int64(have) >= off-start+int64(n) {
				got = copy(b[i:i+n], aligned[off-start:])
			}
		}
		if got < n {
			clear(b[i : i+n])
			lost += int64(n)
		}
		i += n
	}
	return lost
}
