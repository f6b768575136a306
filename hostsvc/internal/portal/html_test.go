package portal_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

// document is a page as a browser understands it.
type document struct {
	root *html.Node
	text string
}

func parse(t *testing.T, page string) document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	require.NoError(t, err)
	return document{root, page}
}

// all yields the elements with one of the names, in their order.
func (d document) all(names ...string) (found []*html.Node) {
	for n := range d.root.Descendants() {
		if n.Type == html.ElementNode && slices.Contains(names, n.Data) {
			found = append(found, n)
		}
	}
	return found
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func has(n *html.Node, name string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// words is the text inside an element.
func words(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func inside(n *html.Node, names ...string) *html.Node {
	for p := range n.Ancestors() {
		if slices.Contains(names, p.Data) {
			return p
		}
	}
	return nil
}

// checkPage fails the test for whatever shuts people out, or lets a policy of
// content be lax.
func checkPage(t *testing.T, page string) {
	t.Helper()
	d := parse(t, page)
	ids, labels := map[string]int{}, map[string]string{}
	for n := range d.root.Descendants() {
		if id := attr(n, "id"); id != "" {
			ids[id]++
		}
		if n.Data == "label" {
			labels[attr(n, "for")] = words(n)
		}
		assert.False(t, has(n, "style"), "<%s> has a style of its own", n.Data)
		for _, a := range n.Attr {
			assert.False(t, n.Type == html.ElementNode && strings.HasPrefix(a.Key, "on"), "<%s> has a script of its own: %s", n.Data, a.Key)
			if a.Key == "src" || a.Key == "href" || a.Key == "action" {
				assert.True(t, strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "//") || strings.HasPrefix(a.Val, "#") || strings.HasPrefix(a.Val, "?") ||
					n.Data == "a" && (strings.HasPrefix(a.Val, "https://") || strings.HasPrefix(a.Val, "http://") || strings.HasPrefix(a.Val, "mailto:") || strings.HasPrefix(a.Val, "tel:")),
					"<%s %s=%q> leads elsewhere", n.Data, a.Key, a.Val)
			}
		}
	}
	for id, n := range ids {
		assert.Equal(t, 1, n, "id %s", id)
	}
	titles := d.all("title")
	if assert.NotEmpty(t, titles, "a page has a title") {
		assert.Regexp(t, `^\S.* · \S`, words(titles[0]))
	}
	assert.Len(t, d.all("h1"), 1, "one h1")
	assert.Len(t, d.all("main"), 1, "one main")
	level := 0
	for _, h := range d.all("h1", "h2", "h3", "h4") {
		at := int(h.Data[1] - '0')
		assert.LessOrEqual(t, at, level+1, "heading %q skips a level", words(h))
		assert.NotEmpty(t, words(h), "<%s> is empty", h.Data)
		level = at
	}
	for _, n := range d.all("input", "select", "textarea") {
		if k := attr(n, "type"); k == "hidden" || k == "submit" {
			continue
		}
		named := labels[attr(n, "id")] + attr(n, "aria-label")
		if l := inside(n, "label"); l != nil {
			named += words(l)
		}
		assert.NotEmpty(t, named, "field %s has no label", attr(n, "name"))
		assert.NotEmpty(t, attr(n, "name"), "field %q has no name", named)
	}
	for id := range labels {
		assert.True(t, id == "" || ids[id] == 1, "label for %s labels nothing", id)
	}
	for _, n := range d.all("button", "a", "summary") {
		assert.NotEmpty(t, words(n)+attr(n, "aria-label"), "<%s %s> has no name", n.Data, attr(n, "href"))
	}
	for _, n := range d.all("img") {
		assert.True(t, has(n, "alt"), "img %s has no alt", attr(n, "src"))
	}
	for _, n := range d.all("svg") {
		assert.True(t, attr(n, "aria-hidden") == "true" || attr(n, "aria-label") != "" || attr(n, "aria-labelledby") != "", "svg without a name")
	}
	for _, n := range d.all("table") {
		assert.True(t, slices.ContainsFunc(slices.Collect(n.ChildNodes()), func(c *html.Node) bool { return c.Data == "caption" && words(c) != "" }), "table without a caption")
	}
	for _, n := range d.all("form") {
		if attr(n, "method") != "post" {
			continue
		}
		assert.True(t, slices.ContainsFunc(slices.Collect(n.Descendants()), func(c *html.Node) bool { return attr(c, "name") == "csrf" }),
			"form %s does not show that it is ours", attr(n, "action"))
	}
	for _, n := range d.all("script") {
		assert.NotEmpty(t, attr(n, "src"), "script in the page")
		assert.Empty(t, words(n), "script in the page")
	}
	assert.Empty(t, d.all("style"), "style in the page")
	for n := range d.root.Descendants() {
		for _, name := range []string{"aria-describedby", "aria-labelledby", "aria-controls"} {
			for id := range strings.FieldsSeq(attr(n, name)) {
				assert.Equal(t, 1, ids[id], "%s=%s leads nowhere", name, id)
			}
		}
	}
	assert.NotContains(t, page, "ZgotmplZ", "a value that is not safe where it stands")
	assert.NotContains(t, page, "&lt;no value&gt;")
	assert.NotContains(t, page, "<no value>")
}
