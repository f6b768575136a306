package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

const (
	copyPiece = 1 << 20  // what one stream reads at a time; that of the blocks
	copyHole  = 64 << 10 // zeros of this length and alignment are not written
)

// CopyImage fills dst, which begins as zeros, with the content of src, with
// several streams; 0: one per processor. Only what src has as data is read,
// and ranges of zeros in it are not written. dst may be larger than src, not
// smaller. Progress counts bytes of src; it is told from one goroutine at a
// time.
func CopyImage(ctx context.Context, dst image.Target, src image.Image, streams int, report Report) error {
	if dst.Size() < src.Size() {
		return errkind.New(errkind.Invalid, "an image of %d bytes does not fit into a disk of %d", src.Size(), dst.Size())
	}
	if streams <= 0 {
		streams = runtime.GOMAXPROCS(0)
	}
	c := &copying{report: report, told: time.Now(), p: Progress{Total: src.Size()}}
	g, ctx := errgroup.WithContext(ctx)
	pieces := make(chan image.Extent)
	g.Go(func() error {
		defer close(pieces)
		return cut(ctx, src, pieces)
	})
	for range streams {
		g.Go(func() error {
			buf := make([]byte, copyPiece)
			for e := range pieces {
				if err := c.piece(dst, src, e, buf[:e.Length]); err != nil {
					return err
				}
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c.add(src.Size(), 0, true)
	return nil
}

// cut cuts the data of src at multiples of copyPiece.
func cut(ctx context.Context, src image.Image, pieces chan<- image.Extent) error {
	for e, err := range src.Data(ctx) {
		if err != nil {
			return err
		}
		for e.Length > 0 {
			p := image.Extent{Offset: e.Offset, Length: min(e.Length, copyPiece-e.Offset%copyPiece, src.Size()-e.Offset)}
			if p.Length <= 0 {
				return nil
			}
			select {
			case pieces <- p:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			e.Offset, e.Length = p.End(), e.Length-p.Length
		}
	}
	return nil
}

type copying struct {
	report Report

	mu   sync.Mutex // guards the rest
	p    Progress
	told time.Time
}

var zeros [copyHole]byte

func (c *copying) piece(dst image.Target, src image.Image, e image.Extent, buf []byte) error {
	if _, err := src.ReadAt(buf, e.Offset); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	begin := 0 // of what must be written
	for at := 0; at < len(buf); {
		next := min(len(buf), at+copyHole-int((e.Offset+int64(at))%copyHole))
		if bytes.Equal(buf[at:next], zeros[:next-at]) {
			if err := write(dst, buf[begin:at], e.Offset+int64(begin)); err != nil {
				return err
			}
			begin = next
		}
		at = next
	}
	if err := write(dst, buf[begin:], e.Offset+int64(begin)); err != nil {
		return err
	}
	c.add(e.End(), e.Length, false)
	return nil
}

func write(dst image.Target, b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	if _, err := dst.WriteAt(b, off); err != nil {
		return fmt.Errorf("write the restored disk at byte %d: %w", off, err)
	}
	return nil
}

// add notes that everything up to done was looked at; pieces come almost in
// order.
func (c *copying) add(done, read int64, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.p.Done = max(c.p.Done, done)
	c.p.Read += read
	if c.report != nil && (last || time.Since(c.told) >= 250*time.Millisecond) {
		c.told = time.Now()
		c.report(c.p)
	}
}
