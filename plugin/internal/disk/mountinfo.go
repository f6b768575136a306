package disk

import (
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"
)

// mountEntry is one line of /proc/PID/mountinfo, see proc(5).
type mountEntry struct {
	ID           int
	Major, Minor uint32
	Root, Point  string // unescaped
	FSType       string
	Source       string // unescaped
	ReadOnly     bool   // of this mount
}

// parseMountinfo reads mountinfo. Lines that are not understood are left out:
// a kernel that adds fields must not make every mount disappear.
func parseMountinfo(r io.Reader) ([]mountEntry, error) {
	var all []mountEntry
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), 1<<20) // a line holds paths and overlay options
	for sc.Scan() {
		if e, ok := parseMountLine(sc.Text()); ok {
			all = append(all, e)
		}
	}
	return all, sc.Err()
}

func parseMountLine(line string) (e mountEntry, ok bool) {
	left, right, found := strings.Cut(line, " - ")
	f, g := strings.Fields(left), strings.Split(right, " ")
	if !found || len(f) < 6 || len(g) < 2 {
		return e, false
	}
	id, err := strconv.Atoi(f[0])
	major, minor, isDev := strings.Cut(f[2], ":")
	ma, err1 := strconv.ParseUint(major, 10, 32)
	mi, err2 := strconv.ParseUint(minor, 10, 32)
	if err != nil || !isDev || err1 != nil || err2 != nil {
		return e, false
	}
	return mountEntry{
		ID: id, Major: uint32(ma), Minor: uint32(mi), Root: unescape(f[3]), Point: unescape(f[4]),
		FSType: g[0], Source: unescape(g[1]), ReadOnly: hasOption(f[5], "ro"),
	}, true
}

func hasOption(list, want string) bool {
	for o := range strings.SplitSeq(list, ",") {
		if o == want {
			return true
		}
	}
	return false
}

// unescape undoes the kernel's \ooo.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(v))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
