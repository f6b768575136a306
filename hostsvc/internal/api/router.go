package api

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// route finds the endpoint for a caller. vars holds the unescaped segments.
// If only the method is wrong, e is nil and allow lists the right ones. What
// is not for this caller is not looked at, so it cannot be told from what
// does not exist.
//
// Paths are matched as they were escaped: a name may contain %2F without
// being two segments, and nothing resolves "..".
func route(c volspec.Caller, method, escaped string) (e *endpoint, vars map[string]string, allow []string) {
	rest, ok := strings.CutPrefix(escaped, wire.Prefix+"/")
	if !ok {
		return nil, nil, nil
	}
	segments := strings.Split(rest, "/")
	for i, s := range segments {
		u, err := url.PathUnescape(s)
		if err != nil || u == "" {
			return nil, nil, nil
		}
		segments[i] = u
	}
	for i := range endpoints {
		e := &endpoints[i]
		if !e.audience.includes(c) {
			continue
		}
		vars, ok := e.match(segments)
		switch {
		case !ok:
		case e.method == method, method == http.MethodHead && e.headless():
			return e, vars, nil
		default:
			allow = append(allow, e.method)
			if e.headless() {
				allow = append(allow, http.MethodHead)
			}
		}
	}
	slices.Sort(allow)
	return nil, nil, allow
}

// headless tells whether HEAD is answered as GET is, by net/http without the
// body. A stream would be read for nothing.
func (e *endpoint) headless() bool { return e.method == http.MethodGet && e.stream == nil }

func (e *endpoint) match(segments []string) (map[string]string, bool) {
	vars := map[string]string{}
	i := 0
	for want := range strings.SplitSeq(e.path[1:], "/") {
		if i == len(segments) {
			return nil, false
		}
		if name, ok := variable(want); ok {
			vars[name] = segments[i]
		} else if want != segments[i] {
			return nil, false
		}
		i++
	}
	return vars, i == len(segments)
}

// variable tells whether a segment of a table's path stands for any word.
func variable(segment string) (name string, ok bool) {
	if len(segment) > 2 && segment[0] == '{' {
		return segment[1 : len(segment)-1], true
	}
	return "", false
}
