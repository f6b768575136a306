package portal

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// route is a page of the portal: its address, with names in braces for what it
// is about, and for whom it is.
type route struct{ pattern, who string }

// pagesFile lists all, see package portal: TestListOfPagesIsCurrent.
const pagesFile = "hostsvc/internal/portal/testdata/pages.txt"

func routes(t *testing.T) (all []route) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(lab.Bin.Root, pagesFile))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		pattern, who, ok := strings.Cut(strings.TrimSpace(line), " ")
		require.True(t, ok, "%s: %q", pagesFile, line)
		all = append(all, route{pattern, who})
	}
	return all
}

// elsewhere are the addresses that show no page: downloads, events, steps that
// lead on, and what exists in a state that the story does not leave behind.
var elsewhere = []string{
	"/live", "/audit/export", "/recover/{point}/file", "/recover/{point}/tar", "/tenants/{tenant}/setup", "/oidc/login", "/oidc/callback",
	"/first",                 // the story has looked at it
	"/account/factor/remove", // nobody of the story has a second factor
}

// walker is somebody who goes to all of his pages.
type walker struct {
	name                   string
	tenant, user, password string
	pages                  []string          // for whom they are, in the words of the list
	things                 map[string]string // what stands for the names in braces
	more                   []string          // addresses with a query, which change the page
	refused                bool              // some of the pages may be refused him
	known                  string            // pages whose addresses begin so look as they do to others
}

// address is where w finds a page.
func (w walker) address(t *testing.T, pattern string) string {
	t.Helper()
	address := strings.TrimSuffix(pattern, "{$}")
	for _, name := range regexp.MustCompile(`\{\w+\}`).FindAllString(address, -1) {
		thing := w.things[name]
		if of := w.things[strings.Split(pattern, "/")[1]+name]; of != "" {
			thing = of
		}
		require.NotEmpty(t, thing, "the walk knows nothing to put into %s: add it to the story", pattern)
		address = strings.Replace(address, name, thing, 1)
	}
	return address
}

// walk goes to every page of w and looks at it.
func (w walker) walk(t *testing.T, p *harness.Tab, all []route) {
	t.Helper()
	seen := 0
	for _, rt := range all {
		if !slices.Contains(w.pages, rt.who) || slices.Contains(elsewhere, rt.pattern) {
			continue
		}
		p.Open(w.address(t, rt.pattern))
		w.look(t, p, rt.pattern)
		seen++
	}
	for _, address := range w.more {
		p.Open(w.address(t, address))
		w.look(t, p, address)
	}
	t.Logf("%s has seen %d pages", w.name, seen+len(w.more))
}

// look looks at the page that is open; a glance is enough if others see the same.
func (w walker) look(t *testing.T, p *harness.Tab, what string) {
	t.Helper()
	status := p.Status()
	if w.refused && status == 403 {
		return
	}
	if what != nowhere {
		assert.Equal(t, 200, status, "%s: %s", what, p.Words())
	}
	name := strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(what), "-"), "-")
	if name == "" {
		name = "overview"
	}
	if w.known != "" && strings.HasPrefix(what, w.known) {
		p.Glance(w.name + "-" + name)
	} else {
		p.Look(w.name + "-" + name)
	}
}

// nowhere is the address of no page.
const nowhere = "/nowhere"

// everyPage goes to every page of the portal, as everybody to whom a page looks
// different, at the end of the story of which one is the tenant.
func (s *site) everyPage(t *testing.T, one *harness.Tab) {
	volume := "shop@" + s.ds.Name
	_, err := s.admin.CreateSnapshot(t.Context(), "Tenant1", volume, wire.CreateSnapshot{Name: "before-upgrade"})
	require.NoError(t, err)
	_, err = s.admin.CreateUser(t.Context(), "", wire.CreateUser{Name: "auditor", Role: volspec.MasterViewer, Password: tenantPassword, Email: "auditor@provider.example"})
	require.NoError(t, err)
	_, err = s.admin.UpdateTenant(t.Context(), "Tenant1", wire.UpdateTenant{GuestAccess: new(true), GuestFiles: new(true)})
	require.NoError(t, err)
	_, err = s.admin.CreateUser(t.Context(), "Tenant1", wire.CreateUser{Name: "guest", Role: volspec.TenantGuest, Password: tenantPassword})
	require.NoError(t, err)

	backups, err := s.admin.Jobs(t.Context(), hostclient.JobsQuery{Kind: "backup"})
	require.NoError(t, err)
	require.NotEmpty(t, backups.Jobs)

	all := routes(t)
	things := map[string]string{
		"{tenant}": "Tenant1", "{user}": "ops", "{volume}": volume, "{snapshot}": "before-upgrade", "{vm}": "web1", "{job}": "nightly",
		"activities{job}": string(backups.Jobs[0].ID), "{point}": linkOf(t, one, "/points/"), "{repository}": "main",
	}
	ofMaster := map[string]string{
		"{tenant}": "Tenant1", "{user}": "ops", "users{user}": "auditor", "{transporter}": "built-in", "activities{job}": things["activities{job}"] + "?vmgroup=Tenant1",
	}
	for _, w := range []walker{
		{name: "visitor", pages: []string{"visitors"}, things: things, more: []string{nowhere}},
		{name: "master", user: "root", password: masterPassword, pages: []string{"masters", "every user"}, things: ofMaster, known: "/account", more: []string{
			"/tenants?view=table", "/tenants/Tenant1/setup/repositories?kind=s3", "/search?q=Tenant",
		}},
		{name: "tenant", tenant: "Tenant1", user: "ops", password: tenantPassword, pages: []string{"tenants", "every user"}, things: things, more: []string{
			nowhere, "/calendar?view=week", "/calendar?view=table", "/points?of=" + volume, "/recover?of=" + volume, "/recover/{point}/files?path=/orders",
			"/volumes?q=nothing", "/repositories/new?type=s3", "/search?q=shop", "/search?q=nothing",
		}},
		{name: "guest", tenant: "Tenant1", user: "guest", password: tenantPassword, pages: []string{"tenants"}, things: things, more: []string{"/"}, refused: true, known: "/"},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			p := s.tab(t)
			if w.user != "" {
				logIn(p, w.tenant, w.user, w.password)
				p.Open("/account/tokens")
				p.Fill("Name", "script")
				p.Fill("All that you may", "true")
				p.Press("Create token")
				p.Sees("Token script is made")
				w.things = maps.Clone(w.things)
				w.things["{token}"] = linkOf(t, p, "/account/tokens/")
			}
			w.walk(t, p, all)
		})
	}
}

// linkOf is the name of a thing to which a link leads on the page above its own.
func linkOf(t *testing.T, p *harness.Tab, above string) string {
	t.Helper()
	p.Open(strings.TrimSuffix(above, "/"))
	if above == "/points/" {
		p.Press("shop")
	}
	for _, link := range p.Links() {
		if name, ok := strings.CutPrefix(link, above); ok {
			return strings.Split(name, "/")[0]
		}
	}
	require.Fail(t, "no link to "+above, p.Words())
	return ""
}
