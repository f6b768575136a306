package imagefs

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// view is one point shown as a disk. It opens its image once.
type view struct {
	key    ViewKey
	dir    string
	open   func(context.Context) (image.Image, error)
	damage fuseimg.Damage
	gate   gate

	mu      sync.Mutex // guards the rest
	opening chan struct{}
	cancel  func() // of the opening, while there is one
	ended   bool
	img     image.Image
	over    *fuseimg.Overlay // nil: the image is shown as it is
	err     error
	failed  time.Time
}

const (
	openLimit = 2 * time.Minute // for opening an image and replaying its journal
	openAgain = 5 * time.Second // after it failed
)

func (v *view) file() *fuseimg.File {
	return &fuseimg.File{Open: v.content, Damage: &v.damage}
}

// content is what the file shows. The first caller opens it, the others wait.
func (v *view) content(ctx context.Context) (fuseimg.Content, error) {
	if !v.gate.enter() {
		return nil, os.ErrClosed
	}
	defer v.gate.leave()
	for {
		v.mu.Lock()
		switch {
		case v.img != nil:
			defer v.mu.Unlock()
			return shown{v}, nil
		case v.err != nil && time.Since(v.failed) < openAgain:
			defer v.mu.Unlock()
			return nil, v.err
		case v.opening == nil:
			v.opening = make(chan struct{})
			v.mu.Unlock()
			v.load(ctx)
		default:
			wait := v.opening
			v.mu.Unlock()
			<-wait
		}
	}
}

func (v *view) load(ctx context.Context) {
	ctx, cancel := context.WithTimeout(log.With(ctx, log.Volume, string(v.key.Volume)), openLimit)
	defer cancel()
	v.mu.Lock()
	v.cancel = cancel
	if v.ended {
		cancel()
	}
	v.mu.Unlock()
	img, err := v.open(ctx)
	var over *fuseimg.Overlay
	if err == nil {
		if over, err = v.settle(ctx, img); err != nil {
			err = errors.Join(err, img.Close())
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.err, v.failed = err, time.Now(); err == nil {
		v.img, v.over = img, over
	} else {
		log.G(ctx).WithField(log.Err, err.Error()).Error("recovery point cannot be shown as a disk: reads of it fail")
	}
	close(v.opening)
	v.opening, v.cancel = nil, nil
}

// end lets an opening that is under way give up.
func (v *view) end() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.ended = true
	if v.cancel != nil {
		v.cancel()
	}
}

// settle replays the journal beside the image if it is not empty. A disk
// without a filesystem, or with one that does not mount, is shown as it is:
// the guest will say what it thinks of it.
func (v *view) settle(ctx context.Context, img image.Image) (*fuseimg.Overlay, error) {
	sb, err := readSuper(img, img.Size())
	if errkind.Is(err, errkind.Invalid) || (err == nil && !sb.Dirty && sb.Type != volspec.XFS) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	over, err := settled(ctx, img, sb, Options{Dir: v.dir, Name: string(v.key.Volume)})
	if err != nil && ctx.Err() == nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("journal of a recovery point could not be replayed: it is shown without")
		return nil, nil
	}
	return over, err
}

// settled replays the journal of an image into an overlay, which is what is
// returned; nil when nothing had to be written.
func settled(ctx context.Context, img image.Image, sb super, o Options) (_ *fuseimg.Overlay, err error) {
	s, err := newStack(img, o)
	if err != nil {
		return nil, err
	}
	down := func() error { return errors.Join(s.unmount(context.WithoutCancel(ctx)), s.srv.Close()) }
	var before []byte
	if sb.Type == volspec.Btrfs {
		if before, err = readBtrfsSuper(img); err == nil {
			err = disguise(s.over, img.Size())
		}
	}
	if err == nil {
		err = s.mountFiles(ctx, sb)
	}
	if err = errors.Join(err, down()); err == nil && before != nil {
		err = reveal(s.over, img.Size(), before)
	}
	if err != nil || s.over.Used() == 0 {
		return nil, errors.Join(err, s.over.Close())
	}
	return s.over, nil
}

// close ends the view when nobody reads any more.
func (v *view) close() error {
	v.end()
	if !v.gate.close() {
		return nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var err error
	if v.over != nil {
		err = v.over.Close()
	}
	if v.img != nil {
		err = errors.Join(err, v.img.Close())
	}
	return err
}

// shown is the content of an open view.
type shown struct{ v *view }

func (s shown) Size() int64 { return s.v.img.Size() }

func (s shown) ReadAt(p []byte, off int64) (int, error) {
	if !s.v.gate.enter() {
		return 0, os.ErrClosed
	}
	defer s.v.gate.leave()
	if s.v.over != nil {
		return s.v.over.ReadAt(p, off)
	}
	return s.v.img.ReadAt(p, off)
}
