package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// problem reads an answer that must be a problem.
func (r reply) problem(t *testing.T) wire.Problem {
	t.Helper()
	var p wire.Problem
	assert.Equal(t, "application/problem+json", r.header.Get("Content-Type"))
	require.NoError(t, json.Unmarshal([]byte(r.body), &p), r.body)
	assert.Equal(t, r.status, p.Status)
	assert.Equal(t, http.StatusText(r.status), p.Title)
	assert.Equal(t, r.header.Get("X-Request-Id"), p.Request)
	return p
}

func TestErrorsAreProblems(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	cause := &fs.PathError{Op: "open", Path: "/srv/ds1/secret", Err: errors.New("input/output error")}
	for name, tc := range map[string]struct {
		err                        error
		status                     int
		kind, toGuest, toAdmin     string
		neverInBody, neverForGuest string
	}{
		"plain":   {err: errkind.New(errkind.Quota, "quota exceeded"), status: 507, kind: "quota", toGuest: "quota exceeded", toAdmin: "quota exceeded"},
		"wrapped": {err: fmt.Errorf("volume: %w", errkind.New(errkind.InUse, "busy")), status: 423, kind: "in-use", toGuest: "busy", toAdmin: "busy"},
		"chain":   {err: errkind.Wrap(errkind.Denied, errkind.New(errkind.NotFound, "no row"), "not allowed"), status: 403, kind: "denied", toGuest: "not allowed: no row", toAdmin: "not allowed: no row"},
		"foreign cause": {
			err: errkind.Wrap(errkind.Unavailable, cause, "datastore fast is away"), status: 503, kind: "unavailable",
			toGuest: "datastore fast is away", toAdmin: "datastore fast is away: open /srv/ds1/secret: input/output error", neverForGuest: "/srv",
		},
		"unclassified": {err: cause, status: 500, kind: "internal", toGuest: "internal error, see the log of mooringd for request R1", toAdmin: "internal error, see the log of mooringd for request R1", neverInBody: "/srv"},
		"our bug":      {err: errkind.Wrap(errkind.Internal, cause, "row 7"), status: 500, kind: "internal", toGuest: "internal error, see the log of mooringd for request R1", toAdmin: "internal error, see the log of mooringd for request R1", neverInBody: "row 7"},
		"late":         {err: context.DeadlineExceeded, status: 503, kind: "unavailable", toGuest: "the work was not finished in time: repeat the command to see how it ends (request R1)", toAdmin: "the work was not finished in time: repeat the command to see how it ends (request R1)"},
	} {
		t.Run(name, func(t *testing.T) {
			g.uses.answer(func(context.Context) error { return tc.err })
			for socket, want := range map[string]string{guest: tc.toGuest, admin: tc.toAdmin} {
				target := wire.Prefix + "/volumes/v"
				if socket == admin {
					target = wire.Prefix + "/vmgroups/g/volumes/v"
				}
				got := ask(t, socket, "GET", target, "", "X-Request-Id: R1")
				p := got.problem(t)
				assert.Equal(t, wire.Problem{Title: http.StatusText(tc.status), Status: tc.status, Detail: want, Kind: tc.kind, Request: "R1"}, p)
				for _, secret := range []string{tc.neverInBody, tc.neverForGuest} {
					if secret != "" && (socket == guest || secret == tc.neverInBody) {
						assert.NotContains(t, got.body, secret)
					}
				}
			}
		})
	}
}

func TestPanicIsOneInternalError(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerA))
	logged := capture(t)
	g.uses.answer(func(context.Context) error { panic("boom") })
	p := ask(t, socket, "GET", wire.Prefix+"/volumes/v", "", "X-Request-Id: P1").problem(t)
	assert.Equal(t, "internal error, see the log of mooringd for request P1", p.Detail)
	line := logged(t)
	assert.Equal(t, "error", line["level"])
	assert.Contains(t, line["err"], "panic: boom")
	assert.Contains(t, line["err"], "stub_test.go", "with its stack")
	g.uses.answer(nil)
	assert.Equal(t, http.StatusOK, ask(t, socket, "GET", wire.Prefix+"/volumes/v", "").status, "the service goes on")
}

// lines is a log that one test reads.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// capture collects the log from now on; the returned function gives the only
// line with the message "request", and starts anew.
func capture(t *testing.T) func(t *testing.T) map[string]any {
	to := &lines{}
	set := func(w io.Writer) {
		require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "json", Output: w}))
	}
	set(to)
	t.Cleanup(func() { set(io.Discard) })
	return func(t *testing.T) map[string]any {
		t.Helper()
		var found []map[string]any
		require.Eventually(t, func() bool {
			to.mu.Lock()
			defer to.mu.Unlock()
			for line := range strings.Lines(to.b.String()) {
				var m map[string]any
				if json.Unmarshal([]byte(line), &m) == nil && m["msg"] == "request" {
					found = append(found, m)
				}
			}
			if len(found) > 0 {
				to.b.Reset()
			}
			return len(found) > 0
		}, 10*time.Second, time.Millisecond)
		require.Len(t, found, 1, "one line per request")
		return found[0]
	}
}

func TestOneLogLinePerRequest(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	logged := capture(t)
	for _, tc := range []struct {
		socket, method, target string
		err                    error
		want                   map[string]any
	}{
		{guest, "GET", "/volumes/v", nil, map[string]any{"level": "debug", "op": "GET /volumes/{name}", "vm": "vm a", "volume": "v", "kind": "ok"}},
		{guest, "DELETE", "/volumes/v", nil, map[string]any{"level": "info", "op": "DELETE /volumes/{name}", "kind": "ok"}},
		{guest, "DELETE", "/volumes/v", errkind.New(errkind.InUse, "busy"), map[string]any{"level": "info", "kind": "in-use", "err": "busy"}},
		{guest, "DELETE", "/volumes/v", errkind.New(errkind.Unavailable, "away"), map[string]any{"level": "warning", "kind": "unavailable"}},
		{guest, "DELETE", "/volumes/v", errkind.New(errkind.Corrupt, "bad"), map[string]any{"level": "error", "kind": "corrupt"}},
		{guest, "GET", "/volumes/v", errors.New("bug"), map[string]any{"level": "error", "kind": "internal", "err": "bug"}},
		{admin, "DELETE", "/vmgroups/g/volumes/v", nil, map[string]any{"level": "info", "actor": "admin:0", "vmgroup": "g", "volume": "v"}},
		{guest, "GET", "/nowhere", nil, map[string]any{"level": "info", "op": "unknown", "kind": "not-found", "vm": "vm a"}},
	} {
		g.uses.answer(func(context.Context) error { return tc.err })
		ask(t, tc.socket, tc.method, wire.Prefix+tc.target, "", "X-Request-Id: L1")
		line := logged(t)
		for k, v := range tc.want {
			assert.Equal(t, v, line[k], "%s of %s %s", k, tc.method, tc.target)
		}
		assert.Equal(t, "L1", line["req"])
		assert.Contains(t, line, "dur_ms")
	}
}

func TestRequestIDs(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerA))
	for _, good := range []string{"a", "7f3a91-XYZ", strings.Repeat("x", 64)} {
		got := ask(t, socket, "GET", wire.Prefix+"/hello", "", "X-Request-Id: "+good)
		assert.Equal(t, good, got.header.Get("X-Request-Id"))
	}
	for _, bad := range []string{"", "a b", "a\"b", "a_b", "ü", strings.Repeat("x", 65), "$(reboot)"} {
		got := ask(t, socket, "GET", wire.Prefix+"/hello", "", "X-Request-Id: "+bad)
		assert.Regexp(t, "^[0-9a-f]{8}$", got.header.Get("X-Request-Id"), "%q is replaced", bad)
	}
	var inside string
	g.uses.answer(func(ctx context.Context) error { inside = log.Request(ctx); return nil })
	ask(t, socket, "GET", wire.Prefix+"/volumes/v", "", "X-Request-Id: travels-on")
	assert.Equal(t, "travels-on", inside)
}

func TestProtocolVersions(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerA))
	for header, want := range map[string]string{
		"":     "",
		"1":    "",
		"2":    "unsupported: the caller speaks protocol 2, mooringd 1.2.3 speaks 1 to 1: update mooringd first",
		"0":    "unsupported: the caller speaks protocol 0, mooringd 1.2.3 speaks 1 to 1: update the caller",
		"-7":   "unsupported: the caller speaks protocol -7, mooringd 1.2.3 speaks 1 to 1: update the caller",
		"one":  "invalid: header Mooring-Protocol: \"one\" is not a number",
		"1e99": "invalid: header Mooring-Protocol: \"1e99\" is not a number",
	} {
		got := ask(t, socket, "GET", wire.Prefix+"/hello", "", "Mooring-Protocol: "+header)
		if want == "" {
			assert.Equal(t, http.StatusOK, got.status)
			continue
		}
		p := got.problem(t)
		assert.Equal(t, want, p.Kind+": "+p.Detail)
	}
}

// HEAD tells what GET would, without the body, but does not read streams.
func TestHead(t *testing.T) {
	g := newRig(t)
	admin := g.channel(as(callerAdmin))
	get, head := ask(t, admin, "GET", wire.Prefix+"/vmgroups", ""), ask(t, admin, "HEAD", wire.Prefix+"/vmgroups", "")
	assert.Equal(t, get.status, head.status)
	assert.Equal(t, get.header.Get("Content-Length"), head.header.Get("Content-Length"))
	assert.NotEmpty(t, get.body)
	assert.Empty(t, head.body)
	g.uses.take()
	got := ask(t, admin, "HEAD", wire.Prefix+"/events", "")
	assert.Equal(t, http.StatusMethodNotAllowed, got.status)
	assert.Equal(t, "GET", got.header.Get("Allow"))
	assert.Empty(t, g.uses.take())
}

func TestMethodsAndPaths(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	got := ask(t, guest, "PUT", wire.Prefix+"/volumes/v", "")
	assert.Equal(t, http.StatusMethodNotAllowed, got.status)
	assert.Equal(t, "DELETE, GET, HEAD", got.header.Get("Allow"))
	p := got.problem(t)
	assert.Equal(t, "invalid: method PUT does not exist here: use DELETE or GET or HEAD", p.Kind+": "+p.Detail)
	got = ask(t, admin, "PATCH", wire.Prefix+"/vmgroups/g/vms", "")
	assert.Equal(t, "DELETE, GET, HEAD, POST, PUT", got.header.Get("Allow"))
	for _, target := range []string{"/", "/api", "/api/v1", "/api/v1/", "/api/v2/hello", "/hello"} {
		got := ask(t, guest, "GET", target, "")
		assert.Equal(t, http.StatusNotFound, got.status, target)
		assert.Equal(t, "there is no such endpoint for this caller: is it one for the provider, or is the other side of another version?", got.problem(t).Detail)
	}
	assert.Empty(t, g.uses.take())
}

func TestBodies(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	big := `{"name":"` + strings.Repeat("x", wire.MaxRequest) + `"}`
	const invalid = "the request body is not valid"
	for body, want := range map[string]string{
		"":                           "the request has no body: send a JSON object, {} at least",
		" \n":                        "the request has no body: send a JSON object, {} at least",
		"{":                          invalid + ": unexpected EOF",
		"x":                          invalid + ": invalid character 'x' looking for beginning of value",
		`{"name":1}`:                 invalid + ": field \"name\" is a JSON number, which does not fit",
		`[]`:                         invalid + " is a JSON array, which does not fit",
		`{"name":"v"} {}`:            invalid + ": there is something after the JSON object",
		`{"name":"v"}]`:              invalid + ": there is something after the JSON object",
		`{"options":{"size":1}}`:     invalid + ": field \"options\" is a JSON number, which does not fit",
		big:                          "the request body is larger than 256 KiB",
		strings.Repeat(" ", 300<<10): "the request body is larger than 256 KiB",
	} {
		got := ask(t, guest, "POST", wire.Prefix+"/volumes", body)
		p := got.problem(t)
		assert.Equal(t, "invalid: "+want, p.Kind+": "+p.Detail)
	}
	assert.Empty(t, g.uses.take(), "no use case saw any of it")

	// A bundle may be larger, and has an end too.
	for size, want := range map[int]int{wire.MaxRequest: http.StatusOK, wire.MaxBundle: http.StatusRequestEntityTooLarge} {
		got := ask(t, admin, "POST", wire.Prefix+"/tenants/load", `{"name":"`+strings.Repeat("x", size)+`"}`)
		assert.Equal(t, want, got.status)
	}
	assert.Len(t, g.uses.take(), 1)

	for body, want := range map[string]string{
		`{"size":"1"}`:  `size "1" is not valid: add a unit: 1mb, 1gb or 1b`,
		`{"size":"-1"}`: `size "-1" is not valid: write a whole number with a unit, such as 100mb, 10gb or 1tb`,
		`{"size":1}`:    `the request body is not valid: field "size" is a JSON number, which does not fit`,
	} {
		assert.Equal(t, want, ask(t, admin, "POST", wire.Prefix+"/vmgroups/g/volumes/v/resize", body).problem(t).Detail)
	}
}

// A plugin one version ahead is served; an administrator's typing error is
// not obeyed half.
func TestUnknownFieldsAndParameters(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	assert.Equal(t, http.StatusOK, ask(t, guest, "POST", wire.Prefix+"/volumes?new=1", `{"name":"v","priority":3}`).status)
	g.uses.take()

	p := ask(t, admin, "POST", wire.Prefix+"/vmgroups/g/volumes", `{"name":"v","priority":3}`).problem(t)
	assert.Equal(t, `the request body is not valid: json: unknown field "priority"`, p.Detail)
	p = ask(t, admin, "DELETE", wire.Prefix+"/vmgroups/g/volumes/v?purge=true&forse=true", "").problem(t)
	assert.Equal(t, `DELETE /vmgroups/{vmgroup}/volumes/{name} has no query parameter "forse"`, p.Detail)
	p = ask(t, admin, "DELETE", wire.Prefix+"/vmgroups/g/volumes/v?purge=maybe", "").problem(t)
	assert.Equal(t, `query parameter purge="maybe" is not valid: write true or false`, p.Detail)
	for _, limit := range []string{"-1", "x", "99999999999"} {
		p = ask(t, admin, "GET", wire.Prefix+"/audit?limit="+limit, "").problem(t)
		assert.Equal(t, `query parameter limit="`+limit+`" is not valid: write a number from 0 to 2147483647`, p.Detail)
	}
	p = ask(t, admin, "GET", wire.Prefix+"/audit?limit=%zz", "").problem(t)
	assert.Contains(t, p.Detail, "the query is not valid")
	assert.Empty(t, g.uses.take())
}

func TestRequestLimit(t *testing.T) {
	g := newRig(t, func(o *Options) { o.RequestLimit = 50 * time.Millisecond })
	g.uses.answer(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	p := ask(t, g.channel(as(callerA)), "GET", wire.Prefix+"/volumes/v", "", "X-Request-Id: T1").problem(t)
	assert.Equal(t, "unavailable: the work was not finished in time: repeat the command to see how it ends (request T1)", p.Kind+": "+p.Detail)
}

// A caller who is nobody, or who is more than one, gets nothing.
func TestIdentityIsRequired(t *testing.T) {
	g := newRig(t)
	for name, id := range map[string]Identity{
		"nobody":     as(volspec.Caller{VMName: "name only"}),
		"VM & admin": as(volspec.Caller{Admin: true, VM: callerA.VM}),
	} {
		p := ask(t, g.channel(id), "GET", wire.Prefix+"/hello", "").problem(t)
		assert.Equal(t, "internal", p.Kind, name)
	}
	refuse := func(context.Context, *http.Request) (volspec.Caller, error) {
		return callerAdmin, errkind.New(errkind.Denied, "not you")
	}
	socket := g.channel(refuse)
	for _, target := range []string{wire.Prefix + "/hello", "/healthz", "/metrics"} {
		p := ask(t, socket, "GET", target, "").problem(t)
		assert.Equal(t, "denied: not you", p.Kind+": "+p.Detail)
	}
	assert.Empty(t, g.uses.take())
}
