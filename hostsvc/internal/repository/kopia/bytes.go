package kopia

import (
	"bytes"
	"io"
)

// buffer is kopia's OutputBuffer in memory.
type buffer struct{ bytes.Buffer }

// Length is what was written.
func (b *buffer) Length() int { return b.Len() }

// data is kopia's Bytes of a slice.
type data []byte

// Length of the data.
func (d data) Length() int { return len(d) }

// WriteTo writes it all.
func (d data) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(d)
	return int64(n), err
}

type dataReader struct{ *bytes.Reader }

func (dataReader) Close() error { return nil }

// Reader reads it from the beginning.
func (d data) Reader() io.ReadSeekCloser { return dataReader{bytes.NewReader(d)} }
