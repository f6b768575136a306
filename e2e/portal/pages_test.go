package portal

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/e2e/harness"
)

// mostPages bounds a walk through all pages.
const mostPages = 250

// everyPage follows all links from the first page on, and looks at one page of
// each kind. Nowhere may somebody come to an error.
func everyPage(t *testing.T, p *harness.Tab, who string) {
	t.Helper()
	queue, known, kinds := []string{"/"}, map[string]bool{"/": true}, map[string]bool{}
	for n := 0; len(queue) > 0 && n < mostPages; n++ {
		path := queue[0]
		queue = queue[1:]
		p.Open(path)
		kind := regexp.MustCompile(`\bpage-(\S+)`).FindStringSubmatch(p.Attribute("body", "class"))
		if !assert.NotNil(t, kind, "%s: %s", path, p.Words()) || !assert.NotEqual(t, "error", kind[1], "%s: %s", path, p.Words()) {
			continue
		}
		if !kinds[kind[1]] {
			kinds[kind[1]] = true
			p.Look("page-" + who + "-" + kind[1])
		}
		for _, link := range p.Links() {
			if shape := shapeOf(link); !known[shape] && !begins(link, "/static/", "/logo.png", "/audit/export", "/t/", "/oidc/", "/login") {
				known[shape] = true
				queue = append(queue, link)
			}
		}
	}
	t.Logf("%s sees %d kinds of pages at %d addresses", who, len(kinds), len(known))
}

// shapeOf is an address without the values of its parameters.
func shapeOf(link string) string {
	return regexp.MustCompile(`=[^&]*`).ReplaceAllString(link, "")
}

func begins(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}
