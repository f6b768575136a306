package api

import (
	"context"
	"fmt"
	"net"
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
)

// Identity says who is at the other end of a connection. It is asked for
// every request, so that what it looks up is never stale. Its error refuses
// the request, in its own words.
type Identity func(ctx context.Context, conn net.Conn) (volspec.Caller, error)

// AdminPeers lets root and the members of group gid (-1: nobody) administer
// the service, as the kernel knows them.
func AdminPeers(gid int) Identity {
	return func(_ context.Context, conn net.Conn) (volspec.Caller, error) {
		p, err := transport.PeerOf(conn)
		if err != nil {
			return volspec.Caller{}, err
		}
		if p.UID != 0 && (gid < 0 || !p.InGroup(gid)) {
			return volspec.Caller{}, errkind.New(errkind.Denied, "user id %d may not administer mooringd: become root or a member of the service's group (mooring, unless configured otherwise)", p.UID)
		}
		return volspec.Caller{Admin: true, Actor: fmt.Sprintf("admin:%d", p.UID)}, nil
	}
}

// GuestPeers makes everybody who is root, or one of uids, on a socket the VM
// that resolve describes: such a socket belongs to one VM.
func GuestPeers(resolve func(ctx context.Context) (volspec.Caller, error), uids ...int) Identity {
	return func(ctx context.Context, conn net.Conn) (volspec.Caller, error) {
		p, err := transport.PeerOf(conn)
		if err != nil {
			return volspec.Caller{}, err
		}
		if p.UID != 0 && !slices.Contains(uids, p.UID) {
			return volspec.Caller{}, errkind.New(errkind.Denied, "user id %d may not speak for this VM: only root may", p.UID)
		}
		return resolve(ctx)
	}
}

// checkCaller keeps a caller that is nobody, or two at once, from everything.
func checkCaller(c volspec.Caller) error {
	if c.Admin == (c.VM != "") {
		return errkind.New(errkind.Internal, "channel identity is %+v: neither one VM nor an administrator", c)
	}
	return nil
}

type connKey struct{}

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

func connOf(ctx context.Context) net.Conn {
	conn, _ := ctx.Value(connKey{}).(net.Conn)
	return conn
}
