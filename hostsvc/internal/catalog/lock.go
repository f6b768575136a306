package catalog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// LockState makes this process the only one on a state directory, until
// release or its end. Held by another: in-use, naming its pid. The file stays
// when the lock goes: removing it would let two processes lock two files.
func LockState(dir string) (release func(), err error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot lock the state directory %s", dir)
	}
	switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		holder := "another process"
		if b, err := io.ReadAll(io.LimitReader(f, 32)); err == nil && strings.TrimSpace(string(b)) != "" {
			holder = "process " + strings.TrimSpace(string(b))
		}
		_ = f.Close()
		return nil, errkind.New(errkind.InUse,
			"the state directory %s is in use by %s: stop it, or give this mooringd a state directory of its own", dir, holder)
	case err != nil:
		_ = f.Close()
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot lock the state directory %s", dir)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	if err != nil {
		_ = f.Close()
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot write to the state directory %s", dir)
	}
	return func() {
		_ = f.Truncate(0)
		_ = f.Close() // ends the lock
	}, nil
}
