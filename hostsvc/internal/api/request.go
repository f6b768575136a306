package api

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var requestID = regexp.MustCompile(`^[0-9a-zA-Z-]{1,64}$`)

// exchange is one request and what is known of it so far.
type exchange struct {
	caller   volspec.Caller
	endpoint *endpoint // nil until one is found
	vars     map[string]string
	allow    []string // methods, when only the method was wrong
	call     *call    // set when it may be done
}

// serve answers one request on a channel with an identity.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, id Identity) {
	start := time.Now()
	s.metrics.inFlight.Inc()
	defer s.metrics.inFlight.Dec()

	rid := r.Header.Get(wire.HeaderRequest)
	if !requestID.MatchString(rid) {
		rid = ""
	}
	unlimited := log.WithRequest(r.Context(), rid)
	ctx, cancel := context.WithTimeout(unlimited, s.o.RequestLimit)
	defer cancel()
	w.Header().Set(wire.HeaderRequest, log.Request(ctx))

	// A peer that asks and never reads must not keep its connection for ever.
	until := func(t time.Time) { _ = http.NewResponseController(w).SetWriteDeadline(t) } // fails only where there is no connection
	until(start.Add(s.o.RequestLimit + s.writeTime))

	var x exchange
	body, err := guarded(func() ([]byte, error) { return s.answer(ctx, w, r, id, &x) })
	if err == nil && x.endpoint.stream != nil {
		s.sendStream(unlimited, w, &x, start)
		return
	}
	until(time.Now().Add(s.writeTime))
	switch {
	case x.allow != nil:
		w.Header().Set("Allow", strings.Join(x.allow, ", "))
		writeProblem(w, wrongMethod(problemFor(ctx, x.caller, err)))
	case x.caller.Visitor && x.endpoint == nil && errkind.Is(err, errkind.Denied):
		writeProblem(w, unauthorized(problemFor(ctx, x.caller, err)))
	case err != nil:
		writeProblem(w, problemFor(ctx, x.caller, err))
	default:
		write(w, x.endpoint.status(), "application/json", body)
	}
	s.record(ctx, &x, err, time.Since(start))
}

// guarded turns a panic in a use case into an internal error: one request
// fails, its stack is in the log, the service goes on.
func guarded(do func() ([]byte, error)) (body []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errkind.New(errkind.Internal, "panic: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// answer is the way of every request: who, which version, what, may he, with
// what, do it. That of a stream ends before the last step.
func (s *Server) answer(ctx context.Context, w http.ResponseWriter, r *http.Request, id Identity, x *exchange) ([]byte, error) {
	c, err := id(ctx, r)
	if err != nil {
		x.caller.Visitor = c.Visitor
		return nil, err
	}
	if err := checkCaller(c); err != nil {
		return nil, err
	}
	x.caller = c
	if err := checkProtocol(r.Header.Get(wire.HeaderProtocol), s.o.Version); err != nil {
		return nil, err
	}
	if x.endpoint, x.vars, x.allow = route(c, r.Method, r.URL.EscapedPath()); x.endpoint == nil {
		if x.allow != nil {
			return nil, errkind.New(errkind.Invalid, "method %s does not exist here: use %s", clip(r.Method), strings.Join(x.allow, " or "))
		}
		if c.Visitor {
			return nil, notLoggedIn // whether or not there is something for users
		}
		return nil, noEndpoint
	}
	e := x.endpoint
	if e.tenant == ofPath && c.Group != "" && x.vars["vmgroup"] != c.GroupName {
		return nil, errkind.New(errkind.NotFound, "Vmgroup %s does not exist", x.vars["vmgroup"])
	}
	if !e.permission.allows(c) {
		err := refuse(e, c)
		s.o.Audit.Refused(ctx, c, cmp.Or(c.GroupName, x.vars["vmgroup"]), e.name(), r.URL.Path, err)
		return nil, err
	}
	if err := s.mayRead(ctx, x); err != nil {
		s.o.Audit.Refused(ctx, c, cmp.Or(c.GroupName, x.vars["vmgroup"]), e.name(), r.URL.Path, err)
		return nil, err
	}
	query, err := e.checkQuery(r.URL.RawQuery, strict(c))
	if err != nil {
		return nil, err
	}
	var in any
	if e.in != nil {
		if c.Visitor || c.User != "" {
			if err := checkMedia(r.Header); err != nil {
				return nil, err
			}
		}
		if in, err = readBody(w, r, e.in, cmp.Or(e.most, wire.MaxRequest), strict(c)); err != nil {
			return nil, err
		}
	}
	x.call = &call{caller: c, vars: x.vars, query: query, agent: r.UserAgent(), answer: w.Header()}
	if e.stream != nil {
		return nil, nil
	}
	return s.once(ctx, r, x, in, func() ([]byte, error) { return s.run(ctx, x, in) })
}

// mayRead refuses what opens content that the vmgroup does not show the caller.
func (s *Server) mayRead(ctx context.Context, x *exchange) error {
	if s.o.Accounts == nil || !x.endpoint.reveals && x.endpoint.permission != backupContent {
		return nil
	}
	return s.o.Accounts.MayRead(ctx, x.caller, x.vars["vmgroup"])
}

// run does the work of an endpoint and encodes its answer.
func (s *Server) run(ctx context.Context, x *exchange, in any) ([]byte, error) {
	ctx, stop := s.watched(ctx, x)
	defer stop()
	out, err := x.endpoint.run(x.named(ctx), s, x.call, in)
	if refused := revoked(ctx); refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if v := reflect.ValueOf(out); v.Kind() == reflect.Slice && v.IsNil() {
		return []byte("[]"), nil // an empty list is a list
	}
	body, err := json.Marshal(out)
	return body, errkind.Wrap(errkind.Internal, err, "encode the answer")
}

// named is ctx for the logs of a use case.
func (x *exchange) named(ctx context.Context) context.Context {
	ctx = log.With(ctx, log.Op, x.endpoint.name())
	if x.caller.VM != "" {
		ctx = log.With(ctx, log.VM, x.caller.VMName)
	}
	if x.caller.Group != "" {
		ctx = volspec.Confine(log.With(ctx, log.VMGroup, x.caller.GroupName), x.caller.Group)
	}
	return ctx
}

// strict tells whether words that an endpoint does not know are refused: right
// for people, whose typing error must not be obeyed half, wrong for machines,
// whose plugin may be one version ahead of the service.
func strict(c volspec.Caller) bool { return c.Names() || c.Visitor }

// refuse says why a caller may not, in words that fit who it is.
func refuse(e *endpoint, c volspec.Caller) error {
	switch {
	case c.MustChange:
		return errkind.New(errkind.Denied, "your password was generated: change it before you do anything else")
	case c.MustFactor:
		return account.NeedsFactor
	case c.Role == "":
		return errkind.New(errkind.Denied, "%s needs the permission %s, which this channel does not give", e.name(), e.permission)
	case !c.Scope.Has(string(e.permission)):
		return errkind.New(errkind.Denied, "this needs the permission %s, which the token does not have: use one with it", e.permission)
	}
	return errkind.New(errkind.Denied, "this needs the permission %s, which the role %s does not have: ask an administrator", e.permission, c.Role)
}

// checkProtocol compares the peer's version with ours. A peer that states
// none, such as curl, is taken at our own.
func checkProtocol(header, version string) error {
	if header == "" {
		return nil
	}
	p, err := strconv.Atoi(header)
	switch {
	case err != nil:
		return errkind.New(errkind.Invalid, "header %s: %q is not a number", wire.HeaderProtocol, clip(header))
	case p > wire.Protocol:
		return errkind.New(errkind.Unsupported, "the caller speaks protocol %d, mooringd %s speaks %d to %d: update mooringd first", p, version, wire.MinProtocol, wire.Protocol)
	case p < wire.MinProtocol:
		return errkind.New(errkind.Unsupported, "the caller speaks protocol %d, mooringd %s speaks %d to %d: update the caller", p, version, wire.MinProtocol, wire.Protocol)
	}
	return nil
}

// checkQuery parses a query; strict refuses parameters that the endpoint does
// not have.
func (e *endpoint) checkQuery(raw string, strict bool) (url.Values, error) {
	q, err := url.ParseQuery(raw)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, "the query is not valid: %s", err.Error())
	}
	if !strict {
		return q, nil
	}
	for name := range q {
		if !slices.ContainsFunc(e.query, func(p param) bool { return p.name == name }) {
			return nil, errkind.New(errkind.Invalid, "%s has no query parameter %q", e.name(), clip(name))
		}
	}
	return q, nil
}

// record counts a request and writes its one log line.
func (s *Server) record(ctx context.Context, x *exchange, err error, took time.Duration) {
	name, kind := "unknown", "ok"
	if x.endpoint != nil {
		name = x.endpoint.name()
	}
	if err != nil {
		kind = string(errkind.Of(err))
	}
	s.metrics.observe(name, kind, took)

	pairs := []any{log.Op, name, log.Dur, took.Milliseconds(), log.Kind, kind}
	for _, f := range [][2]string{
		{log.Actor, x.caller.Actor},
		{log.VM, x.caller.VMName},
		{log.VMGroup, x.vars["vmgroup"]},
		{log.Volume, x.vars["name"]},
	} {
		if f[1] != "" {
			pairs = append(pairs, f[0], f[1])
		}
	}
	if err != nil {
		pairs = append(pairs, log.Err, err.Error())
	}
	x.level(err)(log.G(log.With(ctx, pairs...)), "request")
}

// level is error for what somebody must look at, warn for what should pass,
// debug for what only asks, comes every few seconds or too often, info for the
// rest.
func (x *exchange) level(err error) func(e *log.Entry, args ...any) {
	switch errkind.Of(err) {
	case errkind.Internal, errkind.Corrupt:
		return (*log.Entry).Error
	case errkind.Unavailable, errkind.Offline:
		return (*log.Entry).Warn
	}
	if e := x.endpoint; errkind.Is(err, errkind.Busy) || e != nil && (e.method == http.MethodGet || e.path == "/heartbeat") {
		return (*log.Entry).Debug
	}
	return (*log.Entry).Info
}

func clip(s string) string {
	if len(s) > 40 {
		return fmt.Sprintf("%.40s…", s)
	}
	return s
}
