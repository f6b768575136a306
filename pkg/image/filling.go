package image

import (
	"io"
	"sync"

	"mooring.dev/mooring/pkg/errkind"
)

// Filling is the part that all targets over files share: nothing beyond their
// size is reached, and nothing at all once the filling has ended. Its methods
// are safe for concurrent use.
type Filling struct {
	what string
	size int64

	mu   sync.RWMutex // held for reading while the file is used
	over bool         // guarded by mu
}

// NewFilling is of what, in the words of messages, which has that many bytes.
func NewFilling(what string, size int64) *Filling { return &Filling{what: what, size: size} }

// What is what is filled, in words.
func (f *Filling) What() string { return f.what }

// Size is how many bytes it has.
func (f *Filling) Size() int64 { return f.size }

// End waits for what still runs, and lets nothing new begin.
func (f *Filling) End() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.over = true
}

// Use does something with n bytes at off. Outside the size: invalid. After End:
// internal.
func (f *Filling) Use(off, n int64, do func() error) error {
	if off < 0 || n < 0 || off > f.size-n {
		return errkind.New(errkind.Invalid, "%d bytes at %d are not within the %d bytes of %s", n, off, f.size, f.what)
	}
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.over {
		return errkind.New(errkind.Internal, "%s is not being filled any more", f.what)
	}
	return do()
}

// Read is Use for an io.ReaderAt: it reads up to the end.
func (f *Filling) Read(p []byte, off int64, read func(p []byte, off int64) (int, error)) (n int, err error) {
	want := len(p)
	if off >= f.size && want > 0 {
		return 0, io.EOF
	}
	if off >= 0 {
		p = p[:max(0, min(int64(want), f.size-off))]
	}
	err = f.Use(off, int64(len(p)), func() error {
		var err error
		n, err = read(p, off)
		return err
	})
	if err == nil && n < want {
		err = io.EOF
	}
	return n, err
}
