package api

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// audience says for whom an endpoint exists. For all others it is as unknown as
// one that was never written.
type audience string

const (
	guests audience = "guest" // callers that are a VM
	admins audience = "admin" // users of the master, and the administrator on this machine
	users  audience = "user"  // those, and users of tenants
	both   audience = "both"  // users and VMs
	// strangers are peers of a channel on which a VM shows a certificate, and
	// have none.
	strangers audience = "stranger"
	// visitors are peers of the channel for people who have not logged in.
	visitors audience = "visitor"
	// everybody on the channel for people: visitors and users.
	people audience = "people"
)

// tenantRule says whose data an endpoint touches.
type tenantRule string

const (
	noTenant   tenantRule = "none"    // nobody's
	ofChannel  tenantRule = "channel" // of the vmgroup of the calling VM; guests only
	ofPath     tenantRule = "path"    // of the vmgroup that the path names, for a tenant's users only their own
	ofScope    tenantRule = "scope"   // of the vmgroup of a tenant's user, of every vmgroup for users of the master
	ofUser     tenantRule = "user"    // of the calling user alone
	allTenants tenantRule = "all"     // of every vmgroup; admins only
)

func (a audience) includes(c volspec.Caller) bool {
	switch {
	case c.VM != "":
		return a == guests || a == both
	case c.Stranger:
		return a == strangers
	case c.Visitor:
		return a == visitors || a == people
	case c.Admin:
		return a == admins || a == users || a == both || a == people
	case c.Group != "":
		return a == users || a == both || a == people
	}
	return false
}

// endpoint is one row of the table.
type endpoint struct {
	method, path string // below wire.Prefix; {word} stands for one segment
	audience     audience
	permission   permission
	tenant       tenantRule
	summary      string
	query        []param
	handler
}

// name identifies an endpoint in logs and metrics.
func (e *endpoint) name() string { return e.method + " " + e.path }

// param is one query parameter. Its kind is string, integer, boolean or list.
type param struct{ name, kind, summary string }

// call is one request on its way to a use case.
type call struct {
	caller volspec.Caller
	vars   map[string]string // unescaped segments
	query  url.Values
	agent  string      // what the caller's program calls itself
	answer http.Header // of the answer
}

func (c *call) group() string { return c.vars["vmgroup"] }

// scope is the vmgroup that a listing is about: a tenant's user has only one,
// a user of the master may name one in the query; "" is all.
func (c *call) scope() string {
	if c.caller.Admin {
		return c.query.Get("vmgroup")
	}
	return c.caller.GroupName
}

func (c *call) name() string { return c.vars["name"] }

func (c *call) flag(name string) (bool, error) {
	v := c.query.Get(name)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, errkind.New(errkind.Invalid, "query parameter %s=%q is not valid: write true or false", name, v)
	}
	return b, nil
}

func (c *call) number(name string) (int, error) {
	v := c.query.Get(name)
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 31)
	if err != nil {
		return 0, errkind.New(errkind.Invalid, "query parameter %s=%q is not valid: write a number from 0 to 2147483647", name, v)
	}
	return int(n), nil
}

// handler does the work of an endpoint: in is a pointer to a new value of
// type in, nil if the endpoint takes no body. It has either run, which gives
// an answer, or stream, which writes one for as long as it takes.
type handler struct {
	in, out reflect.Type
	run     func(ctx context.Context, s *Server, c *call, in any) (any, error)
	stream  func(ctx context.Context, s *Server, c *call, w *streamWriter) error
	media   string // type of what stream writes; out is that of its parts, nil for bytes
	later   bool   // the answer is about work that goes on: 202
	parted  bool   // the answer is a list, see rows
	most    int64  // bytes of the body; 0: wire.MaxRequest
	reveals bool   // the answer opens the content of recovery points, as all with backupContent do
}

// status is that of a good answer.
func (h *handler) status() int {
	if h.later {
		return http.StatusAccepted
	}
	return http.StatusOK
}

// accept makes h the handler of an endpoint whose work goes on after the
// answer.
func accept(h handler) handler {
	h.later = true
	return h
}

// large is for an endpoint whose body may hold a bundle.
func large(h handler) handler {
	h.most = wire.MaxBundle
	return h
}

// reveal says that an answer opens content, whatever permission it needs.
func reveal(h handler) handler {
	h.reveals = true
	return h
}

// take makes the handler of an endpoint with a request body.
func take[In, Out any](f func(ctx context.Context, s *Server, c *call, in In) (Out, error)) handler {
	return handler{
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		run: func(ctx context.Context, s *Server, c *call, in any) (any, error) { return f(ctx, s, c, *in.(*In)) },
	}
}

// give makes the handler of an endpoint without one.
func give[Out any](f func(ctx context.Context, s *Server, c *call) (Out, error)) handler {
	return handler{
		out: reflect.TypeFor[Out](),
		run: func(ctx context.Context, s *Server, c *call, _ any) (any, error) { return f(ctx, s, c) },
	}
}

// said is the answer of a verb that has nothing else to say.
func said(err error, words ...string) (wire.Message, error) {
	if err != nil {
		return wire.Message{}, err
	}
	return wire.Message{Message: strings.Join(words, " ")}, nil
}
