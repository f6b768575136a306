package isolation

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// The portal's forms prove by csrf where they come from, and say by once which
// showing of a form was sent. A token needs no such proof, and every request
// here is a form of its own. A second factor that is required would lock out
// those who look, who have none.
const (
	csrf   = "csrf"
	once   = "once"
	factor = "factor_required"
)

// form is what a page lets its reader send, with what its fields hold before
// anybody types. A link with parameters is one, too.
type form struct {
	method, target string
	fields         url.Values // without a value: a box that is not ticked
}

// names are the fields.
func (f form) names() []string { return slices.Sorted(maps.Keys(f.fields)) }

// ask sends the form with word in some fields.
func (f form) ask(into []string, word string) ask {
	v := maps.Clone(f.fields)
	for _, name := range into {
		v[name] = []string{word}
	}
	a := ask{method: f.method, target: f.target}
	switch {
	case f.method == http.MethodPost:
		a.body = v.Encode()
	case len(v) > 0:
		a.target += "?" + v.Encode()
	}
	return a
}

// read finds the forms and the links of a page that stay on the site.
func read(page string) (forms []form, links []string, err error) {
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return nil, nil, err
	}
	for n := range root.Descendants() {
		switch n.Data {
		case "a":
			if to := attr(n, "href"); strings.HasPrefix(to, "/") {
				to, _, _ = strings.Cut(to, "#")
				links = append(links, to)
			}
		case "form":
			f := form{strings.ToUpper(attr(n, "method")), attr(n, "action"), url.Values{}}
			if f.method == "" {
				f.method = http.MethodGet
			}
			for e := range n.Descendants() {
				f.take(e)
			}
			forms = append(forms, f)
		}
	}
	return forms, links, nil
}

// take notes a field as a browser sends it.
func (f form) take(n *html.Node) {
	name, value := attr(n, "name"), attr(n, "value")
	if name == "" || name == csrf || name == once || name == factor {
		return
	}
	switch n.Data {
	case "input":
		if kind := attr(n, "type"); (kind == "checkbox" || kind == "radio") && !has(n, "checked") {
			f.fields[name] = append(f.fields[name], []string{}...)
			return
		}
	case "textarea":
		if n.FirstChild != nil {
			value = n.FirstChild.Data
		}
	case "select":
		value = chosen(n)
	case "button":
		if f.fields.Has(name) {
			return // the first is enough
		}
	default:
		return
	}
	f.fields.Add(name, value)
}

// chosen is the value of a list.
func chosen(n *html.Node) string {
	first, found := "", false
	for o := range n.Descendants() {
		if o.Data != "option" {
			continue
		}
		if has(o, "selected") {
			return attr(o, "value")
		}
		if !found {
			first, found = attr(o, "value"), true
		}
	}
	return first
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}
