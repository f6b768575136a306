package kopia

import (
	"bytes"
	"encoding/binary"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	kcompression "github.com/kopia/kopia/repo/compression"
)

// kopia's compressor treats a block as a stream of unknown length: with two
// goroutines and more copies. Here a block is compressed in one piece, by the
// same method at the same level; anybody reads it as before.
func init() {
	id := kcompression.ByName[compressor].HeaderID()
	kcompression.ByHeaderID[id] = newWhole(kcompression.ByHeaderID[id])
}

// whole is kopia's compressor with another way of compressing.
type whole struct {
	kcompression.Compressor
	header  []byte
	encoder *zstd.Encoder
	buffers sync.Pool
}

// wholeBuffers are a block and what becomes of it.
type wholeBuffers struct {
	in  bytes.Buffer
	out []byte
}

func newWhole(c kcompression.Compressor) *whole {
	// An option that is wrong would be the only error. What is stored is
	// authenticated: it needs no checksum of zstd's.
	e, _ := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true))
	return &whole{
		Compressor: c, encoder: e, header: binary.BigEndian.AppendUint32(nil, uint32(c.HeaderID())),
		buffers: sync.Pool{New: func() any {
			b := &wholeBuffers{out: make([]byte, 0, blockSize+blockSize/64)} // random data become a little larger
			b.in.Grow(blockSize + bytes.MinRead)                             // so that the end is found without growing
			return b
		}},
	}
}

// Compress implements kopia's interface.
func (w *whole) Compress(to io.Writer, from io.Reader) error {
	b := w.buffers.Get().(*wholeBuffers)
	defer w.buffers.Put(b)
	b.in.Reset()
	if _, err := b.in.ReadFrom(from); err != nil {
		return err
	}
	b.out = w.encoder.EncodeAll(b.in.Bytes(), append(b.out[:0], w.header...))
	_, err := to.Write(b.out)
	return err
}
