package isolation

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// Page is one page of the portal, or what a form of it does.
type Page struct {
	Method, Path string // {word} stands for one segment, {$} for nothing
	Endless      bool   // its answer is events, for as long as somebody listens
}

func (p Page) String() string { return p.Method + " " + p.Path }

// seen is how often a page is opened with different parameters while the pages
// of a user are looked through.
const seen = 2

// learn looks through all pages of a user as a browser would, by links. What
// forms and parameters they have is kept for pageAsks.
func (c *comparison) learn(ctx context.Context, u user, pages []Page) error {
	var todo []string
	for _, p := range pages {
		if p.Method == http.MethodGet && !p.Endless && !strings.Contains(strings.TrimSuffix(p.Path, "{$}"), "{") {
			todo = append(todo, strings.TrimSuffix(p.Path, "{$}"))
		}
	}
	known, times := map[string]bool{}, map[Page]int{}
	for len(todo) > 0 {
		target := todo[0]
		todo = todo[1:]
		p, there := pageOf(pages, http.MethodGet, target)
		if known[target] || !there || p.Endless || times[p] == seen {
			continue
		}
		known[target] = true
		times[p]++
		a, err := c.play(ctx, u, ask{method: http.MethodGet, target: target})
		if err != nil {
			return err
		}
		if a.status != http.StatusOK || !strings.HasPrefix(a.kind, "text/html") {
			continue
		}
		forms, links, err := read(a.body)
		if err != nil {
			return errkind.Wrap(errkind.Internal, err, "read the page %s", target)
		}
		for _, l := range links {
			todo = append(todo, l)
			if at, query, ok := strings.Cut(l, "?"); ok {
				fields, err := url.ParseQuery(query)
				if err != nil {
					return errkind.Wrap(errkind.Internal, err, "read the link %s", l)
				}
				forms = append(forms, form{http.MethodGet, at, fields})
			}
		}
		for _, f := range forms {
			if p, ok := pageOf(pages, f.method, f.target); ok {
				c.keep(u, p, f)
			}
		}
	}
	return nil
}

// keep notes a form of a page, if it has a field that none before had.
func (c *comparison) keep(u user, p Page, f form) {
	k := userPage{u, p}
	fresh := len(c.forms[k]) == 0
	for name := range f.fields {
		fresh = fresh || !slices.ContainsFunc(c.forms[k], func(old form) bool { return old.fields.Has(name) })
	}
	if fresh {
		c.forms[k] = append(c.forms[k], f)
	}
}

type userPage struct {
	user
	Page
}

// pageOf is the page at an address. Where several fit it is the one with fewer
// variables.
func pageOf(pages []Page, method, target string) (best Page, found bool) {
	at, _, _ := strings.Cut(target, "?")
	segments := strings.Split(at, "/")
	for _, p := range pages {
		pattern := strings.Split(strings.TrimSuffix(p.Path, "{$}"), "/")
		if p.Method != method || len(pattern) != len(segments) {
			continue
		}
		fits := true
		for i, s := range pattern {
			fits = fits && (s == segments[i] || strings.HasPrefix(s, "{") && segments[i] != "")
		}
		if fits && (!found || strings.Count(p.Path, "{") < strings.Count(best.Path, "{")) {
			best, found = p, true
		}
	}
	return best, found
}

// examinePage plays a page as one user.
func (c *comparison) examinePage(ctx context.Context, u user, p Page) error {
	if p.Endless {
		_, err := c.play(ctx, u, ask{method: p.Method, target: p.Path})
		return err
	}
	for _, t := range c.w.pageAsks(p, c.forms[userPage{u, p}]) {
		if err := c.compare(ctx, u, p.String(), t); err != nil {
			return err
		}
	}
	return nil
}

// pageAsks makes the requests for a page: the second tenant's names and ids
// stand in the path, and in each field of the forms that lead there from the
// user's own pages.
func (w *world) pageAsks(p Page, forms []form) (all []twins) {
	for _, x := range w.pairs {
		if path := strings.TrimSuffix(p.Path, "{$}"); strings.Contains(path, "{") && x.fits(path) {
			var fields url.Values
			if len(forms) > 0 && p.Method == http.MethodPost {
				fields = forms[0].fields
			}
			of := func(theirs bool) ask {
				return form{p.Method, fill(path, x.of(theirs), x.of(theirs)), fields}.ask(nil, "")
			}
			all = append(all, twins{of(true), of(false)})
		}
		for _, f := range forms {
			names := f.names()
			add := func(into ...string) {
				all = append(all, twins{f.ask(into, x.theirs), f.ask(into, x.never)})
			}
			switch {
			case len(names) == 0:
			case x == w.names():
				for _, name := range names {
					add(name)
				}
			default:
				add(names...)
			}
		}
	}
	return all
}

// fits tells whether something of its kind can stand in a path.
func (p pair) fits(path string) bool { return p.kind == "" || strings.Contains(path, "{"+p.kind+"}") }
