package transport

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"

	"mooring.dev/mooring/pkg/errkind"
)

// maxPerHost bounds the open connections from one address, so that one host
// cannot keep the others out.
const maxPerHost = 256

// ListenTLS listens on the TCP address for tls:// channels. A client may show
// a certificate; whether and which must be judged by whoever takes the
// connection, since the handshake only proves that the client has its key.
// Connections are *TLSConn.
func ListenTLS(ctx context.Context, address string, cert func() (*tls.Certificate, error)) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot listen on %s", address)
	}
	return &tlsListener{Listener: l, hosts: map[string]int{}, config: &tls.Config{
		MinVersion:             tls.VersionTLS13,
		SessionTicketsDisabled: true,
		ClientAuth:             tls.RequestClientCert,
		GetCertificate:         func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert() },
	}}, nil
}

type tlsListener struct {
	net.Listener
	config *tls.Config

	mu    sync.Mutex // guards hosts
	hosts map[string]int
}

// Accept closes connections at once of which a host has too many.
func (l *tlsListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		host, _, err := net.SplitHostPort(conn.RemoteAddr().String())
		if err == nil && l.enter(host) {
			return &TLSConn{Conn: tls.Server(conn, l.config), leave: sync.OnceFunc(func() { l.leave(host) })}, nil
		}
		_ = conn.Close()
	}
}

func (l *tlsListener) enter(host string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host] >= maxPerHost {
		return false
	}
	l.hosts[host]++
	return true
}

func (l *tlsListener) leave(host string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.hosts[host]--; l.hosts[host] == 0 {
		delete(l.hosts, host)
	}
}

// TLSConn is the server's end of a tls:// channel.
type TLSConn struct {
	*tls.Conn
	leave    func()
	admitted atomic.Bool
}

// Close closes the connection.
func (c *TLSConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// Admit notes that the client's certificate was accepted on this connection,
// and Admitted tells it: a certificate that has been replaced meanwhile is no
// news on a connection that is older.
func (c *TLSConn) Admit() { c.admitted.Store(true) }

// Admitted reports whether Admit was called.
func (c *TLSConn) Admitted() bool { return c.admitted.Load() }

// TLSOf finds the tls:// channel in conn, which may be wrapped.
func TLSOf(conn net.Conn) (*TLSConn, bool) {
	for {
		if c, ok := conn.(*TLSConn); ok {
			return c, true
		}
		w, ok := conn.(interface{ NetConn() net.Conn })
		if !ok {
			return nil, false
		}
		conn = w.NetConn()
	}
}
