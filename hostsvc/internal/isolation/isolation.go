// Package isolation examines a running service: does anything that a tenant can
// ask depend on what another tenant has? It makes two tenants of its own, plays
// every endpoint with every role of the first, once with the names and ids of
// the second and once with some that never existed, and compares the answers.
package isolation

import (
	"context"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// Operation is one endpoint of the service.
type Operation struct {
	Method, Path string // below wire.Prefix; {word} stands for one segment
	Query        []string
	Body         reflect.Type // nil: none
	Endless      bool         // its answer is events, for as long as somebody listens
}

func (o Operation) String() string { return o.Method + " " + o.Path }

// Options are what a check works with.
type Options struct {
	Operations []Operation
	Pages      []Page // of the portal; none: there is no portal
	// API is the interface, and the portal, as people reach them.
	API http.RoundTripper
	// Admin makes the two tenants and removes them.
	Admin *hostclient.Admin
	// Repository is an empty directory of this check alone, for a repository
	// of each tenant; "" for none.
	Repository string
}

// Result is what a check found.
type Result struct {
	Compared int      // pairs of answers
	Leaks    []string // sentences; empty is good
	Without  []string // what could not be made, and why: it was not examined
}

// maxLeaks bounds what is listed: the first ones say it all.
const maxLeaks = 50

// Check makes the two tenants, compares and removes them, with what an earlier
// check left that did not come to its end. Nothing of other tenants is touched.
// Two checks at a time disturb each other.
func Check(ctx context.Context, o Options) (r Result, err error) {
	if err := Sweep(ctx, o.Admin); err != nil {
		return r, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		if left := Sweep(clean, o.Admin); err == nil {
			err = left
		}
	}()
	w, err := newWorld(ctx, o)
	if err != nil {
		return r, err
	}
	before, err := w.inventory(ctx)
	if err != nil {
		return r, err
	}
	c := &comparison{w: w, send: o.API, forms: map[userPage][]form{}, leaks: map[string]bool{}}
	if err := c.controls(ctx); err != nil {
		return r, err
	}
	for _, u := range w.users {
		if err := c.learn(ctx, u, o.Pages); err != nil {
			return r, err
		}
	}
	for _, play := range c.inOrder(o) {
		for _, u := range w.users {
			if err := play(ctx, u); err != nil {
				return r, err
			}
		}
	}
	if err := c.repeats(ctx); err != nil {
		return r, err
	}
	after, err := w.inventory(ctx)
	if err != nil {
		return r, err
	}
	if !reflect.DeepEqual(before, after) {
		c.leak("what the second tenant has was changed by users of the first")
	}
	r = Result{Compared: c.compared, Leaks: c.list(), Without: w.without}
	return r, nil
}

// inOrder is everything that is played as each user. It puts the audit log
// first, which later holds what was refused, in the caller's own words, and last
// what changes something.
func (c *comparison) inOrder(o Options) []func(context.Context, user) error {
	const ranks = 3
	var by [ranks][]func(context.Context, user) error
	add := func(method, path string, play func(context.Context, user) error) {
		rank := 2
		switch {
		case endsAuthority(method, path):
			return
		case strings.HasPrefix(path, "/audit"):
			rank = 0
		case method == http.MethodGet:
			rank = 1
		}
		by[rank] = append(by[rank], play)
	}
	for _, op := range o.Operations {
		add(op.Method, op.Path, func(ctx context.Context, u user) error { return c.examine(ctx, u, op) })
	}
	for _, p := range o.Pages {
		add(p.Method, p.Path, func(ctx context.Context, u user) error { return c.examinePage(ctx, u, p) })
	}
	return slices.Concat(by[:]...)
}

// endsAuthority tells of the endpoints and pages that are about the caller's
// own log-in and nothing else, and would end it or lock it.
func endsAuthority(method, path string) bool {
	return method != http.MethodGet && slices.ContainsFunc([]string{
		"/logout", "/login", "/first", "/session/password", "/session/totp", "/account/password", "/account/factor",
	}, func(at string) bool {
		return path == at || strings.HasPrefix(path, at+"/") || strings.HasPrefix(path, at+"-")
	})
}

// Findings is r for the doctor.
func (r Result) Findings() []wire.Finding {
	var all []wire.Finding
	for _, l := range r.Leaks {
		all = append(all, wire.Finding{Level: "error", Check: "isolation", Detail: l,
			Remedy: "tenants may learn of each other: keep users of tenants out until this is mended, and report it"})
	}
	for _, l := range r.Without {
		all = append(all, wire.Finding{Level: "warning", Check: "isolation", Detail: "examined without " + l, Remedy: "mend that and repeat the check"})
	}
	level := "ok"
	if len(r.Leaks) > 0 {
		level = "error"
	}
	sum := wire.Finding{Level: level, Check: "isolation", Detail: fmt.Sprintf("%d answers compared, %d differences", r.Compared, len(r.Leaks))}
	return append(all, sum)
}

// controls makes sure that what is searched for can be found: by its owner.
func (c *comparison) controls(ctx context.Context) error {
	for _, path := range []string{"/vmgroups/" + c.w.theirs + "/tenant", "/vmgroups/" + c.w.theirs + "/users"} {
		a, err := c.play(ctx, c.w.other, ask{method: http.MethodGet, target: wire.Prefix + path})
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || !strings.Contains(a.body, c.w.secret) {
			return errkind.New(errkind.Internal, "the check cannot find what it looks for: %s answers the tenant itself with %d: report this", path, a.status)
		}
	}
	return nil
}
