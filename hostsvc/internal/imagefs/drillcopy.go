package imagefs

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// drillBlock is what is copied, hashed and compared at a time. A drill
// remembers 32 bytes for each.
const drillBlock = 1 << 20

type block struct {
	image.Extent
	sum [16]byte
}

// parallel works on blocks, several at a time.
func (d *drill) parallel(ctx context.Context, blocks func(yield func(block) error) error, work func(block, []byte) error) error {
	g, ctx := errgroup.WithContext(ctx)
	todo := make(chan block)
	g.Go(func() error {
		defer close(todo)
		return blocks(func(b block) error {
			select {
			case todo <- b:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	for range d.o.Streams {
		g.Go(func() error {
			buf := make([]byte, drillBlock)
			for b := range todo {
				if err := work(b, buf[:b.Length]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// restore copies what is not a hole to the scratch file.
func (d *drill) restore(ctx context.Context) (string, error) {
	f, err := os.CreateTemp(d.dir, drillPrefix+"*.img")
	if err != nil {
		return "", fail(err, "making a scratch file")
	}
	d.file = f
	if err := f.Truncate(d.img.Size()); err != nil {
		return "", fail(err, "making a scratch file of %s", volspec.Size(d.img.Size()))
	}
	var mu sync.Mutex // guards d.blocks
	var done atomic.Int64
	var damage fuseimg.Damage
	cut := func(yield func(block) error) error {
		for e, err := range d.img.Data(ctx) {
			if err != nil {
				return fail(err, "reading which parts of the image hold data")
			}
			for at := e.Offset; at < e.End(); {
				n := min(drillBlock-at%drillBlock, e.End()-at)
				if err := yield(block{Extent: image.Extent{Offset: at, Length: n}}); err != nil {
					return err
				}
				at += n
			}
		}
		return nil
	}
	err = d.parallel(ctx, cut, func(b block, buf []byte) error {
		if n, err := d.img.ReadAt(buf, b.Offset); n < len(buf) {
			damage.Add(b.Extent, err)
			return fail(err, "reading bytes %d to %d of the point", b.Offset, b.End())
		}
		b.sum = sumOfBlock(buf)
		if err := writeSparse(f, buf, b.Offset); err != nil {
			return fail(err, "writing the scratch file")
		}
		mu.Lock()
		d.blocks = append(d.blocks, b)
		mu.Unlock()
		d.pace.at(done.Add(b.Length), d.total)
		return nil
	})
	d.report.Restored, d.report.Lost = done.Load(), damage.Ranges()
	if err == nil {
		err = fail(f.Sync(), "writing the scratch file")
	}
	return volspec.Size(done.Load()).String(), err
}

var zeros [64 << 10]byte

// writeSparse leaves out what is zero anyway.
func writeSparse(f *os.File, b []byte, at int64) error {
	for len(b) > 0 {
		n := min(len(zeros), len(b))
		if !bytes.Equal(b[:n], zeros[:n]) {
			if _, err := f.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		b, at = b[n:], at+int64(n)
	}
	return nil
}

func sumOfBlock(b []byte) (sum [16]byte) {
	full := sha256.Sum256(b)
	copy(sum[:], full[:])
	return sum
}

// compare reads the scratch file from its disk and compares it with what was
// read of the image. What is outside the blocks was never written.
func (d *drill) compare(ctx context.Context) (string, error) {
	if err := unix.Fadvise(int(d.file.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return "", fail(err, "reading the scratch file back")
	}
	var done atomic.Int64
	all := func(yield func(block) error) error {
		for _, b := range d.blocks {
			if err := yield(b); err != nil {
				return err
			}
		}
		return nil
	}
	err := d.parallel(ctx, all, func(b block, buf []byte) error {
		if n, err := d.file.ReadAt(buf, b.Offset); n < len(buf) {
			return fail(err, "reading the scratch file back")
		}
		if sumOfBlock(buf) != b.sum {
			return errkind.New(errkind.Corrupt, "bytes %d to %d are not what was restored: the disk below %s does not keep what is written to it", b.Offset, b.End(), d.dir)
		}
		d.pace.at(done.Add(b.Length), d.total)
		return nil
	})
	d.blocks = nil
	d.report.Compared = done.Load()
	return fmt.Sprintf("%s equal by SHA-256", volspec.Size(done.Load())), err
}

// freeIn is the room for ordinary users of a folder.
func freeIn(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// pace reports progress at most four times a second.
type pace struct {
	mu     sync.Mutex // guards the rest
	report func(DrillProgress)
	step   string
	next   time.Time
}

func (p *pace) begin(report func(DrillProgress), step string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report, p.step, p.next = report, step, time.Time{}
	if report != nil {
		report(DrillProgress{Step: step})
	}
}

func (p *pace) at(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); p.report != nil && (now.After(p.next) || done == total) {
		p.next = now.Add(250 * time.Millisecond)
		p.report(DrillProgress{p.step, done, total})
	}
}
