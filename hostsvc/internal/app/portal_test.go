package app

import (
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// tab is a browser before the portal of a site. It knows pages, not bodies of
// the API.
type tab struct {
	s    *site
	t    *testing.T
	http *http.Client
	csrf string // of the page seen last
	once string // of its last form
}

func (s *site) tab(t *testing.T) *tab {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	t.Cleanup(tr.CloseIdleConnections)
	return &tab{s: s, t: t, http: &http.Client{Transport: tr, Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// page is what a browser shows after it has followed redirects.
type page struct {
	status     int
	path, text string
	links      []string
}

var once = regexp.MustCompile(`name="once" value="[A-Z0-9]+"`)

// without is the text without a name, and without what is new in each form.
func (p page) without(name string) string {
	return once.ReplaceAllString(strings.ReplaceAll(p.text, name, ""), "")
}

func (b *tab) get(path string) page { return b.visit(http.MethodGet, path, nil) }

// post sends a form as the page seen last would.
func (b *tab) post(path string, pairs ...string) page {
	form := url.Values{"csrf": {b.csrf}, "once": {b.once}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	return b.visit(http.MethodPost, path, form)
}

func (b *tab) visit(method, path string, form url.Values) page {
	b.t.Helper()
	for range 5 {
		r, err := http.NewRequestWithContext(b.t.Context(), method, b.s.d.webURL()+path, strings.NewReader(form.Encode()))
		require.NoError(b.t, err)
		if form != nil {
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
		}
		resp, err := b.http.Do(r)
		require.NoError(b.t, err)
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		require.NoError(b.t, err)
		if to := resp.Header.Get("Location"); to != "" {
			method, path, form = http.MethodGet, to, nil
			continue
		}
		return b.read(page{status: resp.StatusCode, path: path, text: string(body)})
	}
	b.t.Fatalf("%s leads in a circle", path)
	return page{}
}

func (b *tab) read(p page) page {
	root, err := html.Parse(strings.NewReader(p.text))
	require.NoError(b.t, err)
	for n := range root.Descendants() {
		attrs := map[string]string{}
		for _, a := range n.Attr {
			attrs[a.Key] = a.Val
		}
		if to := attrs["href"]; n.Data == "a" && strings.HasPrefix(to, "/") {
			p.links = append(p.links, to)
		}
		if attrs["name"] == "csrf" {
			b.csrf = attrs["value"]
		}
		if attrs["name"] == "once" {
			b.once = attrs["value"]
		}
	}
	return p
}

// crawl opens every page that can be reached by links.
func (b *tab) crawl() map[string]page {
	seen, todo := map[string]page{}, []string{"/"}
	for len(todo) > 0 && len(seen) < 300 {
		path := todo[0]
		todo = todo[1:]
		if _, done := seen[path]; done || strings.Contains(path, "download") || strings.Contains(path, "export") {
			continue
		}
		p := b.get(path)
		seen[path] = p
		todo = append(todo, p.links...)
	}
	return seen
}

const (
	rootPassword  = "seven quiet harbours"
	ownerPassword = "nine small lanterns"
	guestPassword = "ten long jetties"
)

// fill makes the first administrator and two tenants with a user each, through
// the portal.
func (s *site) fill(t *testing.T) (root, owner *tab) {
	root = s.tab(t)
	p := root.get("/")
	require.Equal(t, "/first", p.path, "the first visit asks for the code")
	p = root.post("/first", "code", "wrong", "mode", "multi", "user", "root", "password", rootPassword, "again", rootPassword)
	require.Equal(t, http.StatusForbidden, p.status)
	p = root.post("/first", "code", s.d.web.first.code, "mode", "multi", "user", "root", "password", rootPassword, "again", rootPassword)
	require.Equal(t, http.StatusOK, p.status, p.text)
	require.Contains(t, p.text, "There are no tenants yet")
	for name, password := range map[string]string{"acme": ownerPassword, "zzsecret": ownerPassword} {
		root.get("/new/tenant")
		p = root.post("/new/tenant", "name", name, "description", name+" description", "email", name+"@example.com", "user", name+"-owner", "password", password)
		require.Equal(t, http.StatusOK, p.status, p.text)
		require.Contains(t, p.text, name+" is created")
	}
	owner = s.tab(t)
	owner.get("/login")
	p = owner.post("/login", "tenant", "acme", "user", "acme-owner", "password", ownerPassword)
	require.Equal(t, http.StatusOK, p.status, p.text)
	if p.path == "/account/password" { // the provider knew it
		p = owner.post("/account/password", "old", ownerPassword, "new", ownerPassword+"s", "again", ownerPassword+"s")
	}
	require.Equal(t, "/", p.path)
	require.Contains(t, p.text, "Your service is not configured")
	return root, owner
}

func TestPagesOfATenantSayNothingOfAnother(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	root, owner := s.fill(t)

	pages := owner.crawl()
	assert.Greater(t, len(pages), 20, "%v", slices.Sorted(maps.Keys(pages)))
	for path, p := range pages {
		assert.Equal(t, http.StatusOK, p.status, path)
		assert.NotContains(t, p.text, "zzsecret", path)
	}
	for path, p := range root.crawl() {
		assert.Equal(t, http.StatusOK, p.status, path)
	}
	// What is another tenant's cannot be told from what does not exist.
	for _, path := range []string{"/tenants/NAME", "/tenants/NAME/users", "/users/NAME-owner", "/volumes/NAME", "/points/NAME", "/activities/NAME", "/repositories/NAME", "/jobs/NAME", "/t/NAME"} {
		other := owner.get(strings.ReplaceAll(path, "NAME", "zzsecret"))
		absent := owner.get(strings.ReplaceAll(path, "NAME", "zzabsent"))
		assert.Equal(t, absent.status, other.status, path)
		assert.Equal(t, absent.without("zzabsent"), other.without("zzsecret"), path)
	}
	stranger := s.tab(t)
	for _, path := range slices.Sorted(maps.Keys(pages)) {
		p := stranger.get(path)
		assert.True(t, strings.HasPrefix(p.path, "/login"), "%s shows itself to a visitor", path)
	}
	assert.Equal(t, stranger.get("/t/zzabsent").without("zzabsent"), stranger.get("/t/zzsecret").without("zzsecret"),
		"the log-in of a tenant does not say whether it exists")
}

func TestWhoIsDisabledIsLoggedOut(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	root, owner := s.fill(t)
	require.Equal(t, http.StatusOK, owner.get("/account").status)
	admin := s.admin(t)
	_, err := admin.UpdateUser(t.Context(), "acme", "acme-owner", wire.UpdateUser{Enabled: new(false)})
	require.NoError(t, err)
	assert.Equal(t, "/login", strings.Split(owner.get("/account").path, "?")[0])

	root.get("/")
	p := root.post("/logout")
	assert.Equal(t, "/login", p.path)
	assert.Contains(t, p.text, "You have logged out.")
	assert.Equal(t, "/login", root.get("/").path[:6])
	home, err := url.Parse(s.d.webURL())
	require.NoError(t, err)
	for _, c := range root.http.Jar.Cookies(home) {
		assert.NotEqual(t, api.SessionCookie, c.Name, "the browser forgets the session")
	}
}

func TestGuestsLookAndChangeNothing(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	s.fill(t)
	admin := s.admin(t)
	_, err := admin.CreateUser(t.Context(), "acme", wire.CreateUser{Name: "looker", Role: volspec.TenantGuest, Password: guestPassword})
	require.NoError(t, err)
	guest := s.tab(t)
	guest.get("/login")
	p := guest.post("/login", "tenant", "acme", "user", "looker", "password", guestPassword)
	require.Equal(t, http.StatusForbidden, p.status, "guests are shut out until the tenant lets them in")
	_, err = admin.UpdateTenant(t.Context(), "acme", wire.UpdateTenant{GuestAccess: new(true)})
	require.NoError(t, err)
	p = guest.post("/login", "tenant", "acme", "user", "looker", "password", guestPassword)
	if p.path == "/account/password" {
		p = guest.post("/account/password", "old", guestPassword, "new", guestPassword+"s", "again", guestPassword+"s")
	}
	require.Equal(t, "/", p.path, p.text)
	pages := guest.crawl()
	for path, p := range pages {
		assert.Equal(t, http.StatusOK, p.status, path)
	}
	for _, path := range []string{"/jobs/new", "/users", "/audit"} {
		assert.Equal(t, http.StatusForbidden, guest.get(path).status, path)
		assert.NotContains(t, pages, path, "what is refused is not offered")
	}
}

// A double click, and a reload of what a form led to, make one of each thing.
func TestAFormThatIsSentTwiceWorksOnce(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	root, _ := s.fill(t)

	root.get("/new/tenant")
	pages := make(chan page, 2)
	send := *root
	for range 2 {
		go func() {
			b := send
			pages <- b.post("/new/tenant", "name", "twice", "user", "owner", "generate", "on")
		}()
	}
	first, second := <-pages, <-pages
	require.Contains(t, first.text, "twice is created")
	secret := regexp.MustCompile(`<code id="secret"[^>]*>([^<]+)<`)
	require.NotEmpty(t, secret.FindStringSubmatch(first.text), first.text)
	assert.Equal(t, secret.FindStringSubmatch(first.text), secret.FindStringSubmatch(second.text), "both clicks show the password that was generated once")
	assert.Contains(t, send.post("/new/tenant", "name", "twice", "user", "other").text, "twice", "what was changed is another request")

	root.get("/account/tokens")
	reload := *root
	for range 2 {
		b := reload
		require.Contains(t, b.post("/account/tokens", "name", "robot", "days", "1").text, "mrg_")
	}
	assert.Equal(t, 1, strings.Count(root.get("/account/tokens").text, "robot</th>"))
}

// Each number of the overview leads to as many activities as it says.
func TestNumbersOfTheOverviewLeadToTheirActivities(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	root, owner := s.fill(t)
	now := time.Now()
	require.NoError(t, s.d.catalog.Jobs().Update(t.Context(), func(tx job.Tx) error {
		n := 0
		for _, group := range []string{"acme", "zzsecret"} {
			tenant, err := s.admin(t).Tenant(t.Context(), group)
			require.NoError(t, err)
			for _, kind := range []string{"backup", "drill", "policy", "maintain"} {
				for _, age := range []time.Duration{time.Minute, 23 * time.Hour, 25 * time.Hour, 6 * 24 * time.Hour, 8 * 24 * time.Hour} {
					n++
					state := []job.State{job.Done, job.Failed, job.Partial, job.Done, job.Canceled}[n%5]
					end := now.Add(-age)
					j := job.Job{ID: volspec.JobID(fmt.Sprint("test", n)), Group: volspec.VMGroupID(tenant.ID), Kind: kind, Object: "x", State: state, Priority: 3, Created: end.Add(-time.Hour), Begun: end.Add(-time.Hour), EndedAt: end}
					if err := tx.PutJob(j); err != nil {
						return err
					}
				}
			}
		}
		return nil
	}))
	number := regexp.MustCompile(`<a href="(/activities\?[^"]+)"><span class="badge[^>]*>.*?</svg>(\d+) `)
	for name, b := range map[string]*tab{"root": root, "owner": owner} {
		all := number.FindAllStringSubmatch(b.get("/").text, -1)
		require.Greater(t, len(all), 4, "%s", name)
		some := 0
		for _, m := range all {
			rows := strings.Count(b.get(html.UnescapeString(m[1])).text, "<tr data-job=")
			assert.Equal(t, m[2], strconv.Itoa(rows), "%s: %s", name, m[1])
			some += rows
		}
		assert.Positive(t, some)
	}
	days := "/activities?kind=work&period=days&from=" + now.AddDate(0, 0, -7).UTC().Format(time.DateOnly) + "&to=" + now.AddDate(0, 0, -5).UTC().Format(time.DateOnly)
	assert.Equal(t, 2, strings.Count(owner.get(days).text, "<tr data-job="))
}
