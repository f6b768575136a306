package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// ListenUnix listens on a socket file of the given mode and owner (-1 keeps
// the process's own). A missing folder is made with mode 0755. A socket left
// behind by a dead process is replaced; one on which somebody listens is
// in-use, and a file that is no socket exists: neither is touched. The file
// appears with no right for others before mode and owner are set, and goes
// when the listener is closed.
//
// Two processes must not call it for one path at the same moment: the lock
// on the service's state folder sees to that.
func ListenUnix(ctx context.Context, path string, mode os.FileMode, uid, gid int) (net.Listener, error) {
	if err := checkUnixPath(path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "listen on %s", path)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, err
	}
	// The mode of a socket before bind is that of the file bind makes.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0o600) }); cerr != nil {
			return cerr
		}
		return err
	}}
	l, err := closed.Listen(ctx, "unix", path)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "listen on %s", path)
	}
	ul := l.(*net.UnixListener)
	ul.SetUnlinkOnClose(false) // ours looks before it unlinks
	own, err := claim(path, mode, uid, gid)
	if err != nil {
		return nil, errors.Join(errkind.Wrap(errkind.Unavailable, err, "listen on %s", path), ul.Close(), os.Remove(path))
	}
	return &unixListener{UnixListener: ul, path: path, own: own}, nil
}

func claim(path string, mode os.FileMode, uid, gid int) (os.FileInfo, error) {
	if uid >= 0 || gid >= 0 {
		if err := os.Lchown(path, uid, gid); err != nil {
			return nil, err
		}
	}
	if err := os.Chmod(path, mode); err != nil {
		return nil, err
	}
	return os.Lstat(path)
}

func removeStale(ctx context.Context, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "listen on %s", path)
	}
	if st.Mode().Type() != os.ModeSocket {
		return errkind.New(errkind.Exists, "cannot listen on %s: a file that is not a socket is there; move it away or configure another path", path)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second) // a local connect answers at once
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err == nil {
		return errors.Join(inUse(path), conn.Close())
	}
	if !errors.Is(err, syscall.ECONNREFUSED) { // EAGAIN: a listener with a full queue
		return errkind.Wrap(errkind.InUse, err, "cannot listen on %s: a process seems to listen there", path)
	}
	if err := os.Remove(path); err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "remove the stale socket %s", path)
	}
	return nil
}

func inUse(path string) error {
	return errkind.New(errkind.InUse, "cannot listen on %s: another process listens there; is a second mooringd running?", path)
}

// unixListener unlinks its file at Close, unless somebody has replaced it.
type unixListener struct {
	*net.UnixListener
	path string
	own  os.FileInfo
	once sync.Once
	err  error
}

func (l *unixListener) Close() error {
	l.once.Do(func() {
		if st, err := os.Lstat(l.path); err == nil && os.SameFile(st, l.own) {
			l.err = os.Remove(l.path)
		}
		l.err = errors.Join(l.err, l.UnixListener.Close())
	})
	return l.err
}
