package vmfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/simvc/internal/vmfile"
)

func TestDescriptor(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a.vmdk")
	i := vmfile.Info{Size: 1 << 20, UUID: vmfile.NewUUID(), Thin: true}
	require.NoError(t, vmfile.Create(p, i))
	assert.ErrorIs(t, vmfile.Create(p, i), fs.ErrExist)
	got, err := vmfile.Read(p)
	require.NoError(t, err)
	assert.Equal(t, i, got)
	assert.Regexp(t, `^6000C29[0-9a-f]-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`, i.UUID)
	_, err = vmfile.Read(vmfile.Flat(p))
	assert.ErrorIs(t, err, vmfile.ErrFormat)

	require.NoError(t, vmfile.Resize(p, 2<<20))
	assert.Error(t, vmfile.Resize(p, 1<<20))
	to := filepath.Join(filepath.Dir(p), "b.vmdk")
	require.NoError(t, vmfile.Rename(p, to, "a.vmdk"))
	got, err = vmfile.Read(to)
	require.NoError(t, err)
	assert.Equal(t, vmfile.Info{Size: 2 << 20, UUID: i.UUID, Thin: true, Parent: "a.vmdk"}, got)
	require.NoError(t, vmfile.Remove(to))
	require.NoError(t, vmfile.Remove(to))
	_, err = vmfile.Read(to)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}

func TestContent(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	require.NoError(t, os.WriteFile(a, nil, 0o600))
	require.NoError(t, os.Truncate(a, 1<<30))
	write := func(off int64, text string) {
		f, err := os.OpenFile(a, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = f.WriteAt([]byte(text), off)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	write(5*vmfile.Block, "one")
	write(900<<20, "two")
	require.NoError(t, vmfile.CopyFlat(a, b))
	assert.Less(t, vmfile.Used(b), int64(1<<20))
	first, err := vmfile.Hash(b)
	require.NoError(t, err)
	assert.Len(t, first, 2)
	write(5*vmfile.Block, "ONE")
	write(7*vmfile.Block+1, "three")
	write(900<<20, "\x00\x00\x00")
	second, err := vmfile.Hash(a)
	require.NoError(t, err)
	assert.Equal(t, map[int64]bool{5: true, 7: true, 900 << 20 / vmfile.Block: true}, second.Changed(first))
	require.NoError(t, first.Save(filepath.Join(dir, "h")))
	loaded, err := vmfile.Load(filepath.Join(dir, "h"))
	require.NoError(t, err)
	assert.Equal(t, first, loaded)
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("RW 2048 VMFS \"a-flat.vmdk\"\nddb.uuid = \"60 00 C2 90 01 02 03 04-05 06 07 08 09 0a 0b 0c\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p := filepath.Join(t.TempDir(), "a.vmdk")
		require.NoError(t, os.WriteFile(p, data, 0o600))
		if i, err := vmfile.Read(p); err == nil {
			assert.Positive(t, i.Size)
		}
	})
}
