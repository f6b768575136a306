package notify

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
)

// letter is what a mail says. id is the same for the same letter only.
type letter struct {
	id, subject string
	text, html  string // html may be ""
}

// message is a whole mail, with line ends as SMTP wants them. Nothing in it
// breaks out of its place: addresses are printed by net/mail, the subject is
// encoded, bodies are quoted-printable.
func (s *SMTP) message(l letter, now time.Time) ([]byte, error) {
	var b bytes.Buffer
	from, to := s.from, s.to
	header := func(name, value string) { fmt.Fprintf(&b, "%s: %s\r\n", name, value) }
	header("From", from.String())
	names := make([]string, len(to))
	for i, a := range to {
		names[i] = a.String()
	}
	header("To", strings.Join(names, ",\r\n "))
	header("Subject", encode(l.subject))
	header("Date", now.Format(time.RFC1123Z))
	header("Message-ID", "<"+messageID(l.id)+"@"+domain(s.o.Hostname)+">")
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	if l.html == "" {
		err := part(&b, "text/plain", l.text)
		return b.Bytes(), err
	}
	border := "=_" + messageID("border "+l.id) // =_ stands in no quoted-printable text
	header("Content-Type", `multipart/alternative; boundary="`+border+`"`)
	b.WriteString("\r\n--" + border + "\r\n")
	if err := part(&b, "text/plain", l.text); err != nil {
		return nil, err
	}
	b.WriteString("\r\n--" + border + "\r\n")
	if err := part(&b, "text/html", l.html); err != nil {
		return nil, err
	}
	b.WriteString("\r\n--" + border + "--\r\n")
	return b.Bytes(), nil
}

// part writes a text with the headers that belong to it.
func part(b *bytes.Buffer, kind, text string) error {
	b.WriteString("Content-Type: " + kind + "; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n")
	w := quotedprintable.NewWriter(b)
	if _, err := w.Write([]byte(text)); err != nil {
		return errkind.Wrap(errkind.Internal, err, "write a mail")
	}
	return errkind.Wrap(errkind.Internal, w.Close(), "write a mail")
}

// idOf is the id of a letter about events: the same for the same events only.
func idOf(events []Event) string {
	var b strings.Builder
	for _, e := range events {
		b.WriteString(e.ID + "\x00")
	}
	return b.String()
}

// messageID is the same for the same id: a server that has seen it may drop the
// mail, as it should when an attempt is repeated.
func messageID(id string) string {
	h := sha256.Sum256([]byte(id))
	return hex.EncodeToString(h[:16])
}

// encode makes MIME words of a text that is not plain, or holds what a reader
// takes for such a word; one per line.
func encode(s string) string {
	if !strings.Contains(s, "=?") {
		return strings.ReplaceAll(mime.QEncoding.Encode("utf-8", s), "?= =?", "?=\r\n =?")
	}
	const most = 45 // bytes of a word, so that it has 75 at most
	var words []string
	var word []byte
	for _, r := range s {
		if len(word)+utf8.RuneLen(r) > most {
			words, word = append(words, base64.StdEncoding.EncodeToString(word)), nil
		}
		word = utf8.AppendRune(word, r)
	}
	words = append(words, base64.StdEncoding.EncodeToString(word))
	return "=?utf-8?b?" + strings.Join(words, "?=\r\n =?utf-8?b?") + "?="
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
