package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// post is a mail server that keeps what it gets.
type post struct {
	listener net.Listener
	wg       sync.WaitGroup
	mu       sync.Mutex
	conns    []net.Conn
	mails    []delivered
}

// delivered is one mail as it came.
type delivered struct {
	to   []string
	data string
}

// newPost starts one, and gives the table of a configuration that uses it.
func newPost(t *testing.T) (p *post, table string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p = &post{listener: l}
	p.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns = append(p.conns, c)
			p.mu.Unlock()
			p.wg.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		p.wg.Wait()
	})
	return p, fmt.Sprintf("[notify.smtp]\nhost = '127.0.0.1'\nport = %d\ntls = 'none'\nfrom = 'mooring@provider.example'\nto = ['ops@provider.example']\n",
		l.Addr().(*net.TCPAddr).Port)
}

func (p *post) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	r := bufio.NewReader(c)
	say := func(line string) { _, _ = io.WriteString(c, line+"\r\n") }
	say("220 mail.test")
	var m delivered
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(strings.Fields(line + " .")[0]); verb {
		case "MAIL":
			m = delivered{}
			say("250 ok")
		case "RCPT":
			_, to, _ := strings.Cut(line, "<")
			to, _, _ = strings.Cut(to, ">")
			m.to = append(m.to, to)
			say("250 ok")
		case "DATA":
			say("354 go")
			for line, err = r.ReadString('\n'); err == nil && line != ".\r\n"; line, err = r.ReadString('\n') {
				m.data += strings.TrimPrefix(line, ".")
			}
			p.mu.Lock()
			p.mails = append(p.mails, m)
			p.mu.Unlock()
			say("250 queued")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

// to are the mails that somebody got.
func (p *post) to(person string) (out []delivered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, m := range p.mails {
		for _, to := range m.to {
			if to == person {
				out = append(out, m)
			}
		}
	}
	return out
}

// read is the subject and all bodies of a mail, one after the other.
func (m delivered) read(t assert.TestingT) string {
	parsed, err := netmail.ReadMessage(strings.NewReader(m.data))
	if !assert.NoError(t, err, m.data) {
		return ""
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	assert.NoError(t, err)
	text := []string{subject}
	body := func(r io.Reader) {
		b, err := io.ReadAll(quotedprintable.NewReader(r))
		assert.NoError(t, err)
		text = append(text, string(b))
	}
	kind, params, err := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	assert.NoError(t, err)
	if kind != "multipart/alternative" {
		body(parsed.Body)
		return strings.Join(text, "\n")
	}
	for r := multipart.NewReader(parsed.Body, params["boundary"]); ; {
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			return strings.Join(text, "\n")
		}
		if !assert.NoError(t, err) {
			return ""
		}
		body(part)
	}
}

// said is all that somebody was told by mail.
func (p *post) said(t assert.TestingT, person string) string {
	var all []string
	for _, m := range p.to(person) {
		all = append(all, m.read(t))
	}
	return strings.Join(all, "\n")
}
