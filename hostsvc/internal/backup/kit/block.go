package kit

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
)

func renderBlock(fields []field) string {
	lines := []string{"version: " + version}
	for _, f := range fields {
		if *f.text == "" {
			continue
		}
		for part := range strings.SplitSeq(*f.text, "\n") {
			lines = append(lines, strings.TrimSpace(f.name+": "+quote(part)))
		}
	}
	return begin + "\n" + strings.Join(lines, "\n") + "\nchecksum: " + checksum(lines) + "\n" + end + "\n"
}

// quote leaves a value alone that can be written and read as it is.
func quote(s string) string {
	plain := utf8.ValidString(s) && strings.TrimSpace(s) == s && !strings.HasPrefix(s, `"`)
	for _, r := range s {
		plain = plain && strconv.IsPrint(r)
	}
	if plain {
		return s
	}
	return strconv.Quote(s)
}

// checksum is over the lines without white space at their ends.
func checksum(lines []string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	text := hex.EncodeToString(sum[:8])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}

// parseBlock reads the block of a text into values by name. The error names
// lines of the text.
func parseBlock(text string) (map[string]string, error) {
	var lines []string
	values := map[string]string{}
	inside, closed, sum := false, false, ""
	for i, l := range strings.Split(text, "\n") {
		l = strings.TrimSpace(strings.TrimPrefix(l, "\ufeff"))
		wrong := func(what string) error {
			return errkind.New(errkind.Invalid, "the recovery kit has a mistake in line %d: %s; compare it with the original", i+1, what)
		}
		switch {
		case !inside:
			inside = l == begin
			continue
		case l == end:
			closed = true
		case l == "":
			continue
		}
		if closed {
			break
		}
		name, value, found := strings.Cut(l, ":")
		value = strings.TrimSpace(value)
		switch {
		case !found || name != strings.TrimSpace(name):
			return nil, wrong("it is not name: value")
		case sum != "":
			return nil, wrong("the checksum is the last line")
		case len(lines) == 0 && name != "version":
			return nil, wrong("the first line is the version")
		case len(lines) == 0 && value != version:
			return nil, errkind.New(errkind.Unsupported, "the recovery kit has version %q, this program knows 1: use a newer one", clip(value))
		case name == "checksum":
			sum = value
			continue
		}
		lines = append(lines, strings.TrimSpace(name+": "+value))
		if strings.HasPrefix(value, `"`) {
			unquoted, err := strconv.Unquote(value)
			if err != nil {
				return nil, wrong("the value is not a quoted text")
			}
			value = unquoted
		}
		if before, repeated := values[name]; repeated {
			value = before + "\n" + value
		}
		values[name] = value
	}
	switch {
	case !inside:
		return nil, errkind.New(errkind.Invalid, "this is no recovery kit: it has no line %s", begin)
	case !closed || sum == "":
		return nil, errkind.New(errkind.Invalid, "the recovery kit is cut off: its last lines are the checksum and %s", end)
	case subtle.ConstantTimeCompare([]byte(checksum(lines)), []byte(strings.ToLower(sum))) != 1:
		return nil, errkind.New(errkind.Invalid, "the recovery kit has a typing error: its checksum does not match; compare it with the original, the key above all")
	}
	return values, nil
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
