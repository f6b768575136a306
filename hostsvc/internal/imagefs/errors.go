package imagefs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// fail gives an error of the system its kind and its sentence; want says what
// was to be done. An error that has a kind keeps it.
func fail(err error, want string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(want, args...)
	if e, ok := errors.AsType[*errkind.Error](err); ok {
		return errkind.Wrap(e.Kind, err, "%s", what)
	}
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
		return errkind.Wrap(errkind.Quota, err, "%s: there is no room for scratch files; make some and repeat", what)
	case is(unix.EUCLEAN, unix.EBADMSG, unix.EFSBADCRC):
		return errkind.Wrap(errkind.Corrupt, err, "%s: the filesystem in the image is damaged", what)
	case is(unix.EIO):
		return errkind.Wrap(errkind.Corrupt, err, "%s: it cannot be read", what)
	case is(unix.EPERM, unix.EACCES):
		return errkind.Wrap(errkind.Unavailable, err, "%s: this service may not; run it as root, with the right to use loop devices and to mount", what)
	case is(unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN, unix.EINTR):
		return errkind.Wrap(errkind.Unavailable, err, "%s: this machine is short of resources; repeat it", what)
	case is(unix.ENODEV):
		return errkind.Wrap(errkind.Unsupported, err, "%s: this kernel does not know the filesystem; load its module", what)
	case is(fs.ErrNotExist):
		return errkind.Wrap(errkind.NotFound, err, "%s", what)
	case is(fs.ErrClosed):
		return errkind.Wrap(errkind.Unavailable, err, "%s: the recovery point was closed meanwhile; open it again", what)
	}
	return errkind.Wrap(errkind.Internal, err, "%s", what)
}
