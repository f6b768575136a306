package imagefs

import (
	"errors"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// xattrs reads the extended attributes of name in a folder, whatever it is,
// also those for capabilities and access control lists. The last step of the
// path is not followed, and is one name.
func xattrs(dir *os.File, name string) ([]record, error) {
	at := "/proc/thread-self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name
	names, err := sized(func(b []byte) (int, error) { return unix.Llistxattr(at, b) })
	if errors.Is(err, unix.ENOTSUP) || len(names) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []record
	for key := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		value, err := sized(func(b []byte) (int, error) { return unix.Lgetxattr(at, key, b) })
		if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
			continue // listed, but not to be had
		}
		if err != nil {
			return nil, err
		}
		all = append(all, record{key, string(value)})
	}
	return all, nil
}

// sized calls fn with a buffer that is large enough.
func sized(fn func([]byte) (int, error)) ([]byte, error) {
	n, err := fn(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	n, err = fn(buf)
	return buf[:max(n, 0)], err
}
