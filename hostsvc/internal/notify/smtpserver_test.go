package notify_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// mailServer is a small SMTP server that speaks over TCP and keeps what it
// gets.
type mailServer struct {
	config   *tls.Config
	implicit bool
	noTLS    bool              // STARTTLS is not offered
	auth     string            // offered ways; "" none
	users    map[string]string // user: password
	answers  map[string]string // command or "RCPT <address>": answer instead
	silent   bool              // no greeting

	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
	mails    []mail
	commands []string
}

// mail is one accepted mail.
type mail struct {
	from      string
	to        []string
	data      string
	user      string
	protected bool
	hello     string
}

// certificate is for 127.0.0.1, with those who trust it.
func certificate(t *testing.T) *httptest.Server {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return s
}

func (s *mailServer) start(t *testing.T) int {
	t.Helper()
	var err error
	s.listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.wg.Go(func() {
		for {
			c, err := s.listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns = append(s.conns, c)
			s.mu.Unlock()
			s.wg.Go(func() { s.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = s.listener.Close()
		s.mu.Lock()
		for _, c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s.listener.Addr().(*net.TCPAddr).Port
}

func (s *mailServer) got() []mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]mail(nil), s.mails...)
}

func (s *mailServer) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	protected := s.implicit
	if s.implicit {
		c = tls.Server(c, s.config)
	}
	r := bufio.NewReader(c)
	say := func(line string) { _, _ = c.Write([]byte(line + "\r\n")) }
	next := func() (string, bool) {
		line, err := r.ReadString('\n')
		if !strings.HasSuffix(line, "\r\n") {
			return "", false
		}
		return strings.TrimSuffix(line, "\r\n"), err == nil
	}
	if s.silent {
		_, _ = next()
		return
	}
	say("220 mail.test ESMTP")
	var m mail
	for {
		line, ok := next()
		if !ok {
			return
		}
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		if answer, ok := s.answers[verb]; ok {
			say(answer)
			continue
		}
		switch verb {
		case "EHLO":
			m.hello = rest
			say("250-mail.test")
			if !protected && !s.noTLS {
				say("250-STARTTLS")
			}
			if s.auth != "" {
				say("250-AUTH " + s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go")
			c = tls.Server(c, s.config)
			r = bufio.NewReader(c)
			protected, m = true, mail{}
		case "AUTH":
			m.user = s.login(rest, next, say)
		case "MAIL":
			if s.auth != "" && m.user == "" {
				say("530 5.7.0 authentication required")
				continue
			}
			m.from, m.to = address(rest), nil
			say("250 ok")
		case "RCPT":
			if answer, ok := s.answers["RCPT "+address(rest)]; ok {
				say(answer)
				continue
			}
			m.to = append(m.to, address(rest))
			say("250 ok")
		case "DATA":
			say("354 go")
			var b strings.Builder
			for {
				line, ok := next()
				if !ok {
					return
				}
				if line == "." {
					break
				}
				b.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
			}
			if answer, ok := s.answers["."]; ok {
				say(answer)
				continue
			}
			m.data, m.protected = b.String(), protected
			s.mu.Lock()
			s.mails = append(s.mails, m)
			s.mu.Unlock()
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("502 unknown")
		}
	}
}

func (s *mailServer) login(rest string, next func() (string, bool), say func(string)) string {
	way, initial, _ := strings.Cut(rest, " ")
	decode := func(t string) string { b, _ := base64.StdEncoding.DecodeString(t); return string(b) }
	ask := func(what string) string {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(what)))
		l, _ := next()
		return decode(l)
	}
	var user, password string
	switch way {
	case "PLAIN":
		parts := strings.Split(decode(initial), "\x00")
		if len(parts) == 3 {
			user, password = parts[1], parts[2]
		}
	case "LOGIN":
		user, password = ask("Username:"), ask("Password:")
	}
	if want, ok := s.users[user]; !ok || want != password {
		say("535 5.7.8 wrong")
		return ""
	}
	say("235 ok")
	return user
}

func address(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}
