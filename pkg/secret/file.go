package secret

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"mooring.dev/mooring/pkg/errkind"
)

// maxFile bounds a file of secrets, in bytes.
const maxFile = 64 << 10

// ReadFile reads a file that holds a secret; what says which, for the
// sentences of errors ("the password of the mail server"). The file must be a
// regular one that only its owner may read or change; in the folder of the
// service manager's credentials its group may read it as well. Absent:
// not-found. Loose permissions, emptiness, and more than 64 KiB: invalid.
// Errors never hold what is in it.
func ReadFile(path, what string) (Text, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not keep us waiting
	if errors.Is(err, fs.ErrNotExist) {
		return Text{}, errkind.New(errkind.NotFound, "%s cannot be read: there is no file %s: write it there, readable for its owner only", what, path)
	}
	if err != nil {
		return Text{}, errkind.Wrap(errkind.Unavailable, err, "%s cannot be read", what)
	}
	defer f.Close()
	if err := CheckFile(f, what); err != nil {
		return Text{}, err
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Text{}, errkind.Wrap(errkind.Unavailable, err, "%s cannot be read", what)
	}
	if len(b) > maxFile {
		return Text{}, errkind.New(errkind.Invalid, "%s cannot be read: %s is larger than 64 KiB: check that it is the right file", what, path)
	}
	if strings.TrimSpace(string(b)) == "" {
		return Text{}, errkind.New(errkind.Invalid, "%s cannot be read: %s is empty: write it there", what, path)
	}
	return New(string(b)), nil
}

// ReadLine is ReadFile for a secret of one line: the end of the line does not
// belong to it. More lines are invalid.
func ReadLine(path, what string) (Text, error) {
	t, err := ReadFile(path, what)
	if err != nil {
		return Text{}, err
	}
	line := strings.TrimRight(t.Reveal(), "\r\n")
	if strings.ContainsAny(line, "\r\n\x00") {
		return Text{}, errkind.New(errkind.Invalid, "%s cannot be read: %s has more than one line: write the secret alone there", what, path)
	}
	return New(line), nil
}

// CheckFile refuses an open file that others than its owner can use.
func CheckFile(f *os.File, what string) error {
	st, err := f.Stat()
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "%s cannot be read", what)
	}
	if !st.Mode().IsRegular() {
		return errkind.New(errkind.Invalid, "%s cannot be read: %s is not a regular file: name a file", what, f.Name())
	}
	loose := os.FileMode(0o077)
	if IsCredential(f.Name()) {
		loose = 0o037
	}
	if st.Mode().Perm()&loose != 0 {
		return errkind.New(errkind.Invalid, "%s is not used: %s is open to others than its owner (mode %04o): run chmod 0600 on it", what, f.Name(), st.Mode().Perm())
	}
	return nil
}

// IsCredential reports whether path lies in the folder in which the service
// manager hands over credentials.
func IsCredential(path string) bool {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	return dir != "" && filepath.Dir(filepath.Clean(path)) == filepath.Clean(dir)
}
