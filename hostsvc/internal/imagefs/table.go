package imagefs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// part is a range of a disk that holds one thing.
type part struct {
	image.Extent
	name  string // "" for the whole image
	sb    super
	holds string // in words, where it is no filesystem that can be checked
	files int64
}

func (p part) of() string {
	if p.name == "" {
		return ""
	}
	return " of " + p.name
}

const (
	tableSector = 512     // of which tables of the elder kind count
	maxLogical  = 128     // partitions in an extended one; longer chains are loops
	gptLimit    = 1 << 20 // bytes of a table, eight thousand partitions
)

// readTable finds the partitions of a disk, with the numbers that Linux gives
// them; none on a disk without a partition table. A GPT that is damaged
// together with its copy: corrupt.
func readTable(r io.ReaderAt, size int64) ([]part, error) {
	entries, err := readEntries(r, 0, size)
	if err != nil {
		return nil, err
	}
	var parts []part
	for i, e := range entries {
		switch {
		case e.kind == 0xEE:
			return readGPT(r, size)
		case e.extended():
			logical, err := readLogical(r, size, e.start)
			if err != nil {
				return nil, err
			}
			parts = append(parts, logical...)
		case e.count > 0:
			parts = append(parts, e.part(0, i+1))
		}
	}
	return bounded(parts, size), nil
}

// entry is one of the four of a partition table of the elder kind, in sectors.
type entry struct {
	kind         byte
	start, count int64
}

func (e entry) extended() bool {
	return e.count > 0 && (e.kind == 0x05 || e.kind == 0x0F || e.kind == 0x85)
}

func (e entry) part(base int64, n int) part {
	return part{Extent: image.Extent{Offset: (base + e.start) * tableSector, Length: e.count * tableSector}, name: fmt.Sprintf("partition %d", n)}
}

// readEntries reads the table in a sector; none when there is none. The boot
// sectors of filesystems bear the same mark, but no table: where its entries
// would be is code.
func readEntries(r io.ReaderAt, sector, size int64) ([]entry, error) {
	if (sector+1)*tableSector > size {
		return nil, nil
	}
	b := make([]byte, tableSector)
	if n, err := r.ReadAt(b, sector*tableSector); n < len(b) {
		return nil, fail(err, "reading the partition table")
	}
	if b[510] != 0x55 || b[511] != 0xAA {
		return nil, nil
	}
	var all []entry
	for at := 446; at < 510; at += 16 {
		if b[at]&0x7F != 0 {
			return nil, nil
		}
		e := entry{kind: b[at+4], start: int64(binary.LittleEndian.Uint32(b[at+8:])), count: int64(binary.LittleEndian.Uint32(b[at+12:]))}
		if e.kind == 0 {
			e.count = 0
		}
		all = append(all, e)
	}
	return all, nil
}

// readLogical follows the chain of tables in an extended partition. Each has a
// partition, counted from itself, and where the next table is, counted from the
// first.
func readLogical(r io.ReaderAt, size, base int64) (parts []part, err error) {
	at := base
	for n := 5; n < 5+maxLogical; {
		entries, err := readEntries(r, at, size)
		if err != nil || entries == nil {
			return parts, err
		}
		next := int64(0)
		for _, e := range entries[:2] {
			switch {
			case e.extended():
				next = base + e.start
			case e.count > 0:
				parts = append(parts, e.part(at, n))
				n++
			}
		}
		if next <= at {
			break
		}
		at = next
	}
	return parts, nil
}

// readGPT reads the table, or its copy at the end of the disk.
func readGPT(r io.ReaderAt, size int64) ([]part, error) {
	for _, sector := range []int64{512, 4096} {
		for _, at := range []int64{sector, size/sector*sector - sector} {
			parts, found, err := readGPTAt(r, sector, at, size)
			if err != nil || found {
				return bounded(parts, size), err
			}
		}
	}
	return nil, errkind.New(errkind.Corrupt, "the partition table of the disk is damaged, and so is its copy at the end: the guest could not use the disk")
}

var gptMark = []byte("EFI PART")

// readGPTAt reads the table whose header is at a byte; a damaged one is not
// found.
func readGPTAt(r io.ReaderAt, sector, at, size int64) (parts []part, found bool, err error) {
	h := make([]byte, tableSector)
	if at < 0 || at+tableSector > size {
		return nil, false, nil
	}
	if n, err := r.ReadAt(h, at); n < len(h) {
		return nil, false, fail(err, "reading the partition table")
	}
	length := binary.LittleEndian.Uint32(h[12:])
	if !bytes.Equal(h[:8], gptMark) || length < 92 || length > tableSector {
		return nil, false, nil
	}
	sum := binary.LittleEndian.Uint32(h[16:])
	clear(h[16:20])
	first, count, each := binary.LittleEndian.Uint64(h[72:]), int64(binary.LittleEndian.Uint32(h[80:])), int64(binary.LittleEndian.Uint32(h[84:]))
	if crc32.ChecksumIEEE(h[:length]) != sum || each < 128 || each > gptLimit || count > gptLimit/each || first > uint64(size/sector) {
		return nil, false, nil
	}
	table := make([]byte, count*each)
	if int64(first)*sector+int64(len(table)) > size {
		return nil, false, nil
	}
	if n, err := r.ReadAt(table, int64(first)*sector); n < len(table) {
		return nil, false, fail(err, "reading the partition table")
	}
	if crc32.ChecksumIEEE(table) != binary.LittleEndian.Uint32(h[88:]) {
		return nil, false, nil
	}
	for i := range count {
		e := table[i*each:]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue // not in use
		}
		from, to := binary.LittleEndian.Uint64(e[32:]), binary.LittleEndian.Uint64(e[40:])
		x := image.Extent{Offset: size} // beyond the end
		if most := uint64(size / sector); from <= to && to < most {
			x = image.Extent{Offset: int64(from) * sector, Length: int64(to-from+1) * sector}
		}
		parts = append(parts, part{Extent: x, name: fmt.Sprintf("partition %d", i+1)})
	}
	return parts, true, nil
}

// bounded says of what is beyond the end of the disk that it is.
func bounded(parts []part, size int64) []part {
	for i, p := range parts {
		if p.Length <= 0 || p.End() > size {
			parts[i].holds = "a range beyond the end of the disk"
		}
	}
	return parts
}

// marks tell what else a partition may hold.
var marks = []struct {
	at   int
	mark string
	what string
}{
	{4086, "SWAPSPACE2", "swap space"},
	{4086, "SWAP-SPACE", "swap space"},
	{512, "LABELONE", "LVM"},
	{0, "LABELONE", "LVM"},
	{0, "LUKS\xba\xbe", "an encrypted volume (LUKS)"},
	{3, "NTFS    ", "NTFS"},
	{3, "EXFAT   ", "exFAT"},
	{3, "ReFS", "ReFS"},
	{3, "-FVE-FS-", "an encrypted volume (BitLocker)"},
	{82, "FAT32   ", "FAT"},
	{54, "FAT", "FAT"},
	{0, "\xfc\x4e\x2b\xa9", "a part of a RAID"},
	{4096, "\xfc\x4e\x2b\xa9", "a part of a RAID"},
}

// holdsElse says what is in a range that holds no filesystem known here.
func holdsElse(r io.ReaderAt, size int64) (string, error) {
	b := make([]byte, min(size, 8192))
	if n, err := r.ReadAt(b, 0); n < len(b) {
		return "", fail(err, "reading the first bytes")
	}
	for _, m := range marks {
		if len(b) >= m.at+len(m.mark) && string(b[m.at:m.at+len(m.mark)]) == m.mark {
			return m.what, nil
		}
	}
	return "nothing that is known here", nil
}
