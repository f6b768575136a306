package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// super is what a superblock says. Dirty means that it was not unmounted
// cleanly, or that the kernel found errors; only ext4 tells.
type super struct {
	Type  string
	UUID  uuid.UUID
	Bytes int64 // size of the filesystem
	Dirty bool
	// Spare is how many bytes at the end of a disk an ext4 filesystem cannot
	// use: less than a block group's own tables need.
	Spare int64
}

const superLen = 0x10000 + 0x1000 // up to the end of btrfs's

// readSuper reads the superblock of a device. No known filesystem: corrupt.
func readSuper(device string) (super, error) {
	f, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return super{}, errkind.Wrap(errkind.Unavailable, err, "open %s", device)
	}
	defer func() { _ = f.Close() }() // only read
	buf := make([]byte, superLen)
	if n, err := io.ReadFull(f, buf); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return super{}, errkind.Wrap(errkind.Unavailable, err, "read the superblock of %s (%d bytes read)", device, n)
	}
	s, ok := parseSuper(buf)
	if !ok {
		return super{}, errkind.New(errkind.Corrupt, "%s has no filesystem although its volume was formatted: it is left as it is; ask the administrator to look at the disk or to restore it", device)
	}
	return s, nil
}

// parseSuper recognises ext4 (and its elder forms), xfs and btrfs in the first
// bytes of a disk.
func parseSuper(b []byte) (super, bool) {
	if len(b) < superLen {
		return super{}, false
	}
	switch {
	case bytes.Equal(b[:4], []byte("XFSB")):
		return super{
			Type: volspec.XFS, UUID: uuid.UUID(b[32:48]),
			Bytes: product(binary.BigEndian.Uint64(b[8:]), uint64(binary.BigEndian.Uint32(b[4:]))),
		}, true
	case bytes.Equal(b[0x10040:0x10048], []byte("_BHRfS_M")):
		return super{Type: volspec.Btrfs, UUID: uuid.UUID(b[0x10020:0x10030]), Bytes: product(binary.LittleEndian.Uint64(b[0x10070:]), 1)}, true
	case binary.LittleEndian.Uint16(b[0x438:]) == 0xEF53:
		return parseExt4(b[0x400:]), true
	}
	return super{}, false
}

func parseExt4(b []byte) super {
	u32 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint32(b[at:])) }
	u16 := func(at int) uint64 { return uint64(binary.LittleEndian.Uint16(b[at:])) }
	const (
		valid, errorsFound = 1, 2    // s_state
		recover, bits64    = 4, 0x80 // s_feature_incompat
	)
	block := uint64(1024) << min(u32(0x18), 6)
	blocks, descLen := u32(0x4), uint64(32)
	if u32(0x60)&bits64 != 0 {
		blocks |= u32(0x150) << 32
		descLen = max(u16(0xFE), 64)
	}
	s := super{Type: volspec.Ext4, UUID: uuid.UUID(b[0x68:0x78]), Bytes: product(blocks, block)}
	s.Dirty = u32(0x60)&recover != 0 || u16(0x3A)&valid == 0 || u16(0x3A)&errorsFound != 0
	// See e2fsprogs lib/ext2fs/initialize.c: a last group that cannot hold its
	// own tables and 50 blocks more is left out.
	if perGroup := u32(0x20); perGroup > 0 && blocks > u32(0x14) && (blocks-u32(0x14))%perGroup == 0 {
		groups := blocks/perGroup + 2
		tables := u32(0x28)*u16(0x58)/block + 1
		s.Spare = product(2+tables+groups*descLen/block+1+u16(0xCE)+50, block)
	}
	return s
}

// product saturates: superblocks come from disks.
func product(a, b uint64) int64 {
	if b != 0 && a > uint64(1<<62)/b {
		return 1 << 62
	}
	return int64(a * b)
}

// growable reports whether growing the filesystem to a disk of size would
// gain anything.
func (s super) growable(size int64) bool {
	gap := size - s.Bytes
	return gap >= 64<<10 && gap > s.Spare
}
