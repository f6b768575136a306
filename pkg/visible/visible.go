// Package visible is the one rule about characters that do something to the
// text around them instead of being read: names are refused for them, and what
// is shown of others shows them by number.
package visible

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// The joiners that words of some languages and pictures are written with.
const (
	nonJoiner = '\u200c'
	joiner    = '\u200d'
)

// Hidden reports whether r steers or hides: control characters, ends of lines,
// marks of direction, marks without width, and invisible copies of letters.
func Hidden(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || unicode.Is(unicode.Cf, r)
}

// HiddenInText is Hidden for text that people write in their language: joiners
// are part of that.
func HiddenInText(r rune) bool { return Hidden(r) && r != nonJoiner && r != joiner }

// Text writes by number what is hidden in sentences that quote the words of
// others. Its lines stay.
func Text(s string) string {
	return Numbered(s, func(r rune) bool { return r != '\n' && Hidden(r) })
}

// Numbered is s with its characters that are bad written by number, as Go writes
// them.
func Numbered(s string, bad func(rune) bool) string {
	if !strings.ContainsFunc(s, bad) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if bad(r) {
			q := fmt.Sprintf("%+q", r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// JSON writes by number what is hidden in a JSON text, whose value stays the
// same. Blanks and line ends between its words stay too.
func JSON(text []byte) []byte {
	if !strings.ContainsFunc(string(text), hiddenInside) {
		return text
	}
	out := make([]byte, 0, len(text)+16)
	for _, r := range string(text) {
		switch {
		case !hiddenInside(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// hiddenInside is what JSON allows to stand in a string as it is.
func hiddenInside(r rune) bool { return r >= ' ' && Hidden(r) }
