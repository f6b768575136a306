// Package vmdk reads and writes disks as a stream: the "streamOptimized" form of
// VMDK, which vSphere sends and takes for whole disks. Zeros take no room, what
// is there is compressed, and neither side needs to go back.
package vmdk

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"mooring.dev/mooring/pkg/errkind"
)

// Grain is the unit of the stream that Writer makes; Decode takes others.
const Grain = 64 << 10

const (
	sector     = 512
	magic      = 0x564d444b
	version    = 3
	flags      = 1 | 1<<16 | 1<<17 // line ends can be tested, compressed, with markers
	atEnd      = ^uint64(0)
	gtEntries  = 512
	overhead   = 128 // sectors before the first grain
	descSize   = 20
	deflate    = 1
	maxGrain   = 1 << 20
	maxSize    = 64 << 40
	markerEOS  = 0
	markerGT   = 1
	markerGD   = 2
	markerFoot = 3
)

// header is the first sector, and with another directory the footer.
type header struct {
	Magic       uint32
	Version     uint32
	Flags       uint32
	Capacity    uint64
	Grain       uint64
	DescOffset  uint64
	DescSize    uint64
	Entries     uint32
	RGDOffset   uint64
	GDOffset    uint64
	Overhead    uint64
	Unclean     uint8
	LineEnds    [4]byte
	Compression uint16
	_           [433]byte
}

func newHeader(capacity int64, gd uint64) header {
	return header{
		Magic: magic, Version: version, Flags: flags,
		Capacity: uint64(capacity / sector), Grain: Grain / sector,
		DescOffset: 1, DescSize: descSize, Entries: gtEntries, GDOffset: gd, Overhead: overhead,
		LineEnds: [4]byte{'\n', ' ', '\r', '\n'}, Compression: deflate,
	}
}

func (h header) bytes() []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h) // a buffer takes everything
	return b.Bytes()
}

// check finds out whether a stream is one that we read.
func (h header) check() error {
	grain := h.Grain * sector
	switch {
	case h.Magic != magic:
		return errkind.New(errkind.Corrupt, "the stream is no VMDK")
	case h.Version > version || h.Flags&(1<<16) == 0 || h.Flags&(1<<17) == 0 || h.Compression != deflate:
		return errkind.New(errkind.Unsupported, "the VMDK is not one for streaming (version %d, flags %#x)", h.Version, h.Flags)
	case h.Grain == 0 || h.Grain > maxGrain/sector || grain&(grain-1) != 0:
		return errkind.New(errkind.Corrupt, "the VMDK has grains of %d sectors", h.Grain)
	case h.Capacity == 0 || h.Capacity > maxSize/sector:
		return errkind.New(errkind.Corrupt, "the VMDK has %d sectors", h.Capacity)
	case h.Overhead == 0 || h.Overhead > 1<<16:
		return errkind.New(errkind.Corrupt, "the VMDK has %d sectors before its data", h.Overhead)
	}
	return nil
}

// marker stands before everything but the grains, which have a shorter one.
func marker(kind uint32, sectors uint64) []byte {
	b := make([]byte, sector)
	binary.LittleEndian.PutUint64(b, sectors)
	binary.LittleEndian.PutUint32(b[12:], kind)
	return b
}

func descriptor(capacity int64) []byte {
	const text = `# Disk DescriptorFile
version=1
CID=fffffffe
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RW %d SPARSE "disk.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "%d"
ddb.geometry.heads = "255"
ddb.geometry.sectors = "63"
ddb.virtualHWVersion = "21"
`
	sectors := capacity / sector
	return fmt.Appendf(nil, text, sectors, min(sectors/255/63, 65535))
}

func pad(n int) int { return (sector - n%sector) % sector }
