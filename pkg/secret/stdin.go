package secret

import (
	"io"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// ReadLineOr is ReadLine for a file that somebody names; "-" is standard input,
// in.
func ReadLineOr(path string, in io.Reader, what string) (Text, error) {
	if path != "-" {
		return ReadLine(path, what)
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return Text{}, errkind.Wrap(errkind.Unavailable, err, "%s cannot be read", what)
	}
	line := strings.TrimRight(string(text), "\r\n")
	if line == "" || len(line) > maxFile || strings.ContainsAny(line, "\r\n\x00") {
		return Text{}, errkind.New(errkind.Invalid, "%s is not one line: give it alone on standard input", what)
	}
	return New(line), nil
}
