package imagefs

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"
	"time"
)

// The standard library's tar writer knows no sparse files, which is why the
// headers are written here: POSIX pax, as GNU tar and all others read it.
const tarBlock = 512

// Kinds of members.
const (
	tarFile    = '0'
	tarLink    = '1'
	tarSymlink = '2'
	tarChar    = '3'
	tarBlockDv = '4'
	tarDir     = '5'
	tarFIFO    = '6'
	tarExtra   = 'x'
)

// member is what one member's header says.
type member struct {
	name, link   string
	kind         byte
	mode         uint32
	uid, gid     uint32
	size         int64 // of what follows the header
	mtime        time.Time
	major, minor uint32
	extra        []record
}

// record is one pax record; the value may hold any byte.
type record struct{ key, value string }

// paxRecord is "length key=value\n", and the length counts itself.
func paxRecord(r record) string {
	n := len(r.key) + len(r.value) + 3
	size := n + len(strconv.Itoa(n))
	if s := n + len(strconv.Itoa(size)); s != size {
		size = s
	}
	return strconv.Itoa(size) + " " + r.key + "=" + r.value + "\n"
}

// writeTo writes the header, after an extended one for what does not fit.
func (m *member) writeTo(w io.Writer) error {
	extra := m.records()
	if len(extra) > 0 {
		var b strings.Builder
		for _, r := range extra {
			b.WriteString(paxRecord(r))
		}
		x := member{name: "PaxHeaders/" + plain(path.Base(m.name)), kind: tarExtra, mode: 0o644, size: int64(b.Len()), mtime: time.Unix(m.mtime.Unix(), 0)}
		if err := x.block(w); err != nil {
			return err
		}
		if _, err := io.WriteString(w, b.String()); err != nil {
			return err
		}
		if err := pad(w, x.size); err != nil {
			return err
		}
	}
	return m.block(w)
}

// records are what the fixed header has no room for.
func (m *member) records() []record {
	var all []record
	add := func(need bool, key, value string) {
		if need {
			all = append(all, record{key, value})
		}
	}
	add(len(m.name) > 100 || !ascii(m.name), "path", m.name)
	add(len(m.link) > 100 || !ascii(m.link), "linkpath", m.link)
	add(m.size > maxOctal(12), "size", strconv.FormatInt(m.size, 10))
	add(int64(m.uid) > maxOctal(8), "uid", strconv.FormatUint(uint64(m.uid), 10))
	add(int64(m.gid) > maxOctal(8), "gid", strconv.FormatUint(uint64(m.gid), 10))
	add(m.mtime.Nanosecond() != 0 || m.mtime.Unix() < 0 || m.mtime.Unix() > maxOctal(12), "mtime", paxTime(m.mtime))
	add(int64(m.major) > maxOctal(8), "SCHILY.devmajor", strconv.FormatUint(uint64(m.major), 10))
	add(int64(m.minor) > maxOctal(8), "SCHILY.devminor", strconv.FormatUint(uint64(m.minor), 10))
	return append(all, m.extra...)
}

// block writes the fixed header. What does not fit is cut: a record says it.
func (m *member) block(w io.Writer) error {
	var b [tarBlock]byte
	copy(b[0:100], plain(m.name))
	octal(b[100:108], int64(m.mode))
	octal(b[108:116], int64(m.uid))
	octal(b[116:124], int64(m.gid))
	octal(b[124:136], m.size)
	octal(b[136:148], m.mtime.Unix())
	b[156] = m.kind
	copy(b[157:257], plain(m.link))
	copy(b[257:265], "ustar\x0000")
	octal(b[329:337], int64(m.major))
	octal(b[337:345], int64(m.minor))
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	_, err := w.Write(b[:])
	return err
}

// maxOctal is the largest number in a field of n bytes.
func maxOctal(n int) int64 { return 1<<(3*(n-1)) - 1 }

func octal(field []byte, v int64) {
	if v < 0 || v > maxOctal(len(field)) {
		v = 0
	}
	copy(field, fmt.Sprintf("%0*o", len(field)-1, v))
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// plain is what of a name is put into a fixed header.
func plain(s string) string {
	b := []byte(s[:min(len(s), 100)])
	for i, c := range b {
		if c >= 0x80 {
			b[i] = '_'
		}
	}
	return string(b)
}

// paxTime is seconds as a decimal number.
func paxTime(t time.Time) string {
	sec, nsec := t.Unix(), t.Nanosecond()
	sign := ""
	if sec < 0 {
		sign, sec = "-", -sec
		if nsec > 0 {
			sec, nsec = sec-1, 1e9-nsec
		}
	}
	if nsec == 0 {
		return sign + strconv.FormatInt(sec, 10)
	}
	return sign + strconv.FormatInt(sec, 10) + "." + strings.TrimRight(fmt.Sprintf("%09d", nsec), "0")
}

// pad fills the last block of something of n bytes.
func pad(w io.Writer, n int64) error {
	if rest := n % tarBlock; rest > 0 {
		_, err := w.Write(make([]byte, tarBlock-rest))
		return err
	}
	return nil
}
