package imagefs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// TarOptions of Tar.
type TarOptions struct {
	// GoOn writes what can be read and lists the rest, instead of ending at the
	// first damage.
	GoOn bool
}

// TarReport says what an archive holds and what it does not.
type TarReport struct {
	Files, Dirs, Others int64
	Bytes               int64 // of contents, holes not counted
	// Damaged are files with parts that could not be read and are zeros in the
	// archive, or, with Lost below 0, that are not in it. At most 1000; see
	// DamagedCount. Always empty without GoOn.
	Damaged      []DamagedFile
	DamagedCount int64
	// Notes are of what an archive cannot hold, such as sockets. At most 1000.
	Notes []string
}

// DamagedFile is one that could not be read as a whole.
type DamagedFile struct {
	Path string
	Lost int64 // bytes that are zeros now; -1: the file or folder is missing
	Why  string
}

// maxNotes bounds the lists of a report; maxDepth the folders in folders, and
// with them the open files.
const (
	maxNotes = 1000
	maxDepth = 1000
)

// Tar writes files, and folders with all that is in them, as a POSIX (pax)
// archive with all that tar can keep: owners as numbers, modes, times to the
// nanosecond, hard links, devices, extended attributes, holes. Names are
// relative to the root of the volume; no paths: everything. The archive begins
// to be written before it is known that all can be read: on error it has no
// end, and the caller has to break the transfer off so that it does not pass for
// a whole one. The error names the file.
func (f *FS) Tar(ctx context.Context, w io.Writer, paths []string, o TarOptions) (TarReport, error) {
	done, err := f.use()
	if err != nil {
		return TarReport{}, err
	}
	defer done()
	if len(paths) == 0 {
		paths = []string{""}
	}
	t := &archive{fs: f, o: o, w: bufio.NewWriterSize(w, 1<<16), links: map[linkKey]string{}, buf: make([]byte, 1<<20)}
	for _, p := range outermost(paths) {
		if err := t.path(ctx, p); err != nil {
			return t.report, err
		}
	}
	_, err = t.w.Write(make([]byte, 2*tarBlock))
	if err = errors.Join(err, t.w.Flush()); err != nil {
		return t.report, fail(err, "writing the archive")
	}
	return t.report, nil
}

// outermost leaves out paths that lie in others of the list.
func outermost(paths []string) []string {
	var clean []string
	for _, p := range paths {
		clean = append(clean, strings.Trim(p, "/"))
	}
	slices.Sort(clean)
	clean = slices.Compact(clean)
	return slices.DeleteFunc(slices.Clone(clean), func(p string) bool {
		return slices.ContainsFunc(clean, func(o string) bool {
			return o != p && (o == "" || strings.HasPrefix(p, o+"/"))
		})
	})
}

type linkKey struct{ dev, ino uint64 }

// archive is one being written. Hard links are remembered for the files that
// have several names only.
type archive struct {
	fs     *FS
	o      TarOptions
	w      *bufio.Writer
	links  map[linkKey]string
	buf    []byte
	report TarReport
}

// path writes what one path names.
func (t *archive) path(ctx context.Context, p string) error {
	names, err := parts(p)
	if err != nil {
		return err
	}
	name, above := ".", names
	if n := len(names); n > 0 {
		name, above = names[n-1], names[:n-1]
	}
	dir, err := t.fs.folder(above)
	if err != nil {
		return err
	}
	in, err := openPlace(dir)
	if err != nil {
		return t.fs.stack.explain(err, "opening the folder of %q", p)
	}
	defer in.close()
	if _, err := dir.Lstat(name); errors.Is(err, os.ErrNotExist) {
		return absentFile(p)
	}
	return t.add(ctx, in, name, strings.Join(names, "/"), 0)
}

// place is a folder, open for names and for what takes a descriptor.
type place struct {
	*os.Root
	dir *os.File
}

// openPlace takes the root over.
func openPlace(root *os.Root) (*place, error) {
	dir, err := root.Open(".")
	if err != nil {
		_ = root.Close()
		return nil, err
	}
	return &place{root, dir}, nil
}

func (p *place) close() {
	_ = p.dir.Close()
	_ = p.Close()
}

// add writes one file or folder. An error is one of the archive; what cannot
// be read is dealt with here.
func (t *archive) add(ctx context.Context, in *place, name, full string, depth int) error {
	if err := ctx.Err(); err != nil {
		return fail(err, "writing the archive")
	}
	m, e, err := t.member(in, name, full)
	if err != nil {
		return t.lost(ctx, full, err)
	}
	if first, ok := t.linked(in, name, e, full); ok {
		m.kind, m.link, m.size, m.extra = tarLink, first, 0, nil
		t.report.Others++
		return t.header(m)
	}
	switch e.Type {
	case TypeFile:
		return t.file(ctx, in, name, full, m)
	case TypeDir:
		return t.dir(ctx, in, name, full, m, depth)
	case TypeSymlink:
		m.kind, m.link = tarSymlink, e.Target
	case TypeBlock, TypeChar:
		m.kind = tarChar
		if e.Type == TypeBlock {
			m.kind = tarBlockDv
		}
		m.major, m.minor = unix.Major(e.Device), unix.Minor(e.Device)
	case TypeFIFO:
		m.kind = tarFIFO
	default:
		t.note("%q is a %s, which an archive cannot hold: left out", full, e.Type)
		return nil
	}
	t.report.Others++
	return t.header(m)
}

// member looks at a file. Its name in the archive never begins with a slash.
func (t *archive) member(in *place, name, full string) (*member, Entry, error) {
	e, err := t.fs.entry(in.Root, name, full)
	if err != nil {
		return nil, e, err
	}
	m := &member{name: full, kind: tarFile, mode: e.Mode, uid: e.UID, gid: e.GID, mtime: e.ModTime}
	attrs, err := xattrs(in.dir, name)
	if err != nil {
		return nil, e, t.fs.stack.explain(err, "reading the attributes of %q", full)
	}
	for _, a := range attrs {
		if strings.Contains(a.key, "=") {
			t.note("attribute %q of %q has a name that an archive cannot hold: left out", a.key, full)
			continue
		}
		m.extra = append(m.extra, record{"SCHILY.xattr." + a.key, a.value})
	}
	return m, e, nil
}

// linked is the first name of a file that is in the archive already.
func (t *archive) linked(in *place, name string, e Entry, full string) (string, bool) {
	if e.Links < 2 || e.Type == TypeDir || e.Type == TypeSocket {
		return "", false
	}
	info, err := in.Lstat(name)
	if err != nil {
		return "", false
	}
	key := keyOf(info)
	first, ok := t.links[key]
	if !ok {
		t.links[key] = full
	}
	return first, ok
}

func (t *archive) header(m *member) error {
	return fail(m.writeTo(t.w), "writing the archive")
}

// dir writes a folder and what is in it.
func (t *archive) dir(ctx context.Context, above *place, name, full string, m *member, depth int) error {
	m.kind, m.name = tarDir, path.Clean("./"+full)+"/"
	if err := t.header(m); err != nil {
		return err
	}
	t.report.Dirs++
	if depth >= maxDepth {
		return t.lost(ctx, full, errkind.New(errkind.Unsupported, "%q lies more than %d folders deep", full, maxDepth))
	}
	root, err := above.OpenRoot(name)
	var in *place
	if err == nil {
		in, err = openPlace(root)
	}
	if err != nil {
		return t.lost(ctx, full, t.fs.stack.explain(err, "opening folder %q", full))
	}
	defer in.close()
	var stop error
	err = eachName(ctx, in.dir, func(name string) error {
		stop = t.add(ctx, in, name, path.Join(full, name), depth+1)
		return stop
	})
	if stop != nil || err == nil {
		return stop
	}
	return t.lost(ctx, full, t.fs.stack.explain(err, "listing folder %q", full))
}

// lost deals with what is not in the archive.
func (t *archive) lost(ctx context.Context, full string, err error) error {
	if !t.o.GoOn || ctx.Err() != nil {
		return err
	}
	t.damaged(DamagedFile{Path: full, Lost: -1, Why: err.Error()})
	return nil
}

func (t *archive) damaged(d DamagedFile) {
	t.report.DamagedCount++
	if len(t.report.Damaged) < maxNotes {
		t.report.Damaged = append(t.report.Damaged, d)
	}
}

func (t *archive) note(format string, args ...any) {
	if len(t.report.Notes) < maxNotes {
		t.report.Notes = append(t.report.Notes, fmt.Sprintf(format, args...))
	}
}
