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
	// API is the interface as people reach it, with sessions and tokens.
	API http.RoundTripper
	// Admin makes the two tenants and removes them.
	Admin *hostclient.Admin
	// Repository is an empty directory of this check alone, for a repository
	// of the second tenant; "" for none.
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
	if err := sweep(ctx, o.Admin); err != nil {
		return r, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTime)
		defer cancel()
		if left := sweep(clean, o.Admin); err == nil {
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
	c := &comparison{w: w, send: o.API, leaks: map[string]bool{}}
	if err := c.controls(ctx); err != nil {
		return r, err
	}
	for _, op := range inOrder(o.Operations) {
		for _, u := range w.users {
			if err := c.examine(ctx, u, op); err != nil {
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

// inOrder puts the audit log first, which later holds what was refused, in the
// caller's own words, and last what changes something.
func inOrder(all []Operation) []Operation {
	rank := func(o Operation) int {
		switch {
		case strings.HasPrefix(o.Path, "/audit"):
			return 0
		case o.Method == http.MethodGet:
			return 1
		}
		return 2
	}
	all = slices.DeleteFunc(slices.Clone(all), endsAuthority)
	slices.SortStableFunc(all, func(a, b Operation) int { return rank(a) - rank(b) })
	return all
}

// endsAuthority tells of the endpoints that are about the caller's own log-in
// and nothing else, and would end it or lock it.
func endsAuthority(o Operation) bool {
	return slices.Contains([]string{"/logout", "/login", "/first-admin", "/session/password", "/session/totp"}, o.Path)
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
