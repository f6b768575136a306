// Package oidc lets people log in by a provider of OpenID Connect, one for the
// master and one for each tenant that wants it: the authorization code flow
// with PKCE. Who somebody is follows from issuer and subject, never from an
// e-mail address or a name, which providers let people choose.
//
// Which tenants have a provider is not told: to a visitor an unknown tenant is
// one without.
package oidc

import (
	"context"
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	// Provider is that of a vmgroup, or with "" of the master.
	Provider(g volspec.VMGroupID) (Provider, error)
	Providers() ([]Provider, error)           // of all
	PutProvider(p Provider) error             // inserts or replaces by Group
	DeleteProvider(g volspec.VMGroupID) error // absent: nil
	GroupByName(name string) (volspec.VMGroup, error)
	AddAudit(a volspec.Audit) error
}

// Provider is by which provider users log in.
type Provider struct {
	Group  volspec.VMGroupID // "": the master's users
	Body   Settings
	Sealed string // the client's secret, "" for none
}

// Settings are the part of a provider that is no secret.
type Settings struct {
	Issuer   string       `json:"issuer"`
	ClientID string       `json:"client_id"`
	Claim    string       `json:"claim,omitempty"`
	Role     volspec.Role `json:"role,omitempty"`
}

// Person is who a provider says somebody is. Subject identifies it, with the
// issuer. Role is that of a user who is not known yet, "": it is refused.
type Person struct {
	Group       volspec.VMGroupID // of a tenant's user, "" for the master's
	Subject     string
	Name, Email string
	Role        volspec.Role
}

// Sealer keeps secrets that the service itself must read again.
type Sealer interface {
	Seal(plain []byte, context string) (string, error)
	Open(sealed, context string) ([]byte, error)
}

// Options are the parts of a Service.
type Options struct {
	Store  Store
	Sealer Sealer
	// Enter opens a session for a person, with its secret.
	Enter func(ctx context.Context, c volspec.Caller, p Person, agent string) (wire.Session, string, error)
	// Attempt refuses an address from which too many log-ins come.
	Attempt func(from string) error
	// URL is the portal as people reach it.
	URL func() string
	// Client calls providers, whose addresses tenants choose.
	Client *http.Client
	Now    func() time.Time // nil: time.Now
}

// Service is safe for concurrent use.
type Service struct {
	o     Options
	known *providers
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o, known: newProviders(bounded(o.Client), o.Now)}
}

// callbackPath is where providers send people back to.
const callbackPath = "/oidc/callback"

func (s *Service) callback() string { return s.o.URL() + callbackPath }

// sealedFor is the context of a client's secret.
func sealedFor(g volspec.VMGroupID) string { return "oidc client " + string(g) }

func (s *Service) audit(ctx context.Context, tx Tx, c volspec.Caller, vmgroup, action, detail string) error {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object = s.o.Now().UTC(), vmgroup, action, "oidc"
	a.Outcome, a.Detail, a.Request = "ok", detail, log.Request(ctx)
	return tx.AddAudit(a)
}

// groupID is the id of a vmgroup, "" for the master.
func groupID(tx Tx, name string) (volspec.VMGroupID, error) {
	if name == "" {
		return "", nil
	}
	g, err := tx.GroupByName(name)
	return g.ID, err
}

func absent(err error) bool { return errkind.Is(err, errkind.NotFound) }
