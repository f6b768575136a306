package hostclient

import (
	"context"
	"net"
	"net/http"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

// Stranger makes the one call of a VM that has no certificate yet.
type Stranger struct{ *core }

// NewStranger makes a client of the tls:// channel at url. It does not connect
// yet. Close lets go of idle connections.
func NewStranger(url string, o Options) *Stranger { return &Stranger{newCore(url, o)} }

// Enroll asks for the VM's first certificate. The proof in r must be of the
// connection on which it is sent; see Enroll, the function.
func (s *Stranger) Enroll(ctx context.Context, r wire.Enroll) (c wire.Certificate, err error) {
	_, err = s.do(ctx, call{method: http.MethodPost, path: []string{"enroll"}, body: r, into: &c, once: true})
	return c, err
}

// Enroll gets a VM's first certificate from the service at url, which is of
// the authority pin, for a certificate request (PKCS #10 in DER) and a
// one-time code. The code itself is not sent.
func Enroll(ctx context.Context, url string, pin transport.Pin, code invite.Code, request []byte, o Options) (wire.Certificate, error) {
	conn, err := transport.DialTLS(ctx, url, transport.ClientTLS(pin, nil))
	if err != nil {
		return wire.Certificate{}, err
	}
	defer func() { _ = conn.Close() }() // for this one call
	binding, err := transport.Binding(conn.ConnectionState())
	if err != nil {
		return wire.Certificate{}, err
	}
	used := false
	s := &Stranger{newCoreOver(url, o, func(context.Context) (net.Conn, error) {
		if used {
			return nil, errkind.New(errkind.Unavailable, "the connection for enrolling was lost: repeat it")
		}
		used = true
		return conn, nil
	})}
	defer s.Close()
	return s.Enroll(ctx, wire.Enroll{Code: code.ID(), Proof: invite.Prove(code.Verifier(), binding, request), Request: request})
}

// Renew asks for a new certificate of the calling VM.
func (c *Client) Renew(ctx context.Context, r wire.Renew) (cert wire.Certificate, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"certificate"}, body: r, into: &cert})
	return cert, err
}

// InviteVM makes a one-time code with which a VM enrols.
func (a *Admin) InviteVM(ctx context.Context, vm string, r wire.Invite) (wire.Invitation, error) {
	return change[wire.Invitation](ctx, a, http.MethodPost, nil, r, "vms", vm, "enroll")
}

// RevokeVM ends all certificates and codes of a VM.
func (a *Admin) RevokeVM(ctx context.Context, vm string) error {
	return a.tell(ctx, http.MethodPost, nil, nil, "vms", vm, "revoke")
}

// dialOf connects to a channel as its kind needs it.
func dialOf(channel string, o Options) func(context.Context) (net.Conn, error) {
	if IsHTTPS(channel) {
		return dialHTTPS(channel, o)
	}
	if !transport.IsTLS(channel) {
		return func(ctx context.Context) (net.Conn, error) { return transport.Dial(ctx, channel) }
	}
	return func(ctx context.Context) (net.Conn, error) {
		if o.TLS == nil {
			return nil, errkind.New(errkind.Invalid, "channel %q cannot be used here: it needs a certificate", channel)
		}
		config, err := o.TLS()
		if err != nil {
			return nil, err
		}
		conn, err := transport.DialTLS(ctx, channel, config)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
}
