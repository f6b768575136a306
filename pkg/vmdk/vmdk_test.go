package vmdk_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/vmdk"
)

func encode(t require.TestingT, disk []byte) []byte {
	var b bytes.Buffer
	w, err := vmdk.NewWriter(&b, int64(len(disk)))
	require.NoError(t, err)
	_, err = w.WriteAt(disk, 0)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func decode(r io.Reader, size int) ([]byte, error) {
	disk := make([]byte, size)
	n, err := vmdk.Decode(r, func(off int64, p []byte) error {
		copy(disk[off:], p)
		return nil
	})
	if err == nil && int(n) != size {
		err = errors.New("another size")
	}
	return disk, err
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		disk := make([]byte, 512*rapid.IntRange(1, 2000).Draw(t, "sectors"))
		for range rapid.IntRange(0, 10).Draw(t, "writes") {
			off := rapid.IntRange(0, len(disk)-1).Draw(t, "offset")
			n := min(rapid.IntRange(1, 100000).Draw(t, "length"), len(disk)-off)
			r := rand.New(rand.NewPCG(uint64(off), uint64(n)))
			for i := range n {
				disk[off+i] = byte(r.Uint32())
			}
		}
		got, err := decode(bytes.NewReader(encode(t, disk)), len(disk))
		require.NoError(t, err)
		assert.True(t, bytes.Equal(disk, got))
	})
}

func TestSparseDiskOfATebibyte(t *testing.T) {
	const size = 1 << 40
	var b bytes.Buffer
	w, err := vmdk.NewWriter(&b, size)
	require.NoError(t, err)
	data := bytes.Repeat([]byte("x"), vmdk.Grain)
	offsets := []int64{0, 40 << 30, size - vmdk.Grain}
	for _, off := range offsets {
		_, err := w.WriteAt(data, off)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	assert.Less(t, b.Len(), 400<<10)
	var got []int64
	n, err := vmdk.Decode(&b, func(off int64, p []byte) error {
		assert.Equal(t, data, p)
		got = append(got, off)
		return nil
	})
	require.NoError(t, err)
	assert.EqualValues(t, size, n)
	assert.Equal(t, offsets, got)
}

func TestTablesLeadToGrains(t *testing.T) {
	const size = 1 << 30
	var b bytes.Buffer
	w, err := vmdk.NewWriter(&b, size)
	require.NoError(t, err)
	offsets := []int64{0, 5 * vmdk.Grain, 511 * vmdk.Grain, 512 * vmdk.Grain, 1500 * vmdk.Grain, size - vmdk.Grain}
	for _, off := range offsets {
		_, err := w.WriteAt(bytes.Repeat([]byte("x"), vmdk.Grain), off)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	at := func(sector, i uint32) uint32 { return binary.LittleEndian.Uint32(b.Bytes()[512*sector+4*i:]) }
	footer := b.Bytes()[b.Len()-1024:]
	directory := uint32(binary.LittleEndian.Uint64(footer[56:]))
	var found []int64
	for i := range uint32(size / vmdk.Grain) {
		table := at(directory, i/512)
		if table == 0 || at(table, i%512) == 0 {
			continue
		}
		assert.EqualValues(t, int64(i)*vmdk.Grain/512, at(at(table, i%512), 0), "the sector that a grain says of itself")
		found = append(found, int64(i)*vmdk.Grain)
	}
	assert.Equal(t, offsets, found)
}

func TestParts(t *testing.T) {
	for name, part := range map[string]struct {
		off int64
		n   int
	}{
		"before":    {0, vmdk.Grain},
		"unaligned": {vmdk.Grain + 512, vmdk.Grain},
		"short":     {vmdk.Grain, 512},
		"behind":    {3 * vmdk.Grain, vmdk.Grain},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := vmdk.NewWriter(io.Discard, 3*vmdk.Grain)
			require.NoError(t, err)
			_, err = w.WriteAt(make([]byte, vmdk.Grain), 0)
			require.NoError(t, err)
			_, err = w.WriteAt(make([]byte, part.n), part.off)
			assert.Equal(t, errkind.Internal, errkind.Of(err))
			assert.Equal(t, err, w.Close())
		})
	}
	for _, size := range []int64{0, 511, 65 << 40} {
		_, err := vmdk.NewWriter(io.Discard, size)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%d", size)
	}
}

func TestDamage(t *testing.T) {
	disk := make([]byte, 4*vmdk.Grain)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range disk {
		disk[i] = byte(r.Uint32())
	}
	good := encode(t, disk)
	for n := 0; n < len(good); n += 1000 {
		_, err := decode(bytes.NewReader(good[:n]), len(disk))
		assert.Equal(t, errkind.Corrupt, errkind.Of(err), "cut at %d", n)
	}
	bad := bytes.Clone(good)
	bad[128*512+1000] ^= 1
	_, err := decode(bytes.NewReader(bad), len(disk))
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
	_, err = decode(bytes.NewReader(append([]byte("COWD"), good[4:]...)), len(disk))
	assert.ErrorContains(t, err, "no VMDK")
	stop := errors.New("stop")
	_, err = vmdk.Decode(bytes.NewReader(good), func(int64, []byte) error { return stop })
	assert.ErrorIs(t, err, stop)
}

func FuzzDecode(f *testing.F) {
	f.Add(encode(f, bytes.Repeat([]byte("ab"), vmdk.Grain)))
	f.Add(encode(f, make([]byte, 512)))
	f.Fuzz(func(t *testing.T, data []byte) {
		last := int64(-1)
		size, err := vmdk.Decode(bytes.NewReader(data), func(off int64, p []byte) error {
			if off <= last {
				t.Errorf("grain at %d after %d", off, last)
			}
			last = off
			return nil
		})
		if err == nil && last >= size {
			t.Errorf("grain at %d of a disk of %d bytes", last, size)
		}
	})
}
