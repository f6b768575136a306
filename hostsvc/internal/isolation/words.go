package isolation

import (
	"net/url"
	"reflect"
	"slices"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// pair is something that the second tenant has, and something like it that
// nobody has.
type pair struct {
	theirs, never string
	kind          string // what an id is of, in the words of paths; "" for names
}

func (p pair) of(theirs bool) string {
	if theirs {
		return p.theirs
	}
	return p.never
}

// ask is one request.
type ask struct{ method, target, body, key string }

// twins are two requests that differ only in whose things they name.
type twins struct{ theirs, never ask }

// asks makes the requests for an endpoint: in the path, in each query
// parameter and in each field of the body stand the second tenant's names and
// ids, in its own vmgroup and in the caller's.
func (w *world) asks(op Operation) (all []twins) {
	for _, p := range w.pairs {
		for _, group := range []pair{{theirs: w.own, never: w.own}, w.names()} {
			add := func(query, theirs, never string) {
				path := func(t bool) string {
					at := wire.Prefix + fill(op.Path, group.of(t), p.of(t))
					if query != "" {
						at += "?" + url.Values{query: {p.of(t)}}.Encode()
					}
					return at
				}
				all = append(all, twins{ask{method: op.Method, target: path(true), body: theirs}, ask{method: op.Method, target: path(false), body: never}})
			}
			theirs, never := []string{""}, []string{""}
			if op.Body != nil {
				theirs, never = bodies(op.Body, p.theirs), bodies(op.Body, p.never)
			}
			switch {
			case group == w.names() && p != w.names():
				continue // what is there is not looked at in another's vmgroup
			case group != w.names() && strings.Contains(p.theirs, w.theirs):
				for i := range theirs {
					add("", theirs[i], never[i])
				}
				for _, name := range op.Query {
					add(name, theirs[0], never[0])
				}
				continue
			}
			// An id goes into all fields at once.
			add("", theirs[len(theirs)-1], never[len(never)-1])
		}
	}
	slices.SortFunc(all, func(a, b twins) int { return strings.Compare(a.theirs.line(), b.theirs.line()) })
	return slices.CompactFunc(all, func(a, b twins) bool { return a.theirs == b.theirs })
}

func (a ask) line() string { return a.method + " " + a.target + " " + a.body }

// mentions tells whether the request itself says a word.
func (a ask) mentions(word string) bool {
	target, err := url.QueryUnescape(a.target)
	return strings.Contains(a.line(), word) || err == nil && strings.Contains(target, word) || strings.Contains(a.key, word)
}

// fill puts the vmgroup and a thing into a path.
func fill(path, group, thing string) string {
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch {
		case s == "{vmgroup}":
			segments[i] = url.PathEscape(group)
		case strings.HasPrefix(s, "{"):
			segments[i] = url.PathEscape(thing)
		}
	}
	return strings.Join(segments, "/")
}

// bodies are values of t as JSON, with word in one field after the other and
// then in all of them.
func bodies(t reflect.Type, word string) []string {
	fields := texts(t, "")
	var all []string
	for _, f := range fields {
		all = append(all, encode(t, func(path string) bool { return path == f }, word))
	}
	all = append(all, encode(t, func(string) bool { return true }, word))
	if t == reflect.TypeFor[wire.CreateVolume]() {
		all = append(all,
			`{"name":"copy","options":{"clone-from":"`+word+`"}}`, `{"name":"copy","options":{"clone-from":"`+word+`","from-snapshot":"`+word+`"}}`,
			`{"name":"copy","options":{"datastore":"`+word+`"}}`)
	}
	return slices.Compact(all)
}

// randomIDs are an id of the second tenant, and one that nobody has.
func randomIDs(kind, id string) []pair {
	if _, err := uuid.Parse(id); err != nil {
		return nil
	}
	return []pair{{id, uuid.NewString(), kind}}
}

var roleType = reflect.TypeFor[volspec.Role]()
