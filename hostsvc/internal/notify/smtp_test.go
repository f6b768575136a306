package notify_test

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/pkg/errkind"
)

const sentinel = "Sentinel-4711"

var at = time.Date(2026, 11, 25, 2, 30, 0, 0, time.UTC)

func failed() notify.Event {
	return notify.Event{ID: "msg_1", Time: at, Group: "shop", Kind: notify.JobFailed, Object: "db@fast", Severity: notify.Error, Request: "7f3a91c2",
		Sentence: "volume db@fast was not backed up: repository near is full (step copy)\n. free space, or raise the quota: größer"}
}

func put(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// server starts s with a certificate that the options trust.
func server(t *testing.T, s *mailServer, o notify.SMTPOptions) notify.SMTPOptions {
	t.Helper()
	cert := certificate(t)
	s.config = cert.TLS
	o.Host, o.Port = "127.0.0.1", s.start(t)
	o.RootCAs = x509.NewCertPool()
	o.RootCAs.AddCert(cert.Certificate())
	if o.From == "" {
		o.From = "Mooring <mooring@example.com>"
	}
	if o.To == nil {
		o.To = []string{"admin@example.com", "Nächtlich <night@example.com>"}
	}
	o.Hostname = "host1"
	return o
}

func sender(t *testing.T, o notify.SMTPOptions) *notify.SMTP {
	t.Helper()
	s, err := notify.NewSMTP(o)
	require.NoError(t, err)
	return s
}

func TestMailArrives(t *testing.T) {
	for name, c := range map[string]struct {
		s         *mailServer
		tls       string
		user      string
		protected bool
	}{
		"starttls and plain": {&mailServer{auth: "CRAM-MD5 PLAIN LOGIN", users: map[string]string{"u": sentinel}}, notify.StartTLS, "u", true},
		"implicit and login": {&mailServer{implicit: true, auth: "LOGIN", users: map[string]string{"u": sentinel}}, notify.ImplicitTLS, "u", true},
		"none":               {&mailServer{noTLS: true}, notify.NoTLS, "", false},
		"none with password": {&mailServer{noTLS: true, auth: "PLAIN", users: map[string]string{"u": sentinel}}, notify.NoTLS, "u", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := server(t, c.s, notify.SMTPOptions{TLS: c.tls, User: c.user, PasswordFile: put(t, sentinel+"\n")})
			n, err := sender(t, o).Send(t.Context(), []notify.Event{failed()})
			require.NoError(t, err)
			assert.Equal(t, 1, n)
			got := c.s.got()
			require.Len(t, got, 1)
			assert.Equal(t, "mooring@example.com", got[0].from)
			assert.Equal(t, []string{"admin@example.com", "night@example.com"}, got[0].to)
			assert.Equal(t, "host1", got[0].hello)
			assert.Equal(t, c.user, got[0].user)
			assert.Equal(t, c.protected, got[0].protected)
			subject, body := read(t, got[0].data)
			assert.Equal(t, "[mooring] shop: job failed: db@fast", subject)
			assert.Contains(t, body, "repository near is full (step copy)\n. free space, or raise the quota: größer\n")
			assert.NotContains(t, got[0].data, sentinel)
		})
	}
}

// read is what a mail program makes of a mail.
func read(t require.TestingT, data string) (subject, body string) {
	m, err := netmail.ReadMessage(strings.NewReader(data))
	require.NoError(t, err)
	subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	require.NoError(t, err)
	require.Equal(t, "auto-generated", m.Header.Get("Auto-Submitted"))
	require.Len(t, m.Header, 9)
	b, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	require.NoError(t, err)
	return subject, strings.ReplaceAll(string(b), "\r\n", "\n")
}

func TestMailIsNotSentUnprotected(t *testing.T) {
	s := &mailServer{noTLS: true}
	_, err := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.StartTLS})).Send(t.Context(), []notify.Event{failed()})
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.ErrorContains(t, err, "the server offers no TLS")
	assert.Empty(t, s.got())

	s = &mailServer{auth: "PLAIN", users: map[string]string{"u": sentinel}}
	o := server(t, s, notify.SMTPOptions{TLS: notify.StartTLS, User: "u", PasswordFile: put(t, sentinel)})
	o.RootCAs = x509.NewCertPool()
	_, err = sender(t, o).Send(t.Context(), []notify.Event{failed()})
	assert.ErrorContains(t, err, "certificate signed by unknown authority")
	s.mu.Lock()
	assert.Equal(t, []string{"EHLO host1", "STARTTLS"}, s.commands, "nothing else is said to a stranger")
	s.mu.Unlock()
}

func TestMailThatIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		answers   map[string]string
		want      string
		permanent bool
	}{
		"later":        {map[string]string{"MAIL": "451 4.3.0 later"}, "451", false},
		"greylisting":  {map[string]string{"RCPT": "450 4.2.0 greylisted"}, "450", false},
		"full":         {map[string]string{".": "452 4.3.1 full"}, "452", false},
		"never":        {map[string]string{".": "554 5.7.1 spam"}, "554", true},
		"no receivers": {map[string]string{"RCPT": "550 5.1.1 unknown"}, "receiver admin@example.com is refused", true},
		"closed":       {map[string]string{"EHLO": "421 4.3.2 closing", "HELO": "421 4.3.2 closing"}, "421", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &mailServer{answers: c.answers}
			n, err := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.NoTLS})).Send(t.Context(), []notify.Event{failed()})
			assert.Zero(t, n)
			assert.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, "mail could not be given to 127.0.0.1 port ")
			_, permanent := errors.AsType[*notify.PermanentError](err)
			assert.Equal(t, c.permanent, permanent)
			assert.Empty(t, s.got())
		})
	}
}

func TestOneRefusedReceiverDoesNotHoldUpTheOthers(t *testing.T) {
	s := &mailServer{answers: map[string]string{"RCPT night@example.com": "550 5.1.1 unknown"}}
	n, err := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.NoTLS})).Send(t.Context(), []notify.Event{failed()})
	assert.Equal(t, 1, n, "it is delivered")
	assert.ErrorContains(t, err, "receiver night@example.com is refused")
	require.Len(t, s.got(), 1)
	assert.Equal(t, []string{"admin@example.com"}, s.got()[0].to)
}

func TestWrongPasswords(t *testing.T) {
	path := put(t, "wrong")
	s := &mailServer{auth: "PLAIN", users: map[string]string{"u": sentinel}}
	m := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.StartTLS, User: "u", PasswordFile: path}))
	_, err := m.Send(t.Context(), []notify.Event{failed()})
	assert.ErrorContains(t, err, "535")
	_, permanent := errors.AsType[*notify.PermanentError](err)
	assert.False(t, permanent, "the password may be corrected meanwhile")

	require.NoError(t, os.WriteFile(path, []byte(sentinel), 0o600))
	_, err = m.Send(t.Context(), []notify.Event{failed()})
	require.NoError(t, err, "a new password needs no restart")
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = m.Send(t.Context(), []notify.Event{failed()})
	assert.ErrorContains(t, err, "run chmod 0600")

	s = &mailServer{auth: "GSSAPI", users: map[string]string{}}
	_, err = sender(t, server(t, s, notify.SMTPOptions{TLS: notify.StartTLS, User: "u", PasswordFile: put(t, sentinel)})).Send(t.Context(), []notify.Event{failed()})
	assert.ErrorContains(t, err, "no login with a password")
	assert.NotContains(t, err.Error(), sentinel)
}

func TestASilentServerEndsWithTheTimeLimit(t *testing.T) {
	s := &mailServer{silent: true}
	o := server(t, s, notify.SMTPOptions{TLS: notify.NoTLS, Timeout: 200 * time.Millisecond})
	begun := time.Now()
	_, err := sender(t, o).Send(t.Context(), []notify.Event{failed()})
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.ErrorContains(t, err, "no answer in time")
	assert.Less(t, time.Since(begun), 5*time.Second)

	o.Timeout = time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err = sender(t, o).Send(ctx, []notify.Event{failed()})
	assert.Error(t, err)
	assert.Less(t, time.Since(begun), 10*time.Second, "Send ends with its context")
}

// A server may drop a mail whose id it has seen: only the same events have it.
func TestMessageIDs(t *testing.T) {
	s := &mailServer{}
	m := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.NoTLS}))
	other := failed()
	other.ID = "msg_2"
	for _, events := range [][]notify.Event{{failed()}, {failed()}, {failed(), other}} {
		_, err := m.Send(t.Context(), events)
		require.NoError(t, err)
	}
	var ids []string
	for _, got := range s.got() {
		mail, err := netmail.ReadMessage(strings.NewReader(got.data))
		require.NoError(t, err)
		ids = append(ids, mail.Header.Get("Message-ID"))
	}
	assert.Equal(t, ids[0], ids[1])
	assert.NotEqual(t, ids[0], ids[2])
	assert.Regexp(t, `^<[0-9a-f]{32}@host1>$`, ids[0])
}

// Whatever a tenant writes into names and sentences, a mail has our headers
// and no others, and lines that every server takes.
func TestHeadersCannotBeInjected(t *testing.T) {
	s := &mailServer{}
	m := sender(t, server(t, s, notify.SMTPOptions{TLS: notify.NoTLS}))
	evil := rapid.OneOf(rapid.String(), rapid.StringOf(rapid.SampledFrom([]rune("\r\n\x00. :=?ä\u2028Bcc"))), rapid.StringN(0, 3000, -1))
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(1, 3).Draw(rt, "events")
		var events []notify.Event
		for range n {
			e := failed()
			e.Group, e.Object, e.Sentence = evil.Draw(rt, "group"), evil.Draw(rt, "object"), evil.Draw(rt, "sentence")
			e.Kind, e.Request = notify.Kind(evil.Draw(rt, "kind")), evil.Draw(rt, "request")
			events = append(events, e)
		}
		before := len(s.got())
		_, err := m.Send(context.Background(), events)
		require.NoError(rt, err)
		got := s.got()
		require.Len(rt, got, before+1)
		data := got[before].data
		for line := range strings.SplitSeq(data, "\r\n") {
			require.LessOrEqual(rt, len(line), 998)
			require.NotContains(rt, line, "\r")
			require.NotContains(rt, line, "\n")
			for _, r := range line {
				require.True(rt, r >= ' ' && r <= '~' || r == '\t', "%q", line)
			}
		}
		read(rt, data)
	})
}

func TestSMTPOptions(t *testing.T) {
	good := notify.SMTPOptions{Host: "h", Port: 25, TLS: notify.NoTLS, From: "a@b", To: []string{"c@d"}}
	for name, change := range map[string]func(*notify.SMTPOptions){
		"from":    func(o *notify.SMTPOptions) { o.From = "a@b\r\nBcc: x@y" },
		"to":      func(o *notify.SMTPOptions) { o.To = []string{"nobody"} },
		"nobody":  func(o *notify.SMTPOptions) { o.To = nil },
		"tls":     func(o *notify.SMTPOptions) { o.TLS = "ssl" },
		"newline": func(o *notify.SMTPOptions) { o.To = []string{"\"a\r\nb\"@c"} },
	} {
		o := good
		change(&o)
		_, err := notify.NewSMTP(o)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
	}
	o := good
	o.Host, o.User = "192.0.2.1", "u"
	_, err := notify.NewSMTP(o)
	require.NoError(t, err)
}
