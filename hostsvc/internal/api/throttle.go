package api

import (
	"context"
	"crypto/sha256"
	"html/template"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/ratelimit"
	"mooring.dev/mooring/pkg/volspec"
)

// Pace is how many requests the channel for people takes: a second on average
// of each user, of all users of each tenant, and of visitors from each address;
// and at once of a tenant or such an address.
type Pace struct{ User, Tenant, Address, AtOnce int }

// Throttle keeps those who ask too often from those who do not. It is safe for
// concurrent use.
type Throttle struct {
	// proofs stands before users, so that a storm is refused before anything is
	// looked up. A user has several, so it takes as many as users.
	proofs, users, tenants, addresses *ratelimit.Rate
	atOnce, atWork                    int
	turn, patience                    time.Duration

	mu   sync.Mutex // guards open
	open map[crowd]*waitingRoom
}

// crowd is whose requests are counted while they are answered: a vmgroup, an
// address of visitors, or with neither the master.
type crowd struct {
	group   volspec.VMGroupID
	address netip.Addr
}

// NewThrottle makes a throttle for p.
func NewThrottle(p Pace, now func() time.Time) *Throttle {
	return &Throttle{
		proofs: ratelimit.NewRate(p.User, now), users: ratelimit.NewRate(p.User, now), tenants: ratelimit.NewRate(p.Tenant, now),
		addresses: ratelimit.NewRate(p.Address, now), atOnce: p.AtOnce, atWork: max(1, runtime.GOMAXPROCS(0)/2),
		turn: longestTurn, patience: longestQueue, open: map[crowd]*waitingRoom{},
	}
}

// ticket is one request that a throttle let in.
type ticket struct {
	throttle *Throttle
	answer   http.Header
	address  netip.Addr
	proven   bool // shows a session or a token, whether or not they count
	admitted bool
	held     *crowd
	endTurn  func()
}

type ticketKey struct{}

// enter lets a request in, before anything is known but what it shows. Who was
// let in leaves in the end.
func (t *Throttle) enter(w http.ResponseWriter, r *http.Request) (*ticket, *http.Request, error) {
	k := &ticket{throttle: t, answer: w.Header()}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		k.address = ratelimit.Source(ap.Addr())
	}
	proof := ""
	for _, c := range r.CookiesNamed(SessionCookie) {
		proof += c.Value
	}
	for _, v := range r.Header.Values("Authorization") {
		proof += v
	}
	if k.proven = proof != ""; k.proven {
		sum := sha256.Sum256([]byte(proof))
		if err := k.wait(t.proofs.Take(string(sum[:])), "too many requests"); err != nil {
			return nil, r, err
		}
	} else if err := k.wait(t.addresses.Take(k.address.String()), "too many requests from this address"); err != nil {
		return nil, r, err
	}
	return k, r.WithContext(context.WithValue(r.Context(), ticketKey{}, k)), nil
}

// Identity is id for requests that the throttle let in: it counts them for
// whom id finds, and refuses those that are too many.
func (t *Throttle) Identity(id Identity) Identity {
	return func(ctx context.Context, r *http.Request) (volspec.Caller, error) {
		c, err := id(ctx, r)
		k, ok := ctx.Value(ticketKey{}).(*ticket)
		if !ok || k.admitted {
			return c, err
		}
		if refused := k.admit(ctx, c, err); refused != nil {
			return volspec.Caller{}, refused
		}
		return c, err
	}
}

// admit counts the request for c, or for its address if it shows what does not
// count.
func (k *ticket) admit(ctx context.Context, c volspec.Caller, err error) error {
	t := k.throttle
	switch {
	case errkind.Is(err, errkind.Denied):
		return k.wait(t.addresses.Take(k.address.String()), "too many requests from this address")
	case err != nil:
		return nil //nolint:nilerr // it refuses the request in its own words
	case c.Visitor:
		if k.proven {
			if err := k.wait(t.addresses.Take(k.address.String()), "too many requests from this address"); err != nil {
				return err
			}
		}
		return k.hold(ctx, crowd{address: k.address}, "from this address")
	}
	tenant := crowd{group: c.Group}
	if c.As != "" {
		tenant = crowd{} // the tenant is not to feel it
	}
	if err := k.wait(t.users.Take(string(c.User)), "too many requests of this user"); err != nil {
		return err
	}
	if err := k.wait(t.tenants.Take(string(tenant.group)), "too many requests of all users together"); err != nil {
		return err
	}
	return k.hold(ctx, tenant, "of all users together")
}

// wait is the refusal of who has to wait, nil if that is not necessary.
func (k *ticket) wait(d time.Duration, what string) error {
	if d <= 0 {
		return nil
	}
	seconds := int((d + time.Second - 1) / time.Second)
	k.answer.Set("Retry-After", strconv.Itoa(seconds))
	unit := "seconds"
	if seconds == 1 {
		unit = "second"
	}
	return errkind.New(errkind.Busy, "%s: go on in %d %s", what, seconds, unit)
}

// throttled is h for requests that t lets in.
func (s *Server) throttled(t *Throttle, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		k, r, err := t.enter(w, r)
		if err != nil {
			s.refuseStorm(w, r, err)
			return
		}
		defer k.leave()
		h(w, r)
	}
}

var busyPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Too many requests</title></head>
<body><main><h1>Too many requests</h1><p>{{.Detail}}</p></main></body></html>
`))

// refuseStorm answers who was not let in, at as little cost as possible.
func (s *Server) refuseStorm(w http.ResponseWriter, r *http.Request, err error) {
	s.metrics.observe("unknown", string(errkind.Busy), 0)
	p := problemFor(log.WithRequest(r.Context(), ""), volspec.Caller{Visitor: true}, err)
	if ofAPI(r.URL.Path) {
		writeProblem(w, p)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = busyPage.Execute(w, p) // a peer that went away is its own affair
}
