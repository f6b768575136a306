package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/image"
)

// disk is a file as an image and as a target.
type disk struct {
	*os.File
	size int64
}

// Size is that of the file when it was opened.
func (d *disk) Size() int64 { return d.size }

// Discard does nothing: the file was empty.
func (*disk) Discard(context.Context, image.Extent) error { return nil }

// Data are the file's ranges that are no holes.
func (d *disk) Data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		for at := int64(0); at < d.size; {
			start, err := unix.Seek(int(d.Fd()), at, unix.SEEK_DATA)
			if errors.Is(err, unix.ENXIO) {
				return
			}
			var end int64
			if err == nil {
				end, err = unix.Seek(int(d.Fd()), start, unix.SEEK_HOLE)
			}
			if err == nil {
				err = ctx.Err()
			}
			if !yield(image.Extent{Offset: start, Length: end - start}, err) || err != nil {
				return
			}
			at = end
		}
	}
}
