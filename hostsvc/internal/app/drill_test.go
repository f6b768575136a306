package app

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/pkg/image"
)

// diskImage is a disk in memory.
type diskImage struct{ *bytes.Reader }

func (diskImage) Close() error { return nil }

func (d diskImage) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Length: d.Size()}, nil) }
}

// The drill of the disk of a VM says what is on each partition; one that is no
// good is a result, not an error.
func TestDrillsOfDisks(t *testing.T) {
	const mib = 1 << 20
	system := filepath.Join(t.TempDir(), "system")
	out, err := exec.Command("mkfs.ext4", "-q", "-d", t.TempDir(), system, "4m").CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(system)
	require.NoError(t, err)
	disk := make([]byte, 8*mib)
	for i, sectors := range []uint32{4 * mib / 512, mib / 512} {
		e := disk[446+16*i:]
		e[4] = 0x83
		binary.LittleEndian.PutUint32(e[8:], uint32(mib/512)*uint32(1+5*i))
		binary.LittleEndian.PutUint32(e[12:], sectors)
	}
	copy(disk[510:], "\x55\xAA")
	copy(disk[mib:], content)
	copy(disk[6*mib+4086:], "SWAPSPACE2")
	f := files{dir: filepath.Join(t.TempDir(), "scratch"), streams: 2}
	none := func(int64, int64) {}
	d, err := f.Drill(t.Context(), diskImage{bytes.NewReader(disk)}, true, none)
	require.NoError(t, err)
	assert.Equal(t, []backup.DrillPart{{Name: "partition 1", Filesystem: "ext4"}, {Name: "partition 2", Holds: "swap space"}}, d.Parts)
	assert.Empty(t, d.Failed)
	assert.EqualValues(t, len(disk), d.Bytes)

	clear(disk[mib+4096 : mib+64<<10]) // tables of the filesystem
	d, err = f.Drill(t.Context(), diskImage{bytes.NewReader(disk)}, true, none)
	require.NoError(t, err)
	assert.Equal(t, "check of partition 1", d.Failed)
	assert.Contains(t, d.Why, "e2fsck")
	left, err := os.ReadDir(f.dir)
	require.NoError(t, err)
	assert.Empty(t, left)
}
