package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const mib = 1 << 20

// imageMiB is how much data the image holds, in a filesystem twice as large.
func imageMiB(b *testing.B) int64 {
	n, err := strconv.ParseInt(cmp.Or(os.Getenv("MOORING_BENCH_MIB"), "1024"), 10, 64)
	require.NoError(b, err)
	return n
}

// makeImage makes an ext4 in a sparse file: programs and libraries of this
// machine and Go's own for one half, Go's source text, a quarter of what
// cannot be compressed, and holes.
func makeImage(b *testing.B, path string) {
	size := imageMiB(b) * mib
	tree := path + ".d"
	random := rand.NewChaCha8([32]byte{1})
	got := gather(b, filepath.Join(tree, "source"), size/5, filepath.Join(runtime.GOROOT(), "src"))
	got += gather(b, filepath.Join(tree, "code"), size*7/10-got, filepath.Join(runtime.GOROOT(), "pkg"), filepath.Join(runtime.GOROOT(), "bin"),
		"/usr/lib", "/usr/bin", "/usr/share")
	for i := 0; got < size*95/100; i++ { // the rest is what ext4 needs
		f, err := os.Create(filepath.Join(tree, fmt.Sprintf("random-%d", i)))
		require.NoError(b, err)
		n, err := io.CopyN(f, random, min(16*mib, size*95/100-got))
		require.NoError(b, errors.Join(err, f.Close()))
		got += n
	}
	f, err := os.Create(path)
	require.NoError(b, err)
	require.NoError(b, errors.Join(f.Truncate(2*size), f.Close()))
	run(b, "/", nil, "mkfs.ext4", "-q", "-F", "-d", tree, path)
	require.NoError(b, os.RemoveAll(tree))
}

// gather copies files from below dirs until it has that many bytes.
func gather(b *testing.B, to string, want int64, dirs ...string) (got int64) {
	require.NoError(b, os.MkdirAll(to, 0o755))
	enough := errors.New("enough")
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return nil //nolint:nilerr // what cannot be read is not needed
			}
			b, err := os.ReadFile(p)
			if err != nil || len(b) > 64*mib {
				return nil //nolint:nilerr // the same
			}
			if got += int64(len(b)); got >= want {
				return enough
			}
			return os.WriteFile(filepath.Join(to, fmt.Sprintf("%d-%s", got, filepath.Base(p))), b, 0o644)
		})
		if err != nil && !errors.Is(err, enough) {
			require.NoError(b, err)
		}
		if errors.Is(err, enough) {
			break
		}
	}
	return min(got, want)
}

// write is a piece of an image that is changed.
type write struct {
	offset int64
	data   []byte
}

// changes are about one per cent of the image's data, in pieces of 4 to 64 KiB
// that lie in what is data already.
func changes(b *testing.B, path string, seed uint64) (all []write) {
	data := dataOf(b, path)
	var total int64
	for _, e := range data {
		total += e[1]
	}
	rnd := rand.New(rand.NewPCG(seed, 1))
	random := rand.NewChaCha8([32]byte{byte(seed), 2})
	for done := int64(0); done < total/100; {
		at, n := rnd.Int64N(total)>>12<<12, (1+rnd.Int64N(16))<<12
		for _, e := range data {
			if at >= e[1] {
				at -= e[1]
				continue
			}
			w := write{e[0] + at, make([]byte, min(n, e[1]-at))}
			half := len(w.data) / 2 // half of it can be compressed
			_, _ = random.Read(w.data[:half])
			for i := half; i < len(w.data); i++ {
				w.data[i] = byte(seed) + byte(i>>4)
			}
			all, done = append(all, w), done+int64(len(w.data))
			break
		}
	}
	slices.SortFunc(all, func(x, y write) int { return cmp.Compare(x.offset, y.offset) })
	kept := all[:0]
	for _, w := range all { // without overlaps
		if n := len(kept); n == 0 || kept[n-1].offset+int64(len(kept[n-1].data)) <= w.offset {
			kept = append(kept, w)
		}
	}
	return kept
}

// apply writes to a file what changes.
func apply(b *testing.B, path string, all []write) {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	require.NoError(b, err)
	for _, w := range all {
		_, err := f.WriteAt(w.data, w.offset)
		require.NoError(b, err)
	}
	require.NoError(b, errors.Join(f.Sync(), f.Close()))
}

// note writes the ranges that change to a file.
func note(b *testing.B, path string, all []write) {
	f, err := os.Create(path)
	require.NoError(b, err)
	w := bufio.NewWriter(f)
	for _, c := range all {
		_, _ = fmt.Fprintln(w, c.offset, len(c.data))
	}
	require.NoError(b, errors.Join(w.Flush(), f.Close()))
}

// dataOf are offset and length of the file's ranges that are no holes.
func dataOf(b *testing.B, path string) (all [][2]int64) {
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	for at := int64(0); ; {
		start, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return all
		}
		require.NoError(b, err)
		at, err = unix.Seek(int(f.Fd()), start, unix.SEEK_HOLE)
		require.NoError(b, err)
		all = append(all, [2]int64{start, at - start})
	}
}

// warm reads a file's data, so that it is in the page cache.
func warm(b *testing.B, path string) {
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	for _, e := range dataOf(b, path) {
		_, err = io.Copy(io.Discard, io.NewSectionReader(f, e[0], e[1]))
		require.NoError(b, err)
	}
}

// same compares two files byte by byte, and returns the room that the first
// takes as a part of that of the source.
func same(b *testing.B, path, source string) float64 {
	b.Helper()
	x, err := os.Open(path)
	require.NoError(b, err)
	defer x.Close()
	y, err := os.Open(source)
	require.NoError(b, err)
	defer y.Close()
	got, want := make([]byte, mib), make([]byte, mib)
	for at := int64(0); ; at += mib {
		n, err := x.ReadAt(got, at)
		m, serr := y.ReadAt(want, at)
		require.True(b, bytes.Equal(got[:n], want[:m]), "%s differs from the source in the MiB at byte %d", path, at)
		if errors.Is(err, io.EOF) && errors.Is(serr, io.EOF) {
			break
		}
		require.NoError(b, errors.Join(err, serr))
	}
	return float64(allocated(b, path)) / float64(allocated(b, source))
}
