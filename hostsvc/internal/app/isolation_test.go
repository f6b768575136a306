package app

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/isolation"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// wayIn is the channel for people of a site, whatever the address.
type wayIn struct {
	home *url.URL
	next http.RoundTripper
}

func (w wayIn) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, r.Host = w.home.Scheme, w.home.Host, ""
	return w.next.RoundTrip(r)
}

func (s *site) wayIn(t *testing.T) http.RoundTripper {
	t.Helper()
	home, err := url.Parse(s.d.webURL())
	require.NoError(t, err)
	return wayIn{home, s.browser(t).Transport}
}

// Every endpoint, every role of a tenant, over TLS: nothing depends on what
// another tenant has.
func TestTenantsLearnNothingOfEachOther(t *testing.T) {
	s := newSite(t, httpsTable+"user_requests = 100000\ntenant_requests = 100000\naddress_requests = 100000\n"+twoVMs).start(t).ready(t)
	_, err := s.admin(t).CreateTenant(t.Context(), wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: "bystander"}})
	require.NoError(t, err)
	r, err := isolation.Check(t.Context(), isolation.Options{Operations: operations(), Pages: pages(s.d.site()), API: s.wayIn(t), Admin: s.admin(t), Repository: t.TempDir()})
	require.NoError(t, err)
	assert.Empty(t, r.Leaks)
	assert.Empty(t, r.Without)
	assert.Greater(t, r.Compared, 7000)
	t.Log(r.Compared, "answers compared")
	left, err := s.admin(t).Tenants(t.Context(), hostclient.TenantQuery{})
	require.NoError(t, err)
	for _, g := range left.Tenants {
		assert.NotContains(t, g.Name, "isolation-check", "it takes away what it made")
	}
	assert.NotEmpty(t, left.Tenants)
}

// What the doctor does is the same, inside the process, and it takes away what
// a check that was killed left behind; nothing else.
func TestTheDoctorProvesIsolation(t *testing.T) {
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	admin := s.admin(t)
	const killed, other = "isolation-check-0123456789ab", "isolation-check-team"
	for name, description := range map[string]string{killed: "Made by mooring doctor isolation, which removes it. own", other: "checks the isolation of cables"} {
		_, err := admin.CreateTenant(t.Context(), wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: name, Description: description}})
		require.NoError(t, err)
	}
	p := &prover{d: s.d, options: func(c volspec.Caller, dir string) isolation.Options {
		o := s.d.examination(c, dir) // a part of it: TestTenantsLearnNothingOfEachOther plays all
		o.Operations = slices.DeleteFunc(o.Operations, func(op isolation.Operation) bool { return !strings.HasPrefix(op.Path, "/vmgroups/{vmgroup}/p") })
		o.Pages = slices.DeleteFunc(o.Pages, func(p isolation.Page) bool { return !strings.HasPrefix(p.Path, "/p") })
		return o
	}}
	found, err := p.check(t.Context(), volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"})
	require.NoError(t, err)
	require.Len(t, found, 1, "%v", found)
	assert.Equal(t, levelOK, found[0].Level)
	assert.Regexp(t, `^[0-9]{3,} answers compared, 0 differences$`, found[0].Detail)
	_, err = admin.Tenant(t.Context(), killed)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = admin.Tenant(t.Context(), other)
	assert.NoError(t, err)
	assert.NoDirExists(t, s.d.config().Backup.CacheDir+"/isolation")

	// The same at the next start.
	_, err = admin.CreateTenant(t.Context(), wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: killed, Description: "Made by mooring doctor isolation, which removes it. own"}})
	require.NoError(t, err)
	s.stop()
	<-s.ended
	s.start(t).ready(t)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		_, err := s.admin(t).Tenant(t.Context(), killed)
		assert.Equal(c, errkind.NotFound, errkind.Of(err))
	}, time.Minute, 50*time.Millisecond)
	_, err = s.admin(t).Tenant(t.Context(), other)
	assert.NoError(t, err)

	p.mu.Lock()
	defer p.mu.Unlock()
	_, err = p.check(t.Context(), volspec.Caller{})
	assert.Equal(t, errkind.InUse, errkind.Of(err))
}

// flaw is a service with a defect.
type flaw struct {
	next  http.RoundTripper
	from  string // the log-ins of one address are counted
	spoil func(r *http.Request, a *http.Response, body string) string
}

func (f flaw) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RemoteAddr = f.from
	a, err := f.next.RoundTrip(r)
	if err != nil || strings.HasSuffix(r.URL.Path, "/events") || r.URL.Path == "/live" {
		return a, err
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return nil, err
	}
	_ = a.Body.Close()
	said := f.spoil(r, a, string(body))
	a.Body, a.ContentLength = io.NopCloser(bytes.NewReader([]byte(said))), int64(len(said))
	return a, nil
}

// What is planted is found: the check can fail.
func TestTheCheckFindsDefects(t *testing.T) {
	var admin *hostclient.Admin // of the site
	// exists tells what the planted defects need to know. Only the path is
	// looked at.
	exists := func(r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, wire.Prefix+"/vmgroups/") {
			return false
		}
		name := strings.Split(strings.TrimPrefix(r.URL.Path, wire.Prefix+"/vmgroups/"), "/")[0]
		_, err := admin.VMGroup(context.WithoutCancel(r.Context()), name)
		return err == nil
	}
	s := newSite(t, httpsTable+twoVMs).start(t).ready(t)
	admin = s.admin(t)
	some := s.d.examination(volspec.Caller{}, "")
	some.Admin = admin
	some.Operations = slices.DeleteFunc(some.Operations, func(op isolation.Operation) bool {
		return !slices.Contains([]string{"GET /vmgroups/{vmgroup}", "GET /vmgroups/{vmgroup}/users/{user}", "GET /volumes"}, op.String())
	})
	some.Pages = slices.DeleteFunc(some.Pages, func(p isolation.Page) bool {
		return !slices.Contains([]string{"GET /{$}", "GET /search", "GET /volumes/{volume}", "GET /jobs/new", "POST /jobs/{job}/run", "POST /jobs/new"}, p.String())
	})
	// found tells of pages about something that another tenant has; the check
	// names its things like the tenant.
	found := func(r *http.Request, page string) bool {
		name, ok := strings.CutPrefix(r.URL.Path, page)
		if !ok {
			return false
		}
		_, err := admin.VMGroup(context.WithoutCancel(r.Context()), strings.Split(name, "/")[0])
		return err == nil
	}
	foreign := func(r *http.Request, a *http.Response) bool { return a.StatusCode == http.StatusNotFound && exists(r) }
	for name, spoil := range map[string]func(*http.Request, *http.Response, string) string{
		"denied instead of absent": func(r *http.Request, a *http.Response, body string) string {
			if foreign(r, a) {
				a.StatusCode = http.StatusForbidden
			}
			return body
		},
		"other words": func(r *http.Request, a *http.Response, body string) string {
			if foreign(r, a) {
				return strings.Replace(body, "does not exist", "is not yours", 1)
			}
			return body
		},
		"one space more": func(r *http.Request, a *http.Response, body string) string {
			if foreign(r, a) {
				return body + " "
			}
			return body
		},
		"a header": func(r *http.Request, a *http.Response, body string) string {
			if foreign(r, a) {
				a.Header.Set("Server-Timing", "rows")
			}
			return body
		},
		"a name in a list": func(r *http.Request, a *http.Response, body string) string {
			if r.Method != http.MethodGet || r.URL.Path != wire.Prefix+"/volumes" {
				return body
			}
			l, err := admin.Volumes(context.WithoutCancel(r.Context()), hostclient.VolumesQuery{})
			if err != nil {
				return body
			}
			for _, v := range l.Volumes {
				body += v.VMGroup
			}
			return body
		},
		"a page that is refused": func(r *http.Request, a *http.Response, body string) string {
			if found(r, "/volumes/") {
				a.StatusCode = http.StatusForbidden
			}
			return body
		},
		"a form with one blank more": func(r *http.Request, a *http.Response, body string) string {
			if r.Method == http.MethodPost && found(r, "/jobs/") {
				return body + " "
			}
			return body
		},
		"a field that knows": func(r *http.Request, _ *http.Response, body string) string {
			if name := r.URL.Query().Get("q"); r.URL.Path == "/search" && name != "" && found(&http.Request{URL: &url.URL{Path: name}}, "") {
				return body + " "
			}
			return body
		},
		"a name in a page": func(r *http.Request, _ *http.Response, body string) string {
			if r.URL.Path != "/" {
				return body
			}
			l, err := admin.Tenants(context.WithoutCancel(r.Context()), hostclient.TenantQuery{})
			if err != nil {
				return body
			}
			for _, g := range l.Tenants {
				body += g.Name
			}
			return body
		},
		"a number that counts all": func(r *http.Request, a *http.Response, body string) string {
			if foreign(r, a) {
				a.Header.Set("X-Count", "1")
			} else {
				a.Header.Set("X-Count", "0")
			}
			return body
		},
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := some
			spoiled.API = flaw{some.API, name, spoil}
			r, err := isolation.Check(t.Context(), spoiled)
			require.NoError(t, err)
			assert.NotEmpty(t, r.Leaks)
			assert.Equal(t, "error", r.Findings()[len(r.Findings())-1].Level)
		})
	}
}
