package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// fail gives an error of the system its kind and its sentence; want says what
// was to be done. An error that has a kind already is left alone.
func fail(err error, want string, args ...any) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*errkind.Error](err); ok {
		return err
	}
	what := fmt.Sprintf(want, args...)
	is := func(list ...error) bool {
		for _, e := range list {
			if errors.Is(err, e) {
				return true
			}
		}
		return false
	}
	switch {
	case is(context.Canceled, context.DeadlineExceeded):
		return errkind.Wrap(errkind.Unavailable, err, "%s was interrupted: repeat it", what)
	case is(unix.ENOSPC, unix.EDQUOT):
		return errkind.Wrap(errkind.Quota, err, "%s: the datastore has no room; remove volumes or use another datastore", what)
	case is(unix.EFBIG):
		return errkind.Wrap(errkind.Quota, err, "%s: the file system of the datastore holds no file of that size; use another datastore", what)
	case is(unix.EROFS):
		return errkind.Wrap(errkind.Unavailable, err, "%s: the file system of the datastore is read-only; make it writable and repeat", what)
	case is(unix.EIO, unix.ESTALE, unix.ENODEV, unix.ENXIO, unix.ESHUTDOWN, unix.EHOSTDOWN):
		return errkind.Wrap(errkind.Unavailable, err, "%s: the storage below does not answer; repair it and repeat", what)
	case is(unix.EPERM, unix.EACCES):
		return errkind.Wrap(errkind.Unavailable, err, "%s: this service may not; run it as root, with the right to use loop devices", what)
	case is(unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN, unix.EINTR):
		return errkind.Wrap(errkind.Unavailable, err, "%s: this machine is short of resources; repeat it", what)
	case is(unix.EISDIR, unix.ENOTDIR, unix.ELOOP):
		return errkind.Wrap(errkind.Corrupt, err, "%s: something on the datastore is of the wrong kind; see there", what)
	case is(fs.ErrNotExist):
		return errkind.Wrap(errkind.Unavailable, err, "%s: something it needs has vanished meanwhile; repeat it", what)
	}
	return errkind.Wrap(errkind.Internal, err, "%s", what)
}

// ended is the error of a context that has ended, nil before.
func ended(ctx context.Context, want string, args ...any) error {
	return fail(ctx.Err(), want, args...)
}
