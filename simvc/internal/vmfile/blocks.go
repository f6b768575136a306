package vmfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"os"
)

// Block is the granularity of changed-block tracking.
const Block = 64 << 10

// Blocks are the hashes of a file's blocks that are not all zeros.
type Blocks map[int64][16]byte

// Hash reads a file's allocated blocks.
func Hash(path string) (Blocks, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	extents, err := Allocated(f)
	if err != nil {
		return nil, err
	}
	b := make(Blocks)
	buf, zero := make([]byte, Block), make([]byte, Block)
	next := int64(0)
	for _, e := range extents {
		for n := max(next, e.Offset/Block); n*Block < e.Offset+e.Length; n++ {
			got, err := f.ReadAt(buf, n*Block)
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
			if !bytes.Equal(buf[:got], zero[:got]) {
				sum := sha256.Sum256(buf[:got])
				b[n] = [16]byte(sum[:16])
			}
			next = n + 1
		}
	}
	return b, nil
}

// Changed lists the blocks that differ.
func (b Blocks) Changed(old Blocks) map[int64]bool {
	diff := make(map[int64]bool)
	for n, h := range b {
		if o, ok := old[n]; !ok || o != h {
			diff[n] = true
		}
	}
	for n := range old {
		if _, ok := b[n]; !ok {
			diff[n] = true
		}
	}
	return diff
}

// Save writes the hashes to a file.
func (b Blocks) Save(path string) error {
	var w bytes.Buffer
	for n, h := range b {
		w.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
		w.Write(h[:])
	}
	return os.WriteFile(path, w.Bytes(), 0o600)
}

// Load reads what Save wrote.
func Load(path string) (Blocks, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	const rec = 8 + 16
	if len(data)%rec != 0 {
		return nil, ErrFormat
	}
	b := make(Blocks, len(data)/rec)
	for ; len(data) > 0; data = data[rec:] {
		b[int64(binary.BigEndian.Uint64(data))] = [16]byte(data[8:rec])
	}
	return b, nil
}
