package kopia_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

const benchSize = 512 << 20

// bench is a repository with one point of a disk of 512 MiB, of which three
// quarters are data and half of that compresses.
func bench(b *testing.B) (r repository.Repository, d *repositorytest.Disk, n int) {
	dir := b.TempDir()
	o := kopia.New(kopia.Options{Dir: filepath.Join(dir, "state"), Owner: "bench"})
	p := repository.Place{Location: repository.Location{Type: repository.Directory, Path: filepath.Join(dir, "repo")}}
	_, err := o.Create(b.Context(), p, "key", repository.Identity{ID: "r-1"})
	require.NoError(b, err)
	r, err = o.Open(b.Context(), p, "key", "r-1")
	require.NoError(b, err)
	b.Cleanup(func() { _ = r.Close(context.Background()) })
	d = repositorytest.NewDisk(benchSize)
	for off := int64(0); off < benchSize; off += 64 << 20 {
		require.NoError(b, d.Fill(random(uint64(off)), off, 48<<20))
	}
	img, _ := d.Snapshot()
	_, err = r.Write(b.Context(), repositorytest.Backup(0, img, "", nil), nil)
	require.NoError(b, err)
	b.SetBytes(benchSize)
	return r, d, 0
}

func BenchmarkFull(b *testing.B) {
	r, d, n := bench(b)
	for b.Loop() {
		b.StopTimer()
		n++
		for off := int64(0); off < benchSize; off += 64 << 20 {
			require.NoError(b, d.Fill(random(uint64(off)+uint64(n)), off, 48<<20))
		}
		img, _ := d.Snapshot()
		b.StartTimer()
		_, err := r.Write(b.Context(), repositorytest.Backup(n, img, "", nil), nil)
		require.NoError(b, err)
	}
}

// BenchmarkIncremental changes one per cent, in pieces of 64 KiB.
func BenchmarkIncremental(b *testing.B) {
	r, d, n := bench(b)
	rnd := random(1)
	for b.Loop() {
		b.StopTimer()
		for range benchSize / 100 / (64 << 10) {
			require.NoError(b, d.Fill(rnd, rnd.Int64N(benchSize>>16)<<16, 64<<10))
		}
		img, changed := d.Snapshot()
		b.StartTimer()
		_, err := r.Write(b.Context(), repositorytest.Backup(n+1, img, repositorytest.ID(n), changed), nil)
		require.NoError(b, err)
		n++
	}
}

func BenchmarkUnchanged(b *testing.B) {
	r, d, n := bench(b)
	img, _ := d.Snapshot()
	for b.Loop() {
		_, err := r.Write(b.Context(), repositorytest.Backup(n+1, img, repositorytest.ID(n), []image.Extent{}), nil)
		require.NoError(b, err)
		n++
	}
}

// BenchmarkRescan reads everything and finds nothing new.
func BenchmarkRescan(b *testing.B) {
	r, d, n := bench(b)
	img, _ := d.Snapshot()
	for b.Loop() {
		n++
		_, err := r.Write(b.Context(), repositorytest.Backup(n, img, "", nil), nil)
		require.NoError(b, err)
	}
}

func BenchmarkRestore(b *testing.B) {
	r, _, _ := bench(b)
	for b.Loop() {
		require.NoError(b, restoreTo(b, r, repositorytest.ID(0)))
	}
}

// raw is a file that a disk is restored to.
type raw struct{ *os.File }

func (raw) Size() int64                                 { return benchSize }
func (raw) Discard(context.Context, image.Extent) error { return nil }

func restoreTo(b *testing.B, r repository.Repository, id volspec.PointID) error {
	f, err := os.Create(filepath.Join(b.TempDir(), "disk"))
	require.NoError(b, err)
	defer f.Close()
	require.NoError(b, f.Truncate(benchSize))
	m, err := r.Open(b.Context(), id)
	require.NoError(b, err)
	defer m.Close()
	return repository.CopyImage(b.Context(), raw{f}, m, 0, nil)
}

func BenchmarkVerify(b *testing.B) {
	r, _, _ := bench(b)
	for b.Loop() {
		v, err := r.Verify(b.Context(), repositorytest.ID(0), repository.Verify{Mode: repository.Full}, nil)
		require.NoError(b, err)
		require.Empty(b, v.Damaged)
	}
}

// BenchmarkRead reads like a filesystem does: in order, small.
func BenchmarkRead(b *testing.B) {
	r, _, _ := bench(b)
	for _, size := range []int{4 << 10, 128 << 10} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			m, err := r.Open(b.Context(), repositorytest.ID(0))
			require.NoError(b, err)
			defer m.Close()
			buf := make([]byte, size)
			off := int64(0)
			b.SetBytes(int64(size))
			for b.Loop() {
				_, err := m.ReadAt(buf, off)
				require.NoError(b, err)
				off = (off + int64(size)) % benchSize
			}
		})
	}
}
