package vmdk

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"io"

	"mooring.dev/mooring/pkg/errkind"
)

// Decode reads a stream to its end and hands over what is in it, grain by grain
// in order; the data are valid during the call. What is not handed over is
// zeros. It returns the size of the disk. A stream that is cut short or damaged
// is corrupt; errors of the source and of put come back as they are.
func Decode(r io.Reader, put func(off int64, data []byte) error) (capacity int64, err error) {
	in := bufio.NewReaderSize(r, 256<<10)
	var h header
	if err := binary.Read(in, binary.LittleEndian, &h); err != nil {
		return 0, short(err)
	}
	if err := h.check(); err != nil {
		return 0, err
	}
	d := decoder{
		in: in, size: int64(h.Capacity) * sector, put: put,
		grain: make([]byte, h.Grain*sector), sector: make([]byte, sector),
	}
	if err := d.skip(int64(h.Overhead-1) * sector); err != nil {
		return 0, err
	}
	for {
		end, err := d.step()
		if err != nil || end {
			return d.size, err
		}
	}
}

type decoder struct {
	in    *bufio.Reader
	size  int64
	next  int64 // offset after the last grain
	grain []byte
	packed,
	sector []byte
	zip io.ReadCloser
	put func(off int64, data []byte) error
}

// maxTable is more sectors than the directory of the largest disk has.
const maxTable = 1 << 16

// short tells the end of the stream from other errors.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errkind.Wrap(errkind.Corrupt, err, "the VMDK stream ends too early: the transfer broke, repeat it")
	}
	return err
}

func (d *decoder) skip(n int64) error {
	_, err := io.CopyN(io.Discard, d.in, n)
	return short(err)
}

// step reads one grain or one block of metadata.
func (d *decoder) step() (end bool, err error) {
	if _, err := io.ReadFull(d.in, d.sector); err != nil {
		return false, short(err)
	}
	number := binary.LittleEndian.Uint64(d.sector)
	size := int(binary.LittleEndian.Uint32(d.sector[8:]))
	if size > 0 {
		return false, d.data(number, size)
	}
	switch kind := binary.LittleEndian.Uint32(d.sector[12:]); kind {
	case markerEOS:
		return true, nil
	case markerGT, markerGD, markerFoot:
		if number > maxTable {
			return false, errkind.New(errkind.Corrupt, "the VMDK stream has a table of %d sectors", number)
		}
		return false, d.skip(int64(number) * sector)
	default:
		return false, errkind.New(errkind.Corrupt, "the VMDK stream has a marker of kind %d", kind)
	}
}

// data reads the rest of a grain whose first sector is there.
func (d *decoder) data(lba uint64, size int) error {
	grain := int64(len(d.grain))
	off := int64(lba) * sector
	if lba >= uint64(d.size)/sector || off%grain != 0 || off < d.next || size > 2*len(d.grain)+1024 {
		return errkind.New(errkind.Corrupt, "the VMDK stream has a grain of %d bytes at sector %d", size, lba)
	}
	d.packed = append(d.packed[:0], d.sector[12:min(sector, 12+size)]...)
	if more := size - len(d.packed); more > 0 {
		d.packed = append(d.packed, make([]byte, more)...)
		if _, err := io.ReadFull(d.in, d.packed[size-more:]); err != nil {
			return short(err)
		}
		if err := d.skip(int64(pad(12 + size))); err != nil {
			return err
		}
	}
	if err := d.unzip(); err != nil {
		return errkind.Wrap(errkind.Corrupt, err, "the VMDK stream is damaged at offset %d", off)
	}
	d.next = off + grain
	return d.put(off, d.grain[:min(grain, d.size-off)])
}

func (d *decoder) unzip() error {
	src := bytes.NewReader(d.packed)
	if d.zip == nil {
		z, err := zlib.NewReader(src)
		if err != nil {
			return err
		}
		d.zip = z
	} else if err := d.zip.(zlib.Resetter).Reset(src, nil); err != nil {
		return err
	}
	n, err := io.ReadFull(d.zip, d.grain)
	if errors.Is(err, io.ErrUnexpectedEOF) && d.next+int64(len(d.grain)) >= d.size-int64(len(d.grain)) {
		clear(d.grain[n:]) // the last grain of a disk may be shorter
		return nil
	}
	if err != nil {
		return err
	}
	// The checksum is behind the data.
	if n, err := d.zip.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return errors.New("a grain is longer than it may be")
	}
	return nil
}
