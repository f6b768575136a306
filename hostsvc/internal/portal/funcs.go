package portal

import (
	"fmt"
	"html/template"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// funcs are the words that templates know, besides those of html/template.
func (r *renderer) funcs() template.FuncMap {
	return template.FuncMap{
		// making things
		"dict": dict, "list": func(v ...any) []any { return v },
		"link": func(label, url, icon string, kind ...string) action {
			return action{Label: label, URL: url, Icon: icon, Kind: strings.Join(kind, "")}
		},
		"crumb":  func(label, url string) action { return action{Label: label, URL: url} },
		"option": func(value, label any) option { return option{fmt.Sprint(value), fmt.Sprint(label)} },
		"path":   pathOf, "query": r.query, "here": func() string { return r.q.here() },
		// showing things
		"bytes": bytesText, "jobText": jobText, "count": count, "duration": durationText, "percent": percent,
		"when": func(t any) template.HTML { return r.time(t, "2 Jan 2006, 15:04") },
		"date": func(t any) template.HTML { return r.time(t, "2 Jan 2006") },
		"hour": func(t any) template.HTML { return r.time(t, "15:04") },
		"ago":  r.ago, "icon": icon, "state": stateOf, "join": strings.Join, "title": title, "roleName": roleName,
		"zone": func() string { return r.q.zone().String() },
		// the request
		"can":         func(permission string) bool { return r.q.can(permission) },
		"reads":       func() bool { return r.q.can("backup.content") && !r.q.contentRefused() },
		"unread":      func() bool { return r.q.contentRefused() },
		"opens":       func(path string) bool { return r.q.opens(path) },
		"tenant":      func() string { return r.q.tenant() },
		"master":      func() bool { return r.q.caller.Admin },
		"csrf":        func() string { return r.q.session.CSRF },
		"once":        newForm,
		"value":       func(name string, otherwise any) string { return r.q.value(name, otherwise) },
		"ticked":      func(name, value string, otherwise bool) bool { return r.q.ticked(name, value, otherwise) },
		"wrong":       func(name string) string { return r.q.fields[name] },
		"asset":       func(name string) string { return "/static/" + name + "?" + r.assets[name].stamp },
		"id":          r.id,
		"accountTabs": accountTabs, "scopeName": scopeName, "alarmName": alarmName,
	}
}

// action is something that can be done: a link, or a button if it has no URL.
// Kind is "", primary or danger.
type action struct{ Label, URL, Icon, Kind string }

// option is one of the values that a field can have.
type option struct{ Value, Label string }

// dict makes the argument of a component: names and values by turns. A name
// that is not given is "" in the component.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict needs names and values by turns, got %d", len(pairs))
	}
	d := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("name %v of a dict is not a string", pairs[i])
		}
		d[name] = pairs[i+1]
	}
	return d, nil
}

// pathOf is the path of a page: words that are its segments, each escaped.
func pathOf(segments ...any) string {
	var b strings.Builder
	for _, s := range segments {
		word := url.PathEscape(fmt.Sprint(s))
		if word == "." || word == ".." {
			word = strings.ReplaceAll(word, ".", "%2E")
		}
		b.WriteString("/" + word)
	}
	return b.String()
}

// withQuery is the address of a page with parameters, if there are any.
func withQuery(path string, v url.Values) string {
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// query is the address of the page that is shown with some parameters changed;
// "" takes one away.
func (r *renderer) query(pairs ...any) (string, error) {
	d, err := dict(pairs...)
	if err != nil {
		return "", err
	}
	q := r.q.r.URL.Query()
	for name, value := range d {
		if v := fmt.Sprint(value); v == "" {
			q.Del(name)
		} else {
			q.Set(name, v)
		}
	}
	return withQuery(r.q.here(), q), nil
}

// id is an identifier that no other element of the page has.
func (r *renderer) id(name string) string {
	r.ids[name]++
	if n := r.ids[name]; n > 1 {
		return fmt.Sprintf("%s-%d", name, n)
	}
	return name
}

// time is a moment in the zone of the user; nothing has happened yet: a dash.
func (r *renderer) time(v any, layout string) template.HTML {
	t, ok := v.(time.Time)
	if !ok || t.IsZero() {
		return none
	}
	return r.moment(t, t.In(r.q.zone()).Format(layout))
}

// ago is a moment as seen from now.
func (r *renderer) ago(v any) template.HTML {
	t, ok := v.(time.Time)
	if !ok || t.IsZero() {
		return none
	}
	words := "just now"
	switch d := r.now.Sub(t); {
	case d >= time.Minute:
		words = roughly(d) + " ago"
	case d <= -time.Minute:
		words = "in " + roughly(-d)
	}
	return r.moment(t, words)
}

// none is shown for what is not there.
const none template.HTML = `<span class="muted">–</span>`

// moment is an element for a time, which people see as text.
func (r *renderer) moment(t time.Time, text string) template.HTML {
	t = t.In(r.q.zone())
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, //nolint:gosec // escaped
		t.UTC().Format(time.RFC3339), template.HTMLEscapeString(t.Format("Monday, 2 January 2006, 15:04:05 MST")), template.HTMLEscapeString(text)))
}

// title is a word with a capital letter.
func title(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// sentence is what the service says, as a sentence of a page.
func sentence(s string) string {
	s = title(strings.TrimSpace(s))
	if s == "" || strings.HasSuffix(s, "…") || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// bytesText is a number of bytes with at most three digits and a unit.
func bytesText(v any) string {
	n, ok := number(v)
	if !ok {
		return fmt.Sprint(v)
	}
	return volspec.Size(n).Rounded()
}

// number is any number of Go.
func number(v any) (float64, bool) {
	switch x := reflect.ValueOf(v); {
	case x.CanInt():
		return float64(x.Int()), true
	case x.CanUint():
		return float64(x.Uint()), true
	case x.CanFloat():
		return x.Float(), true
	}
	return 0, false
}

// percent is the part of a whole, 0 to 100.
func percent(part, whole any) int {
	p, _ := number(part)
	w, _ := number(whole)
	if w <= 0 {
		return 0
	}
	return int(min(max(100*p/w, 0), 100))
}

// digits is a whole number as text.
func digits(n int) string { return strconv.Itoa(n) }

// count is a number of things: "1 volume", "2 volumes". A plural that is not
// made by an s is given.
func count(n any, word string, plural ...string) string {
	v, _ := number(n)
	switch {
	case v == 1:
		return "1 " + word
	case len(plural) > 0: // a template's call has an empty slice, not nil
		word = plural[0]
	default:
		word += "s"
	}
	return fmt.Sprintf("%.0f %s", v, word)
}

// durationText is a span of time in its one or two largest units.
func durationText(d time.Duration) string {
	for i, u := range spans {
		if d < u.of {
			continue
		}
		n := d / u.of
		text := count(int64(n), u.name)
		if i+1 < len(spans) && n < 3 {
			if rest := (d - n*u.of) / spans[i+1].of; rest > 0 {
				text += " " + count(int64(rest), spans[i+1].name)
			}
		}
		return text
	}
	return "under a second"
}

// roughly is a span of time in its largest unit.
func roughly(d time.Duration) string {
	for _, u := range spans {
		if d >= u.of {
			d = d.Truncate(u.of)
			break
		}
	}
	return durationText(d)
}

var spans = []struct {
	of   time.Duration
	name string
}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}}
