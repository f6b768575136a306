package fuseimg

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// wire is the connection to the kernel. It is served by a thread that has a
// table of open files of its own, and the kernel's device is in no other.
//
// Why: threads of this process read the files that this process serves, and the
// kernel lets them wait where no signal reaches them. If the process is killed
// then, such a thread lives until its read is answered; and if it shared the
// device, the kernel would not learn that nobody will ever answer: the process
// would hang for ever, with all its locks. So the device dies with the thread
// that serves it, which waits for nothing else.
type wire struct {
	ps    *fuse.ProtocolServer
	event int // an eventfd: there are replies

	work sync.WaitGroup // requests that are being answered

	mu      sync.Mutex // guards the rest
	replies [][]byte
	busy    int
}

// maxBusy is how many requests are answered at a time. The others wait in the
// kernel.
const maxBusy = 32

func newWire(ps *fuse.ProtocolServer) (*wire, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	return &wire{ps: ps, event: fd}, err
}

// serve blocks until the kernel has ended the connection. ctx is a file system
// context, see fsopen(2), which serve gives its device and creates; the result
// of that goes to ready.
func (w *wire) serve(ctx int, ready chan<- error) {
	defer func() { _ = unix.Close(w.event) }() // after the thread below has ended
	ownThread(func() {
		dev, err := w.connect(ctx)
		ready <- err
		if err == nil {
			w.loop(dev)
		}
	})
	w.work.Wait()
}

// ownThread runs fn on a thread that nothing else has run on since, and that
// ends with it. It is never the first thread of the process: what /proc/self
// shows of open files is that one's table.
func ownThread(fn func()) {
	var wait sync.WaitGroup
	wait.Go(func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			fn()
			return // still locked: the thread ends, and its table with it
		}
		ownThread(fn) // elsewhere: this thread is taken
		runtime.UnlockOSThread()
	})
	wait.Wait()
}

// connect runs on the thread of its own. From here on, only plain system calls
// may be used there: the numbers of files are not those of the process.
func (w *wire) connect(ctx int) (dev int, err error) {
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return 0, fmt.Errorf("a table of open files for one thread: %w", err)
	}
	if err := closeOthers(ctx, w.event); err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(ctx) }()
	if dev, err = unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
		return 0, err
	}
	if err := unix.FsconfigSetString(ctx, "fd", strconv.Itoa(dev)); err != nil {
		return 0, err
	}
	return dev, unix.FsconfigCreate(ctx)
}

// closeOthers closes what this thread got a copy of, but for the standard
// files, what the runtime waits with, and the ones to keep.
func closeOthers(keep ...int) error {
	dir, err := unix.Open("/proc/thread-self/fd", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	var names []string
	buf := make([]byte, 1<<14)
	for {
		n, err := unix.ReadDirent(dir, buf)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		_, _, names = unix.ParseDirent(buf[:n], -1, names)
	}
	link := make([]byte, 64)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 || fd == dir {
			continue
		}
		n, err := unix.Readlinkat(dir, name, link)
		kept := err != nil || strings.HasPrefix(string(link[:n]), "anon_inode:[event")
		for _, k := range keep {
			kept = kept || fd == k
		}
		if !kept {
			_ = unix.Close(fd) // a copy: the original says what closing says
		}
	}
	return unix.Close(dir)
}

// loop reads requests and writes replies until the kernel has had enough.
func (w *wire) loop(dev int) {
	defer func() { _ = unix.Close(dev) }()
	buf := make([]byte, maxRead+8192)
	for {
		wait := []unix.PollFd{{Fd: int32(w.event), Events: unix.POLLIN}, {Fd: int32(dev), Events: unix.POLLIN}}
		if w.full() {
			wait[1].Events = 0
		}
		if _, err := unix.Poll(wait, -1); err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
		w.write(dev)
		for !w.full() {
			n, err := unix.Read(dev, buf)
			if errors.Is(err, unix.EINTR) || errors.Is(err, unix.ENOENT) { // a request that was taken back
				continue
			}
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil || n == 0 { // ENODEV: unmounted
				return
			}
			w.start(buf[:n])
		}
		if wait[1].Revents&(unix.POLLERR|unix.POLLNVAL) != 0 {
			return
		}
	}
}

func (w *wire) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy >= maxBusy
}

// write hands over the replies that are ready.
func (w *wire) write(dev int) {
	var count [8]byte
	_, _ = unix.Read(w.event, count[:]) // nothing there: EAGAIN
	w.mu.Lock()
	replies := w.replies
	w.replies = nil
	w.mu.Unlock()
	for _, r := range replies {
		_, _ = unix.Write(dev, r) // ENOENT: nobody waits for it any more
	}
}

// start answers a request elsewhere.
func (w *wire) start(request []byte) {
	in := append([]byte(nil), request...)
	w.mu.Lock()
	w.busy++
	w.mu.Unlock()
	w.work.Go(func() {
		out := make([]byte, replySize(in))
		n, status := w.ps.HandleRequest([][]byte{in}, [][]byte{out})
		if !status.Ok() {
			n = refuse(out, in, status)
		}
		w.mu.Lock()
		w.busy--
		if n > 0 {
			w.replies = append(w.replies, out[:n])
		}
		w.mu.Unlock()
		one := [8]byte{1}
		_, _ = unix.Write(w.event, one[:])
	})
}

// The layout of requests, see linux/fuse.h: a header of 40 bytes with length,
// opcode and number; read requests have the size at 16 behind it.
const (
	headerLen               = 40
	opRead, opReaddir, opRP = 15, 28, 44
)

// replySize is enough for the answer to a request.
func replySize(in []byte) int {
	const others = 70 << 10 // an extended attribute has 64 KiB at most
	if len(in) < headerLen+20 {
		return others
	}
	switch binary.NativeEndian.Uint32(in[4:]) {
	case opRead, opReaddir, opRP:
		return 4096 + int(min(binary.NativeEndian.Uint32(in[headerLen+16:]), maxRead))
	}
	return others
}

// refuse answers a request that was not understood.
func refuse(out, in []byte, status fuse.Status) int {
	if len(in) < headerLen {
		return 0
	}
	binary.NativeEndian.PutUint32(out, 16)
	binary.NativeEndian.PutUint32(out[4:], uint32(-int32(status)))
	copy(out[8:16], in[8:16])
	return 16
}

// haveFUSE reports whether the kernel has FUSE.
func haveFUSE() error {
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return f.Close()
}
