package imagefs

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"io"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// super is what the first bytes of a disk say.
type super struct {
	Type  string // ext4 (and its elder forms), xfs, btrfs
	Dirty bool   // its journal has to be replayed; xfs does not tell
	Apart bool   // a part of it, such as the journal, is on another disk
}

const (
	btrfsSuper    = 64 << 10
	btrfsSuperLen = 4096
	superLen      = btrfsSuper + btrfsSuperLen
)

// readSuper recognises the filesystem of a disk. Without one: invalid.
func readSuper(r io.ReaderAt, size int64) (super, error) {
	b := make([]byte, superLen)
	want := min(size, superLen)
	if n, err := r.ReadAt(b[:want], 0); int64(n) < want {
		return super{}, fail(err, "reading the first bytes of the disk")
	}
	switch {
	case bytes.Equal(b[:4], []byte("XFSB")):
		return super{Type: volspec.XFS, Apart: binary.BigEndian.Uint64(b[0x30:]) == 0}, nil
	case bytes.Equal(b[btrfsSuper+0x40:btrfsSuper+0x48], []byte("_BHRfS_M")):
		return super{
			Type:  volspec.Btrfs,
			Dirty: binary.LittleEndian.Uint64(b[btrfsSuper+0x60:]) != 0,
			Apart: binary.LittleEndian.Uint64(b[btrfsSuper+0x88:]) > 1,
		}, nil
	case binary.LittleEndian.Uint16(b[0x438:]) == 0xEF53:
		const recover, journal = 4, 8 // s_feature_incompat
		incompat := binary.LittleEndian.Uint32(b[0x460:])
		return super{
			Type:  volspec.Ext4,
			Dirty: incompat&recover != 0,
			Apart: incompat&journal != 0 || binary.LittleEndian.Uint32(b[0x4E4:]) != 0,
		}, nil
	}
	if want >= 512 && b[510] == 0x55 && b[511] == 0xAA {
		return super{}, errkind.New(errkind.Invalid, "the disk has a partition table, and files are only shown of disks that are one filesystem: restore the disk instead")
	}
	for _, c := range b[:want] {
		if c != 0 {
			return super{}, errkind.New(errkind.Invalid, "the volume holds no filesystem that is known here (ext4, xfs, btrfs): restore it as a whole instead")
		}
	}
	return super{}, errBlank
}

var errBlank = errkind.New(errkind.Invalid, "the volume was never formatted: there are no files in it")

// The kernel tells btrfs filesystems apart by their fsid alone: a second one
// with the fsid of one that is mounted is refused, or worse, taken for it. A
// filesystem may show another fsid than its blocks carry (metadata_uuid): then
// only the superblocks change. That is what btrfstune -m does, but that also
// writes a transaction, after which the log tree is not replayed any more.
const (
	offCsum, offFsid, offBytenr, offIncompat = 0, 0x20, 0x30, 0xbc
	offCsumType, offMetaUUID                 = 0xc4, 0x23b
	flagMetaUUID                             = 1 << 10
)

// btrfsCopies are where a filesystem has its superblocks, as far as it reaches.
var btrfsCopies = []int64{btrfsSuper, 64 << 20, 256 << 30}

type readWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// disguise gives a btrfs filesystem another fsid.
func disguise(d readWriterAt, size int64) error {
	id := uuid.New()
	return eachBtrfsSuper(d, size, func(b []byte) {
		if flags := binary.LittleEndian.Uint64(b[offIncompat:]); flags&flagMetaUUID == 0 {
			binary.LittleEndian.PutUint64(b[offIncompat:], flags|flagMetaUUID)
			copy(b[offMetaUUID:offMetaUUID+16], b[offFsid:])
		}
		copy(b[offFsid:offFsid+16], id[:])
	})
}

// reveal undoes disguise, given the superblock from before.
func reveal(d readWriterAt, size int64, before []byte) error {
	return eachBtrfsSuper(d, size, func(b []byte) {
		flags := binary.LittleEndian.Uint64(b[offIncompat:]) &^ flagMetaUUID
		flags |= binary.LittleEndian.Uint64(before[offIncompat:]) & flagMetaUUID
		binary.LittleEndian.PutUint64(b[offIncompat:], flags)
		copy(b[offFsid:offFsid+16], before[offFsid:])
		copy(b[offMetaUUID:offMetaUUID+16], before[offMetaUUID:])
	})
}

func readBtrfsSuper(r io.ReaderAt) ([]byte, error) {
	b := make([]byte, btrfsSuperLen)
	_, err := r.ReadAt(b, btrfsSuper)
	return b, fail(err, "reading the superblock")
}

func eachBtrfsSuper(d readWriterAt, size int64, change func([]byte)) error {
	for _, at := range btrfsCopies {
		if at+btrfsSuperLen > size {
			break
		}
		b := make([]byte, btrfsSuperLen)
		if _, err := d.ReadAt(b, at); err != nil {
			return fail(err, "reading a superblock")
		}
		if !bytes.Equal(b[0x40:0x48], []byte("_BHRfS_M")) || binary.LittleEndian.Uint64(b[offBytenr:]) != uint64(at) {
			continue
		}
		change(b)
		if err := sumBtrfsSuper(b); err != nil {
			return err
		}
		if _, err := d.WriteAt(b, at); err != nil {
			return fail(err, "giving the filesystem an id of its own")
		}
	}
	return nil
}

func sumBtrfsSuper(b []byte) error {
	var sum [32]byte
	switch kind := binary.LittleEndian.Uint16(b[offCsumType:]); kind {
	case 0:
		binary.LittleEndian.PutUint32(sum[:], crc32.Checksum(b[offFsid:], crc32.MakeTable(crc32.Castagnoli)))
	case 2:
		sum = sha256.Sum256(b[offFsid:])
	default:
		return errkind.New(errkind.Unsupported, "the files of a btrfs filesystem with checksums of kind %d (xxhash or blake2) cannot be shown: restore the volume as a whole instead", kind)
	}
	copy(b[offCsum:offFsid], sum[:])
	return nil
}
