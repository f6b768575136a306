package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/ratelimit"
)

// Limits of the channel for people, which anybody on the network can reach.
const (
	webConns       = 4096
	webConnsSource = 128 // from one address
	webStreams     = 100 // requests at a time on one connection
)

// Web is the channel for people: browsers, and programs with a token.
type Web struct {
	Certificate func() (*tls.Certificate, error)
	Identity    Identity
	Pages       http.Handler // for every path outside /api
	Throttle    *Throttle    // also of Identity and of that of Pages
}

// ServeWeb is Serve for the channel for people, on a listener without TLS.
// What speaks HTTP without TLS is told so.
func (s *Server) ServeWeb(ctx context.Context, l net.Listener, web Web) error {
	l = &sourceListener{Listener: newLimitListener(l, webConns), open: map[netip.Addr]int{}}
	c := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return web.Certificate() },
	}
	answer := s.throttled(web.Throttle, func(w http.ResponseWriter, r *http.Request) {
		if ofAPI(r.URL.Path) {
			s.serve(w, r, web.Identity)
			return
		}
		web.Pages.ServeHTTP(w, r)
	})
	return s.listen(ctx, l, c, func(w http.ResponseWriter, r *http.Request) {
		secure(w.Header())
		r.Body = timed(w, r.Body)
		if r.URL.Path == "/healthz" {
			s.observer(r.URL.Path)(w, r)
			return
		}
		answer(w, r)
	})
}

// ofAPI tells whether a path is for programs: errors there are problems, not
// pages.
func ofAPI(path string) bool { return path == "/api" || strings.HasPrefix(path, "/api/") }

// secure sets what browsers must heed, whatever answers. Pages allow
// themselves what they need.
func secure(h http.Header) {
	h.Set("Strict-Transport-Security", "max-age=31536000")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// timedBody is a request's body that must arrive within bodyTime, also when
// nobody wants it: the server reads a rest before the next request.
type timedBody struct {
	io.ReadCloser
	rc *http.ResponseController
}

func timed(w http.ResponseWriter, body io.ReadCloser) io.ReadCloser {
	if body == nil || body == http.NoBody {
		return body
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(bodyTime)) // fails only where there is no connection
	return &timedBody{body, rc}
}

// Read takes the deadline away at the end: it would end the request, whose work
// may take longer.
func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// sourceListener closes connections at once of which a source has too many,
// so that one cannot keep the others out.
type sourceListener struct {
	net.Listener

	mu   sync.Mutex // guards open
	open map[netip.Addr]int
}

func (l *sourceListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		source, err := sourceOf(conn.RemoteAddr())
		if err == nil && l.enter(source) {
			return &limitConn{Conn: conn, release: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		_ = conn.Close()
	}
}

// sourceOf is the address that a connection counts for.
func sourceOf(a net.Addr) (netip.Addr, error) {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}, errkind.Wrap(errkind.Internal, err, "the address of a peer")
	}
	return ratelimit.Source(ap.Addr()), nil
}

func (l *sourceListener) enter(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[a] >= webConnsSource {
		return false
	}
	l.open[a]++
	return true
}

func (l *sourceListener) leave(a netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[a]--; l.open[a] == 0 {
		delete(l.open, a)
	}
}
