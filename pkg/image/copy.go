package image

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/pkg/errkind"
)

// CopyOptions are the settings of Copy.
type CopyOptions struct {
	Streams int   // pieces worked on at a time; 0: two per processor
	Limit   int64 // bytes per second; 0: no limit
	// Report is told of bytes copied and of how many there are, at most a few
	// times a second, from any goroutine; nil: nobody.
	Report func(done, total int64)
}

const (
	piece  = 1 << 20  // what one worker reads at a time
	grain  = 64 << 10 // runs of zeros of this length are not written
	ticker = 250 * time.Millisecond
)

// zeros is what a run of zeros is compared with.
var zeros [grain]byte

// Copy writes the content of src to dst, which is at least as large and reads
// as zeros: holes and long runs of zeros are not written, so what is sparse
// stays sparse. Memory is Streams pieces of 1 MiB. The first error ends it.
func Copy(ctx context.Context, dst Target, src Image, o CopyOptions) error {
	streams := o.Streams
	if streams <= 0 {
		streams = 2 * runtime.GOMAXPROCS(0)
	}
	total, err := length(ctx, src)
	if err != nil {
		return err
	}
	c := &copying{dst: dst, src: src, total: total, report: o.Report, pace: Pace{Rate: o.Limit}}
	g, ctx := errgroup.WithContext(ctx)
	work := make(chan Extent)
	g.Go(func() error {
		defer close(work)
		for e, err := range src.Data(ctx) {
			if err != nil {
				return err
			}
			for off := e.Offset; off < e.End(); {
				end := min(e.End(), off-off%piece+piece)
				select {
				case work <- Extent{off, end - off}:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
				off = end
			}
		}
		return nil
	})
	for range streams {
		g.Go(func() error {
			buf := make([]byte, piece)
			for e := range work {
				if err := c.one(ctx, e, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if o.Report != nil {
		o.Report(total, total)
	}
	return nil
}

func length(ctx context.Context, src Image) (n int64, err error) {
	for e, err := range src.Data(ctx) {
		if err != nil {
			return 0, err
		}
		n += e.Length
	}
	return n, nil
}

type copying struct {
	dst    Target
	src    Image
	total  int64
	done   atomic.Int64
	pace   Pace
	report func(done, total int64)

	mu   sync.Mutex // guards told
	told time.Time
}

func (c *copying) one(ctx context.Context, e Extent, buf []byte) error {
	if err := c.pace.Wait(ctx, e.Length); err != nil {
		return err
	}
	buf = buf[:e.Length]
	if n, err := c.src.ReadAt(buf, e.Offset); n < len(buf) {
		if err == nil {
			err = errkind.New(errkind.Corrupt, "only %d of %d bytes could be read at byte %d", n, len(buf), e.Offset)
		}
		return err
	}
	for run, err := range nonzero(buf) {
		if err == nil {
			_, err = c.dst.WriteAt(buf[run.Offset:run.End()], e.Offset+run.Offset)
		}
		if err != nil {
			return err
		}
	}
	done := c.done.Add(e.Length)
	if c.report == nil {
		return nil
	}
	c.mu.Lock()
	due := time.Since(c.told) >= ticker
	if due {
		c.told = time.Now()
	}
	c.mu.Unlock()
	if due {
		c.report(done, c.total)
	}
	return nil
}

// nonzero yields the runs of b, cut at multiples of grain, that are not all
// zeros.
func nonzero(b []byte) Extents {
	return func(yield func(Extent, error) bool) {
		from := -1
		for at := 0; at < len(b); at += grain {
			part := b[at:min(at+grain, len(b))]
			if bytes.Equal(part, zeros[:len(part)]) {
				if from >= 0 && !yield(Extent{int64(from), int64(at - from)}, nil) {
					return
				}
				from = -1
			} else if from < 0 {
				from = at
			}
		}
		if from >= 0 {
			yield(Extent{int64(from), int64(len(b) - from)}, nil)
		}
	}
}
