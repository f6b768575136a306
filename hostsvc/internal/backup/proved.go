package backup

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// proved is a target that remembers the hash of everything written to it, in
// 40 bytes for each write, so that it can be read back and compared.
type proved struct {
	image.Target
	mu     sync.Mutex // guards writes
	writes []written
}

type written struct {
	image.Extent
	sum [24]byte
}

func hashOf(p []byte) (sum [24]byte) {
	all := sha256.Sum256(p)
	copy(sum[:], all[:])
	return sum
}

// WriteAt implements io.WriterAt.
func (p *proved) WriteAt(b []byte, off int64) (int, error) {
	n, err := p.Target.WriteAt(b, off)
	if err != nil {
		return n, err
	}
	w := written{image.Extent{Offset: off, Length: int64(len(b))}, hashOf(b)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = append(p.writes, w)
	return n, nil
}

// readBack compares what the target holds with what was written. It is called
// when all is written.
func (p *proved) readBack(ctx context.Context) error {
	var buf []byte
	for _, w := range p.writes {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if int64(cap(buf)) < w.Length {
			buf = make([]byte, w.Length)
		}
		b := buf[:w.Length]
		if n, err := p.ReadAt(b, w.Offset); n < len(b) {
			if err == nil || errors.Is(err, io.EOF) {
				err = errkind.New(errkind.Corrupt, "the disk ends at byte %d, behind which something was written", w.Offset+int64(n))
			}
			return err
		}
		if hashOf(b) != w.sum {
			return errkind.New(errkind.Corrupt, "bytes %d to %d of the disk are not what was written there: the storage does not keep it", w.Offset, w.End())
		}
	}
	return nil
}
