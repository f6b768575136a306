package cli

import (
	"cmp"
	"context"
	"slices"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// Web reaches services over HTTPS. Channels are https://HOST:PORT.
type Web interface {
	// Connect makes a client that shows a token. It need not dial yet.
	Connect(channel string, trust hostclient.Trust, token string) (Admin, error)
	// Probe looks who is there.
	Probe(ctx context.Context, channel string) (hostclient.Shown, error)
	// Login opens a session, unless the answer says NeedsCode.
	Login(ctx context.Context, channel string, trust hostclient.Trust, r wire.Login) (Visit, wire.Session, error)
}

// Visit is an open session.
type Visit interface {
	ChangePassword(ctx context.Context, r wire.ChangePassword) error
	Tokens(ctx context.Context) ([]wire.Token, error)
	CreateToken(ctx context.Context, r wire.CreateToken) (wire.Token, error)
	RemoveToken(ctx context.Context, id string) error
	Logout(ctx context.Context) error
	Close()
}

// personAdmin is about whoever uses this command.
type personAdmin interface {
	Session(ctx context.Context) (wire.Session, error)
	RemoveToken(ctx context.Context, id string) error
}

// place is the service that a run is about: the admin socket, or one over
// HTTPS.
type place struct {
	stored
	socket string // "": over HTTPS
}

// where decides which service it is: what is on the command line first, then
// the environment, then the context that the user chose last.
func (t *tool) where() (p place, err error) {
	if t.place != nil {
		return *t.place, nil
	}
	defer func() {
		if err == nil {
			t.place = &p
		}
	}()
	if t.socket != "" && (t.server != "" || t.contextName != "") {
		return p, errkind.New(errkind.Invalid, "--socket is the service of this machine, --server and --context are others: give one of them")
	}
	server, name := t.server, t.contextName
	if t.socket == "" && server == "" && name == "" && t.Getenv("MOORING_SOCKET") == "" {
		server, name = t.Getenv("MOORING_SERVER"), t.Getenv("MOORING_CONTEXT")
	}
	local := t.socket != "" || server == "" && name == "" && t.Getenv("MOORING_SOCKET") != ""
	if local {
		return place{socket: t.address()}, nil
	}
	all, err := t.contexts()
	if err != nil {
		return p, err
	}
	token := t.Getenv("MOORING_TOKEN")
	if server == "" {
		name = cmp.Or(name, all.Current, localContext)
		if name == localContext {
			return place{socket: t.address()}, nil
		}
		s, ok := all.get(name)
		if !ok {
			return p, noContext(name)
		}
		if token != "" {
			s.Token, s.Tenant = token, ""
		}
		return place{stored: s}, nil
	}
	if err := hostclient.CheckHTTPS(server); err != nil {
		return p, err
	}
	p.Server = server
	i := slices.IndexFunc(all.All, func(s stored) bool { return s.Server == server && (name == "" || s.Name == name) })
	if i >= 0 {
		p.stored = all.All[i]
		if cur, ok := all.get(all.Current); ok && cur.Server == server && name == "" {
			p.stored = cur
		}
	}
	if token != "" {
		p.Token, p.Tenant = token, ""
	}
	return p, nil
}

// connect makes the client for a place.
func (t *tool) connect(p place) (Admin, error) {
	if p.socket != "" {
		return t.Connect(p.socket)
	}
	if p.Token == "" {
		return nil, errkind.New(errkind.Denied, "nobody is logged in at %s: run `mooring --server %s login`, or put a token into MOORING_TOKEN", p.Server, p.Server)
	}
	return t.Web.Connect(p.Server, p.trust(), p.Token)
}

// ownGroup marks a flag whose value is the vmgroup of a tenant's user unless
// it is given.
const ownGroup = "mooring_own_vmgroup"

// fillGroup lets the users of a tenant leave out their vmgroup: they have no
// other.
func (t *tool) fillGroup(cmd *cobra.Command) error {
	for _, name := range []string{"vmgroup", "name"} {
		f := cmd.Flags().Lookup(name)
		if f == nil || f.Changed || name == "name" && f.Annotations[ownGroup] == nil {
			continue
		}
		tenant, err := t.tenant(cmd.Context())
		if err != nil || tenant == "" {
			return err
		}
		return f.Value.Set(tenant)
	}
	return nil
}

// tenant is the one whose user this is, by its name now, "" for all others.
func (t *tool) tenant(ctx context.Context) (string, error) {
	p, err := t.where()
	if err != nil || p.socket != "" || p.Token == "" {
		return "", err
	}
	if p.Tenant == "" && t.Getenv("MOORING_TOKEN") == "" {
		return "", nil
	}
	admin, err := t.admin()
	if err != nil {
		return "", err
	}
	s, err := admin.Session(ctx)
	return s.Tenant, err
}
