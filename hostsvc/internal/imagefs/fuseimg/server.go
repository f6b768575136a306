// Package fuseimg shows images as regular files, so that the kernel can put
// loop devices on them, without copying anything first. An Overlay in front of
// an image takes writes that must not reach it.
//
// The files are served by this process (FUSE) and end with it: after that
// every read fails, and nothing is left behind but a mount at Options.Path.
// Without a path the mount is in no mount namespace at all: nobody finds it,
// no other namespace copies it, and it vanishes with its last user.
package fuseimg

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// maxRead is the largest request that the kernel may send. With maxBusy it
// bounds the memory of a server.
const (
	maxRead       = 1 << 20
	maxBackground = 12
)

// Options of a mount.
type Options struct {
	// Path is the folder to mount on; "": none, see the package.
	Path string
	// ReadOnly makes the whole mount read-only, also in the words of statfs(2).
	ReadOnly bool
	// Name is what the mount table shows as the type, after "fuse.".
	Name string
}

// Server is a mounted tree of files. It is safe for concurrent use.
type Server struct {
	path string
	root *node
	tree *os.File // the root of the mount
	wait sync.WaitGroup
	once sync.Once
	err  error
}

// Mount mounts an empty tree and serves it until Close. Where FUSE is
// missing: unsupported.
func Mount(o Options) (*Server, error) {
	if err := haveFUSE(); err != nil {
		return nil, errkind.Wrap(errkind.Unsupported, err, "showing an image as a file needs FUSE: load the kernel module fuse, and give this service /dev/fuse")
	}
	s := &Server{path: o.Path, root: &node{}}
	if err := s.mount(o); err != nil {
		s.wait.Wait()
		return nil, errkind.Wrap(errkind.Unavailable, err, "mounting a FUSE file system: this service must be root in a kernel of version 5.4 or newer")
	}
	if err := s.noPoll(); err != nil {
		return nil, errors.Join(errkind.Wrap(errkind.Unavailable, err, "serving a FUSE file system"), s.Close())
	}
	return s, nil
}

// protocol answers the requests.
func (s *Server) protocol(name string) *fuse.ProtocolServer {
	forever := 365 * 24 * time.Hour
	raw := fs.NewNodeFS(s.root, &fs.Options{
		RootStableAttr: &fs.StableAttr{Ino: 1, Mode: fuse.S_IFDIR},
		// What is known of a file once stays true, and the kernel still knows it
		// when this process is dead: otherwise nobody could even ask a loop device
		// on it what it is.
		AttrTimeout: &forever,
	})
	return fuse.NewProtocolServer(raw, &fuse.MountOptions{
		Name: name, MaxWrite: maxRead, MaxBackground: maxBackground, DisableXAttrs: true, DisableReadDirPlus: true,
	})
}

// mount makes the mount and has it served.
func (s *Server) mount(o Options) error {
	ctx, err := unix.Fsopen("fuse", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(ctx) }()
	for _, kv := range [][2]string{
		{"source", "mooring"}, {"subtype", o.Name}, {"rootmode", "40000"},
		{"user_id", "0"}, {"group_id", "0"}, {"max_read", strconv.Itoa(maxRead)},
	} {
		if err := unix.FsconfigSetString(ctx, kv[0], kv[1]); err != nil {
			return fmt.Errorf("option %s: %w", kv[0], err)
		}
	}
	w, err := newWire(s.protocol(o.Name))
	if err != nil {
		return err
	}
	ready := make(chan error, 1)
	s.wait.Go(func() { w.serve(ctx, ready) })
	if err := <-ready; err != nil {
		return err
	}
	attr := unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	if o.ReadOnly {
		attr |= unix.MOUNT_ATTR_RDONLY
	}
	fd, err := unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, attr)
	if err != nil {
		return err
	}
	s.tree = os.NewFile(uintptr(fd), "fuse root")
	if o.Path != "" {
		if err := unix.MoveMount(fd, "", unix.AT_FDCWD, o.Path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return errors.Join(fmt.Errorf("on %s: %w", o.Path, err), s.tree.Close())
		}
	}
	return nil
}

// noPoll lets the kernel learn that the files cannot be polled. Go's runtime
// polls what it opens while it keeps a processor, which must not be the one
// that has to answer; see go-fuse, fuse/poll.go.
func (s *Server) noPoll() error {
	fd, err := unix.Openat(int(s.tree.Fd()), ".go-fuse-epoll-hack", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	_, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	if errors.Is(err, unix.EINTR) {
		return nil
	}
	return err
}

// Open opens a file of the tree; flags are those of open(2).
func (s *Server) Open(path string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(s.tree.Fd()), path, flags|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

// Put adds a file; folders on the way are made. A file that is there is
// replaced; who has it open keeps it.
func (s *Server) Put(path string, f *File) {
	parts := strings.Split(path, "/")
	at := s.root
	for _, name := range parts[:len(parts)-1] {
		at = at.sub(name)
	}
	at.put(parts[len(parts)-1], &node{file: f})
}

// Dir adds an empty folder, unless it is there.
func (s *Server) Dir(path string) {
	at := s.root
	for name := range strings.SplitSeq(path, "/") {
		at = at.sub(name)
	}
}

// Remove takes a file or an empty folder away. Absent: nothing happens.
func (s *Server) Remove(path string) {
	parts := strings.Split(path, "/")
	at := s.root
	for _, name := range parts[:len(parts)-1] {
		child := at.GetChild(name)
		if child == nil {
			return
		}
		at = child.Operations().(*node)
	}
	last := parts[len(parts)-1]
	if child := at.GetChild(last); child != nil && len(child.Children()) == 0 {
		at.RmChild(last)
	}
}

// Close unmounts and waits until nothing is served any more. A mount without
// a path is served as long as somebody has a file of it open, such as a loop
// device; one with a path is torn off its users, who read errors from then on.
// Again: the same result.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.err = s.unmount()
		s.wait.Wait()
	})
	return s.err
}

func (s *Server) unmount() error {
	var err error
	if s.path != "" {
		err = unix.Unmount(s.path, unix.MNT_FORCE|unix.MNT_DETACH)
		if errors.Is(err, unix.EINVAL) { // somebody unmounted it
			err = nil
		}
	}
	return errors.Join(err, s.tree.Close())
}

// Done ends when the kernel has let go of the mount, whoever caused it.
func (s *Server) Done() { s.wait.Wait() }

// started is the time that files show.
var started = time.Now()

func errno(err error) syscall.Errno {
	if e, ok := errors.AsType[syscall.Errno](err); ok && (e == unix.ENOSPC || e == unix.EDQUOT) {
		return e
	}
	return syscall.EIO
}
