// Package imagefs shows what is in images: the files of a recovery point
// (Open), the proof that one can be restored (Drill), and points as disks that
// the local hypervisor plugs in (Views). An image is read where it lies; it is
// neither copied first nor ever changed.
//
//	image ─▶ overlay ─▶ file (FUSE, this process) ─▶ loop device ─▶ mount
//
// The overlay takes what the kernel writes when it replays the journal of a
// filesystem that was not unmounted: a crash-consistent point can be browsed
// like any other. The mounts are read-only, without device nodes, setuid bits
// and programs, and in no mount namespace. Loop devices and scratch files have
// no other keeper than this process. So what a killed process leaves is taken
// away by the kernel; Sweep is for what it may keep all the same, such as a
// replay that was under way.
//
// Loop devices are named "i:<mark of the folder>:<what>".
package imagefs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/imagefs/fuseimg"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Options of Open.
type Options struct {
	// Dir is a private folder for scratch files. It is made when missing. Only
	// one process at a time may use it: see Sweep.
	Dir string
	// Name is for people who look at loop devices, such as the id of the point.
	// What does not fit in 48 bytes is cut off.
	Name string
	// Limit is how many bytes the replay of a journal may write to Dir; 0: no
	// limit.
	Limit int64
}

// FS is the filesystem in an image, mounted read-only. It is safe for
// concurrent use.
type FS struct {
	stack  *stack
	fstype string
	root   *os.Root
	gate   gate // for the calls that run

	mu    sync.Mutex // guards files
	files map[*File]struct{}
}

// Open mounts the filesystem in img: ext4, xfs or btrfs. Without one: invalid,
// and the sentence tells a volume that was never formatted from one that holds
// something else. With one that cannot be mounted: corrupt. From then on img
// belongs to the FS, which closes it; on error it stays the caller's.
func Open(ctx context.Context, img image.Image, o Options) (_ *FS, err error) {
	s, err := newStack(img, o)
	if err != nil {
		return nil, err
	}
	f := &FS{stack: s, files: map[*File]struct{}{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close(context.WithoutCancel(ctx)))
		}
	}()
	sb, err := readSuper(s.over, img.Size())
	if err != nil {
		return nil, err
	}
	f.fstype = sb.Type
	if sb.Type == volspec.Btrfs {
		if err := disguise(s.over, img.Size()); err != nil {
			return nil, err
		}
	}
	if err := s.mountFiles(ctx, sb); err != nil {
		return nil, err
	}
	if f.root, err = os.OpenRoot("/proc/thread-self/fd/" + strconv.Itoa(int(s.tree.Fd()))); err != nil {
		return nil, fail(err, "opening the root folder of the filesystem")
	}
	return f, nil
}

// Type is that of the filesystem.
func (f *FS) Type() string { return f.fstype }

// Damaged are the ranges of the image that could not be read so far, and the
// first error; nil when everything could. It explains errors of kind corrupt.
func (f *FS) Damaged() ([]image.Extent, error) {
	return f.stack.damage.Ranges(), f.stack.damage.Err()
}

// Close waits for the calls that run, closes the files that are open, and
// takes everything down. Again: nil.
func (f *FS) Close(ctx context.Context) error {
	if !f.gate.close() {
		return nil
	}
	f.mu.Lock()
	open := f.files
	f.files = nil
	f.mu.Unlock()
	for file := range open {
		_ = file.f.Close() // only read
	}
	_ = f.root.Close()
	return errors.Join(f.stack.close(context.WithoutCancel(ctx)), f.stack.img.Close())
}

// use keeps the FS open until done is called.
func (f *FS) use() (done func(), err error) {
	if !f.gate.enter() {
		return nil, errkind.New(errkind.Unavailable, "the recovery point was closed meanwhile: open it again")
	}
	return f.gate.leave, nil
}

// stack is what lies between an image and the files in it, from the image up.
type stack struct {
	img    image.Image
	dir    string
	label  string
	damage fuseimg.Damage
	over   *fuseimg.Overlay
	srv    *fuseimg.Server
	loop   *loop
	tree   *os.File // root of the mount
}

const fileName = "image"

func newStack(img image.Image, o Options) (*stack, error) {
	dir, err := private(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &stack{img: img, dir: dir, label: labelOf(dir, o.Name)}
	s.over = fuseimg.NewOverlay(img, dir, o.Limit)
	if s.srv, err = fuseimg.Mount(fuseimg.Options{Name: "mooring-image"}); err != nil {
		return nil, err
	}
	s.srv.Put(fileName, fuseimg.Fixed(s.over, &s.damage))
	return s, nil
}

// private makes a folder for us alone.
func private(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	return dir, fail(err, "making the folder %s for scratch files", dir)
}

// mountFiles mounts the filesystem for reading, on a device that cannot be
// written to. Whether the journal of an xfs filesystem has to be replayed before
// is found out by trying.
func (s *stack) mountFiles(ctx context.Context, sb super) error {
	replayed := sb.Dirty
	if replayed {
		if err := s.replay(ctx, sb.Type); err != nil {
			return err
		}
	}
	err := s.mountOn(sb.Type)
	if !replayed && readOnlyDevice(err) {
		if err = s.unmount(ctx); err == nil {
			err = s.replay(ctx, sb.Type)
		}
		if err != nil {
			return err
		}
		err = s.mountOn(sb.Type)
	}
	return s.explain(err, "mounting the %s filesystem", sb.Type)
}

// mountOn makes the loop device and mounts it.
func (s *stack) mountOn(fstype string) error {
	if err := s.plug(false); err != nil {
		return err
	}
	var err error
	s.tree, err = mount(s.loop.path(), fstype, true)
	return err
}

func (s *stack) plug(writable bool) error {
	mode := os.O_RDONLY
	if writable {
		mode = os.O_RDWR
	}
	file, err := s.srv.Open(fileName, mode)
	if err != nil {
		return err
	}
	defer file.Close()
	s.loop, err = bind(file, !writable, s.label)
	return fail(err, "making a loop device")
}

// unmount undoes mountOn, as far as it came.
func (s *stack) unmount(ctx context.Context) error {
	var err error
	if s.tree != nil {
		err = s.tree.Close()
		s.tree = nil
	}
	if s.loop != nil {
		err = errors.Join(err, s.loop.release(ctx))
		s.loop = nil
	}
	return err
}

// close takes down everything but the image. If the kernel does not let go of
// the loop device, the file under it is served on, for as long as that lasts.
func (s *stack) close(ctx context.Context) error {
	if err := s.unmount(ctx); err != nil {
		return err
	}
	return errors.Join(s.srv.Close(), s.over.Close())
}

// explain gives an error of the kernel its kind. If the image could not be
// read, that is the reason, whatever the kernel made of it.
func (s *stack) explain(err error, want string, args ...any) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err
	}
	cause := s.damage.Err()
	for _, other := range []error{context.Canceled, context.DeadlineExceeded, os.ErrNotExist, os.ErrClosed, unix.ENOSPC, unix.EROFS, unix.ENODEV} {
		if errors.Is(err, other) {
			cause = nil
		}
	}
	if cause == nil {
		return fail(err, want, args...)
	}
	kind := errkind.Corrupt
	if _, ok := errors.AsType[*errkind.Error](cause); ok {
		kind = errkind.Of(cause)
	}
	return errkind.Wrap(kind, fmt.Errorf("%w (%w)", cause, err), want, args...)
}
