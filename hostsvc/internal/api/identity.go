package api

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
)

// Identity says who makes a request: by its connection, see ConnOf, and on the
// channel for people by what the request itself shows. It is asked for every
// request, so that what it looks up is never stale. Its error refuses the
// request, in its own words; beside a visitor a denial means that who shows
// something else may do it.
type Identity func(ctx context.Context, r *http.Request) (volspec.Caller, error)

// AdminPeers lets root and the members of group gid (-1: nobody) administer
// the service, as the kernel knows them.
func AdminPeers(gid int) Identity {
	return func(ctx context.Context, _ *http.Request) (volspec.Caller, error) {
		p, err := transport.PeerOf(ConnOf(ctx))
		if err != nil {
			return volspec.Caller{}, err
		}
		if p.UID != 0 && (gid < 0 || !p.InGroup(gid)) {
			return volspec.Caller{}, errkind.New(errkind.Denied, "user id %d may not administer mooringd: become root or a member of the service's group (mooring, unless configured otherwise)", p.UID)
		}
		return volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: fmt.Sprintf("admin:%d", p.UID)}, nil
	}
}

// GuestPeers makes everybody who is root, or one of uids, on a socket the VM
// that resolve describes: such a socket belongs to one VM.
func GuestPeers(resolve func(ctx context.Context) (volspec.Caller, error), uids ...int) Identity {
	return func(ctx context.Context, _ *http.Request) (volspec.Caller, error) {
		p, err := transport.PeerOf(ConnOf(ctx))
		if err != nil {
			return volspec.Caller{}, err
		}
		if p.UID != 0 && !slices.Contains(uids, p.UID) {
			return volspec.Caller{}, errkind.New(errkind.Denied, "user id %d may not speak for this VM: only root may", p.UID)
		}
		return resolve(ctx)
	}
}

// CertifiedPeers makes a client the VM that resolve finds by the certificates
// of its TLS channel, and one that shows none a stranger, who may enrol. fresh
// is false once a request on the same connection was allowed.
func CertifiedPeers(resolve func(ctx context.Context, chain []*x509.Certificate, fresh bool) (volspec.Caller, error)) Identity {
	return func(ctx context.Context, _ *http.Request) (volspec.Caller, error) {
		conn := ConnOf(ctx)
		tc, ok := transport.TLSOf(conn)
		if !ok {
			return volspec.Caller{}, errkind.New(errkind.Internal, "a %T is not a TLS channel", conn)
		}
		chain := tc.ConnectionState().PeerCertificates
		if len(chain) == 0 {
			return volspec.Caller{Stranger: true, Actor: "stranger:" + tc.RemoteAddr().String()}, nil
		}
		c, err := resolve(ctx, chain, !tc.Admitted())
		if err == nil {
			tc.Admit()
		}
		return c, err
	}
}

// checkCaller keeps a caller that is nobody, or two at once, from everything.
func checkCaller(c volspec.Caller) error {
	n := 0
	for _, is := range []bool{c.Admin, c.Group != "", c.VM != "", c.Stranger, c.Visitor} {
		if is {
			n++
		}
	}
	fits := c.Role == ""
	switch {
	case c.Admin:
		fits = c.Role.Master()
	case c.Group != "":
		fits = c.Role.Known() && !c.Role.Master() && c.GroupName != ""
	}
	if n != 1 || !fits {
		return errkind.New(errkind.Internal, "channel identity is %+v: not one VM, user, administrator, stranger or visitor", c)
	}
	return nil
}

type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// ConnOf is the connection of a request that ctx belongs to, nil for one that
// was made in this process.
func ConnOf(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}
