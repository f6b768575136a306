package vmdk

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"

	"mooring.dev/mooring/pkg/errkind"
)

// Writer encodes a disk. It is not safe for concurrent use.
type Writer struct {
	w        io.Writer
	capacity int64
	pos      int64 // bytes written
	next     int64 // offset from which the next grain may begin
	zip      *zlib.Writer
	buf      bytes.Buffer
	table    [gtEntries]uint32
	current  int // number of the table, -1 before it has an entry
	dir      []uint32
	err      error
}

// NewWriter begins a stream of a disk of that size, a multiple of 512. Errors of
// the destination come back as they are.
func NewWriter(w io.Writer, capacity int64) (*Writer, error) {
	if capacity <= 0 || capacity%sector != 0 || capacity > maxSize {
		return nil, errkind.New(errkind.Invalid, "a disk of %d bytes cannot be a VMDK: give a multiple of 512 up to 64 TiB", capacity)
	}
	const span = Grain * gtEntries
	v := &Writer{w: w, capacity: capacity, current: -1, dir: make([]uint32, (capacity+span-1)/span)}
	v.zip, _ = zlib.NewWriterLevel(&v.buf, zlib.BestSpeed) // the level is valid
	head := make([]byte, overhead*sector)
	copy(head, newHeader(capacity, atEnd).bytes())
	copy(head[sector:], descriptor(capacity))
	v.put(head)
	return v, v.err
}

func (v *Writer) put(b []byte) {
	if v.err != nil {
		return
	}
	_, v.err = v.w.Write(b)
	v.pos += int64(len(b))
}

// WriteAt writes a part of the disk. Parts come in order, and each begins at a
// multiple of Grain; only the disk's last may have another length than one.
// Zeros are left out. The first error stays.
func (v *Writer) WriteAt(p []byte, off int64) (int, error) {
	end := off + int64(len(p))
	if v.err == nil && (off < v.next || off%Grain != 0 || end > v.capacity || end%Grain != 0 && end != v.capacity) {
		v.err = errkind.New(errkind.Internal, "a part of %d bytes at %d does not fit into the stream after %d", len(p), off, v.next)
	}
	done := 0
	for done < len(p) && v.err == nil {
		n := min(Grain, len(p)-done)
		v.grain(p[done:done+n], off+int64(done))
		done += n
	}
	v.next = end
	return done, v.err
}

var zeros [Grain]byte

func (v *Writer) grain(p []byte, off int64) {
	if bytes.Equal(p, zeros[:len(p)]) {
		return
	}
	number := off / Grain
	if table := int(number / gtEntries); table != v.current {
		v.finish()
		v.current = table
	}
	v.table[number%gtEntries] = uint32(v.pos / sector)
	v.buf.Reset()
	v.buf.Write(make([]byte, 12))
	v.zip.Reset(&v.buf)
	_, _ = v.zip.Write(p) // into a buffer
	_, _ = v.zip.Write(zeros[len(p):])
	_ = v.zip.Close()
	b := v.buf.Bytes()
	binary.LittleEndian.PutUint64(b, uint64(off/sector))
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-12))
	v.put(append(b, zeros[:pad(len(b))]...))
}

// finish writes the table that is being filled, if there is one.
func (v *Writer) finish() {
	if v.current < 0 {
		return
	}
	v.put(marker(markerGT, gtEntries*4/sector))
	v.dir[v.current] = uint32(v.pos / sector)
	v.put(littleEndian(v.table[:]))
	v.table, v.current = [gtEntries]uint32{}, -1
}

func littleEndian(list []uint32) []byte {
	b := make([]byte, 0, 4*len(list))
	for _, n := range list {
		b = binary.LittleEndian.AppendUint32(b, n)
	}
	return append(b, zeros[:pad(len(b))]...)
}

// Close ends the stream. It does not close the destination.
func (v *Writer) Close() error {
	v.finish()
	b := littleEndian(v.dir)
	v.put(marker(markerGD, uint64(len(b)/sector)))
	gd := uint64(v.pos / sector)
	v.put(b)
	v.put(marker(markerFoot, 1))
	v.put(newHeader(v.capacity, gd).bytes())
	v.put(marker(markerEOS, 0))
	return v.err
}
