package imagefs

import (
	"errors"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/image"
)

// maxSegments bounds the map of a sparse file in memory. Beyond it the
// smallest holes are written as zeros.
const maxSegments = 1 << 17

// segments are the parts of a file that are not holes.
func segments(f *os.File, size int64) ([]image.Extent, error) {
	var all []image.Extent
	least := int64(1) // holes smaller than this are none
	for at := int64(0); at < size; {
		from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			return nil, err
		}
		to, err := unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE)
		if err != nil {
			return nil, err
		}
		from, to = min(from, size), min(to, size)
		if to > from {
			all = join(all, image.Extent{Offset: from, Length: to - from}, least)
		}
		for len(all) > maxSegments {
			least *= 2
			all = joinAll(all, least)
		}
		at = to
	}
	_, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_SET)
	return all, err
}

func join(all []image.Extent, e image.Extent, least int64) []image.Extent {
	if n := len(all); n > 0 && e.Offset-all[n-1].End() < least {
		all[n-1].Length = e.End() - all[n-1].Offset
		return all
	}
	return append(all, e)
}

func joinAll(all []image.Extent, least int64) []image.Extent {
	kept := all[:0]
	for _, e := range all {
		kept = join(kept, e, least)
	}
	return kept
}

// hasHoles reports whether a file is worth a map.
func hasHoles(segments []image.Extent, size int64) bool {
	return size > 0 && (len(segments) != 1 || segments[0].Offset != 0 || segments[0].Length < size)
}

// sparseMember turns the member of a file into one of GNU's format 1.0 for
// sparse files: the map lies before the data. It returns the map.
func sparseMember(m *member, segs []image.Extent) string {
	real := m.size
	var b strings.Builder
	entry := func(v int64) {
		b.WriteString(strconv.FormatInt(v, 10))
		b.WriteByte('\n')
	}
	tail := len(segs) == 0 || segs[len(segs)-1].End() < real
	n := len(segs)
	if tail {
		n++
	}
	entry(int64(n))
	data := int64(0)
	for _, s := range segs {
		entry(s.Offset)
		entry(s.Length)
		data += s.Length
	}
	if tail {
		entry(real)
		entry(0)
	}
	if rest := b.Len() % tarBlock; rest > 0 {
		b.WriteString(strings.Repeat("\x00", tarBlock-rest))
	}
	m.extra = append(m.extra,
		record{"GNU.sparse.major", "1"}, record{"GNU.sparse.minor", "0"},
		record{"GNU.sparse.name", m.name}, record{"GNU.sparse.realsize", strconv.FormatInt(real, 10)})
	m.name = path.Join(path.Dir(m.name), "GNUSparseFile.0", path.Base(m.name))
	m.size = int64(b.Len()) + data
	return b.String()
}
