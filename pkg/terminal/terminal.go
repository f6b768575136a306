// Package terminal asks a person at a terminal.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
)

// Is reports whether a person may sit at f.
func Is(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// ReadLine reads a line without its end, and no byte more: another question may
// follow. What comes before an error is the line.
func ReadLine(in io.Reader) string {
	var line []byte
	for b := make([]byte, 1); ; {
		n, err := in.Read(b)
		if n == 1 && b[0] != '\n' {
			line = append(line, b[0])
			continue
		}
		if n == 1 || err != nil {
			return string(line)
		}
	}
}

// WaitLine is ReadLine for as long as ctx lasts.
func WaitLine(ctx context.Context, in io.Reader) (string, error) {
	// A read from a terminal cannot be cancelled; the reader ends with the
	// process, or with the line.
	answer := make(chan string, 1)
	go func() { answer <- ReadLine(in) }()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case line := <-answer:
		return line, nil
	}
}

// ReadSecret asks with a prompt on out for a line at the terminal in, which
// does not show. Afterwards the terminal is as it was, also when ctx ends first.
func ReadSecret(ctx context.Context, in, out *os.File, prompt string) (string, error) {
	const what = "the answer cannot be hidden on this terminal: give it in a file"
	fd := int(in.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, what)
	}
	hidden := *was
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, what)
	}
	fmt.Fprint(out, prompt)
	line, err := WaitLine(ctx, in)
	fmt.Fprintln(out)
	return line, errors.Join(err, errkind.Wrap(errkind.Unavailable, unix.IoctlSetTermios(fd, unix.TCSETS, was), "the terminal cannot be set back: run reset"))
}
