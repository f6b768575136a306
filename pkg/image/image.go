// Package image is the content of a disk as its readers and writers see it:
// bytes of a fixed size, most of which may be holes. It holds the contract
// that hypervisors, repositories and filesystem readers share, and the
// arithmetic of extents.
package image

import (
	"context"
	"io"
	"iter"
)

// Extent is the range of Length bytes from Offset on.
type Extent struct{ Offset, Length int64 }

// End is the first byte behind the range.
func (e Extent) End() int64 { return e.Offset + e.Length }

// Extents are ranges in ascending order that neither overlap nor are empty.
// The first error ends them.
type Extents = iter.Seq2[Extent, error]

// Image is a disk's content, open for reading. ReadAt is safe for concurrent
// use and, as io.ReaderAt says, reads all of p or returns an error. The
// content never changes while it is open.
type Image interface {
	io.ReaderAt
	// Size is that of the disk in bytes, a multiple of 512.
	Size() int64
	// Data yields what may hold something else than zeros; everything outside
	// reads as zeros. It may be called more than once.
	Data(ctx context.Context) Extents
	// Close ends the use. Once is enough, again is nil.
	Close() error
}

// Target is a disk that is being filled. It begins as zeros. WriteAt is safe
// for concurrent use on ranges that do not overlap.
type Target interface {
	io.ReaderAt
	io.WriterAt
	Size() int64
	// Discard makes a range read as zeros and gives its room back where the
	// storage can.
	Discard(ctx context.Context, e Extent) error
}
