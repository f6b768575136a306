package notify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"mooring.dev/mooring/pkg/errkind"
)

// message is a whole mail about events, with line ends as SMTP wants them.
// Nothing in it breaks out of its place: addresses are printed by net/mail,
// the subject is encoded, the body is quoted-printable.
func (s *SMTP) message(events []Event, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	from, to := s.from, s.to
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", from.String())
	names := make([]string, len(to))
	for i, a := range to {
		names[i] = a.String()
	}
	header("To", strings.Join(names, ",\r\n "))
	header("Subject", encode(subject(s.o.Product, events)))
	header("Date", now.Format(time.RFC1123Z))
	header("Message-ID", "<"+messageID(events)+"@"+domain(s.o.Hostname)+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "quoted-printable")
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(body(events, s.o.Foot))); err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "write a mail")
	}
	if err := w.Close(); err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "write a mail")
	}
	return b.Bytes(), nil
}

// messageID is the same for the same events only: a server that has seen it
// may drop the mail, as it should when an attempt is repeated.
func messageID(events []Event) string {
	h := sha256.New()
	for _, e := range events {
		h.Write([]byte(e.ID + "\x00"))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// encode makes MIME words of a text that is not plain, one per line.
func encode(s string) string {
	return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
}

// domain is host as it may stand in a message id and in a greeting.
func domain(host string) string {
	name := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' || r == '-') {
			return r
		}
		return -1
	}, host)
	return cmp.Or(strings.Trim(name, "-."), "localhost")
}

// addresses parses those of a configuration. The error is of kind invalid.
func addresses(list ...string) ([]*mail.Address, error) {
	out := make([]*mail.Address, len(list))
	for i, s := range list {
		a, err := mail.ParseAddress(s)
		if err != nil || strings.ContainsFunc(a.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, errkind.New(errkind.Invalid, "%q is not a mail address: write one such as backup@example.com", s)
		}
		out[i] = a
	}
	return out, nil
}
