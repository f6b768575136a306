package imagefs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

func TestFilesOfACleanImage(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		data := pattern(3<<20+17, 1)
		d.write("a/b/file", data)
		img := d.clean()
		before := hashOf(t, img)
		f := openFS(t, openImage(t, img))
		assert.Equal(t, fstype, f.Type())
		assert.Equal(t, data, readFile(t, f, "a/b/file"))
		require.NoError(t, f.Close(t.Context()))
		assert.Equal(t, before, hashOf(t, img))
	})
}

// The journal is replayed beside the image, while the original is mounted on
// the same machine and written to.
func TestFilesOfACrashedImageBesideItsOriginal(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		want := map[string][]byte{}
		for i := range 40 {
			name := fmt.Sprintf("dir%d/f%d", i%5, i)
			want[name] = pattern(5000*i+1, byte(i))
			d.write(name, want[name])
		}
		img := d.crash()
		before := hashOf(t, img)
		f := openFS(t, openImage(t, img))
		assert.Greater(t, f.stack.over.Used(), int64(2*4096), "no journal was replayed: the test tests nothing")
		stop := make(chan struct{})
		done := make(chan error)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
				if err := os.WriteFile(filepath.Join(d.at, "later"), pattern(100_000, byte(i)), 0o600); err != nil {
					done <- err
					return
				}
			}
		}()
		for name, data := range want {
			assert.Equal(t, data, readFile(t, f, name), name)
		}
		_, err := f.Stat(t.Context(), "later")
		requireKind(t, errkind.NotFound, err)
		close(stop)
		require.NoError(t, <-done)
		require.NoError(t, f.Close(t.Context()))
		assert.Equal(t, before, hashOf(t, img), "the image was changed")
		later, err := os.ReadFile(filepath.Join(d.at, "dir3/f3"))
		require.NoError(t, err)
		assert.Equal(t, want["dir3/f3"], later)
		d.umount()
		checkOriginal(t, fstype, d.file)
	})
}

func checkOriginal(t *testing.T, fstype, file string) {
	switch fstype {
	case "ext4":
		run(t, "e2fsck", "-fn", file)
	case "xfs":
		run(t, "xfs_repair", "-n", file)
	case "btrfs":
		run(t, "btrfs", "check", "--readonly", file)
	}
}

func TestNoFilesystem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	require.NoError(t, os.WriteFile(path, make([]byte, 8<<20), 0o600))
	_, err := Open(context.Background(), openImage(t, path), Options{Dir: t.TempDir()})
	requireKind(t, errkind.Invalid, err)
	assert.EqualError(t, err, "the volume was never formatted: there are no files in it")
	require.NoError(t, os.WriteFile(path, pattern(8<<20, 3), 0o600))
	_, err = Open(context.Background(), openImage(t, path), Options{Dir: t.TempDir()})
	requireKind(t, errkind.Invalid, err)
	assert.NotContains(t, err.Error(), "never formatted")
	table := make([]byte, 8<<20)
	table[510], table[511] = 0x55, 0xAA
	require.NoError(t, os.WriteFile(path, table, 0o600))
	_, err = Open(context.Background(), openImage(t, path), Options{Dir: t.TempDir()})
	requireKind(t, errkind.Invalid, err)
	assert.ErrorContains(t, err, "the disk has a partition table")
}

// A journal that needs more room than there is: an error, and no waiting for
// better times.
func TestNoRoomForTheJournal(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		for i := range 50 {
			d.write(fmt.Sprintf("dir%d/f", i), pattern(5000, byte(i)))
		}
		dir := filepath.Join(t.TempDir(), "imagefs")
		start := time.Now()
		_, err := Open(t.Context(), openImage(t, d.crash()), Options{Dir: dir, Limit: 12 << 10})
		requireKind(t, errkind.Quota, err)
		assert.Less(t, time.Since(start), 20*time.Second)
		requireNothing(t, dir)
	})
}
