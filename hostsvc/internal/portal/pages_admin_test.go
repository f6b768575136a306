package portal_test

import (
	"bytes"
	"encoding/json"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// took is an answer of the API that keeps what it was asked with.
func took[T any](t *testing.T, into *T, answer any) func([]byte) (any, error) {
	return func(body []byte) (any, error) {
		require.NoError(t, json.Unmarshal(body, into))
		return answer, nil
	}
}

func TestPagesOfAdministrators(t *testing.T) {
	for _, path := range []string{
		"/tenants", "/tenants?view=table&sort=users&desc=true", "/tenants?q=a&label=gold", "/new/tenant", "/tenants/acme", "/tenants/acme/edit", "/tenants/acme/act",
		"/tenants/acme/disable", "/tenants/acme/delete", "/tenants/acme/allowance", "/pool", "/pool/edit", "/tenants/acme/setup/inventory",
		"/tenants/acme/setup/transporters", "/tenants/acme/setup/repositories", "/tenants/acme/setup/repositories?kind=s3", "/tenants/acme/setup/repositories?kind=sftp",
		"/tenants/acme/setup/repositories?kind=prepared", "/tenants/acme/setup/done", "/users", "/new/user", "/users/eye", "/users/eye/delete", "/tenants/acme/users",
		"/tenants/acme/new/user", "/tenants/acme/users/late", "/tenants/acme/users/late/delete", "/audit", "/audit?actor=user:root&since=2026-11-01", "/audit/verify",
		"/transporters", "/transporters/branch", "/transporters/branch/delete", "/settings", "/settings/login", "/notifications",
	} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t, master)
			w.fillTenants()
			a := w.get(path)
			require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
			checkPage(t, a.Body.String())
			assert.NotContains(t, a.Body.String(), "<ropes>", "a description is no markup")
		})
	}
}

func TestPagesOfAdministratorsOfATenant(t *testing.T) {
	for _, path := range []string{"/pool", "/users", "/new/user", "/users/owner", "/users/late/delete", "/settings", "/settings/login", "/notifications", "/audit", "/transporters"} {
		t.Run(path, func(t *testing.T) {
			for _, c := range []volspec.Caller{owner, acting} {
				w := newWorld(t, c)
				w.fillTenants()
				a := w.get(path)
				require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
				checkPage(t, a.Body.String())
				for _, asked := range w.asked {
					assert.NotContains(t, []string{"GET /users", "GET /settings", "GET /notifications", "GET /oidc", "GET /tenants"}, asked, "what is the master's")
				}
			}
		})
	}
}

func TestFirstOfAllTenants(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	w.answers["GET /tenants"] = wire.TenantList{}
	page := w.get("/tenants").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "There are no tenants yet")
	assert.Contains(t, page, `href="/new/tenant"`)
	page = w.get("/tenants?q=nobody").Body.String()
	assert.Contains(t, page, "No tenant is like that", "a filter that finds nothing is no empty installation")

	w = newWorld(t, viewer)
	w.answers["GET /tenants"] = wire.TenantList{}
	assert.NotContains(t, w.get("/tenants").Body.String(), "/new/tenant", "who may not create is not led there")
}

func TestCreateTenant(t *testing.T) {
	form := func(change ...string) []string {
		return append([]string{"name", "acme", "description", "Ropes", "email", "ops@acme.example", "website", "acme.example", "labels", "gold, north",
			"sockets", "2", "storage", "500 GiB", "user", "owner", "generate", "on", "guest_access", "on"}, change...)
	}
	t.Run("made", func(t *testing.T) {
		w := newWorld(t, master)
		w.fillTenants()
		var r wire.CreateTenant
		w.answers["POST /tenants"] = took(t, &r, wire.TenantMade{Tenant: wire.Tenant{Name: "acme"}, Admin: &wire.User{Name: "owner", Password: "once-only"}})
		a := w.post("/new/tenant", form("password", "typed password")...)
		require.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
		checkPage(t, a.Body.String())
		assert.Contains(t, a.Body.String(), "once-only")
		assert.Contains(t, a.Body.String(), `href="/tenants/acme/setup"`, "it leads to what is next")
		sockets, storage := int64(2), int64(500<<30)
		assert.Equal(t, wire.CreateTenant{
			CreateVMGroup: wire.CreateVMGroup{Name: "acme", Description: "Ropes"}, GuestAccess: true, Allowance: &wire.Amounts{Sockets: &sockets, Storage: &storage},
			Profile: wire.Profile{Email: "ops@acme.example", Website: "https://acme.example", Labels: []string{"gold", "north"}},
			Admin:   &wire.CreateUser{Name: "owner", Email: "ops@acme.example"},
		}, r, "a password that is to be generated is not the typed one")
	})
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t, master)
		w.fillTenants()
		w.answers["POST /tenants"] = func([]byte) (any, error) {
			return nil, errkind.New(errkind.Quota, "6 sockets are more than the pool has left: ask for 4 or fewer")
		}
		a := w.post("/new/tenant", form()...)
		page := a.Body.String()
		assert.Equal(t, errkind.Quota.HTTPStatus(), a.Code)
		checkPage(t, page)
		assert.Contains(t, page, "6 sockets are more than the pool has left: ask for 4 or fewer")
		for _, typed := range []string{`value="acme"`, `value="gold, north"`, `value="500 GiB"`} {
			assert.Contains(t, page, typed, "what was typed stays")
		}
	})
	for name, c := range map[string]struct{ change, said []string }{
		"no name":     {[]string{"name", ""}, []string{"Give the tenant a name"}},
		"two fields":  {[]string{"email", "nowhere", "sockets", "two"}, []string{"2 fields are not right", "This is not an e-mail address", "&#34;two&#34; is not a number"}},
		"no unit":     {[]string{"storage", "500"}, []string{"add a unit"}},
		"no password": {[]string{"generate", ""}, []string{"Type a password, or have one generated"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, master)
			w.fillTenants()
			pairs := form()
			for i := 0; i < len(c.change); i += 2 {
				for k := 0; k < len(pairs); k += 2 {
					if pairs[k] == c.change[i] {
						pairs[k+1] = c.change[i+1]
					}
				}
			}
			page := w.post("/new/tenant", pairs...).Body.String()
			checkPage(t, page)
			for _, said := range c.said {
				assert.Contains(t, page, said)
			}
			assert.NotContains(t, w.asked, "POST /tenants")
		})
	}
}

func TestInventoryChangesOnlyWhatIsOther(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	var vms wire.VMList
	var row, added wire.SetAccess
	w.answers["PUT /vmgroups/acme/vms"] = took(t, &vms, wire.Message{})
	w.answers["PATCH /vmgroups/acme/access/fast"] = took(t, &row, wire.Message{})
	w.answers["POST /vmgroups/acme/access"] = took(t, &added, wire.Message{})
	w.answers["DELETE /vmgroups/acme/access/fast"] = wire.Message{}

	a := w.post("/tenants/acme/setup/inventory", "vm", "web1", "vm", "spare", "right-fast", "use", "max-fast", "", "total-fast", "50 GiB", "right-large", "create", "default", "fast", "go", "next")
	require.Equal(t, http.StatusSeeOther, a.Code, "%s", a.Body)
	assert.Equal(t, "/tenants/acme/setup/transporters", a.Header().Get("Location"))
	assert.Equal(t, []string{"web1", "spare"}, vms.VMs)
	assert.Equal(t, wire.SetAccess{Datastore: "fast", AllowCreate: new(false), MaxSize: new(volspec.Size(0)), TotalSize: new(50 * volspec.GiB)}, row)
	assert.Equal(t, "large", added.Datastore)

	w.asked = nil
	a = w.post("/tenants/acme/setup/inventory", "vm", "web1", "right-fast", "none", "right-large", "none", "default", "fast")
	assert.Equal(t, "/tenants/acme/setup/inventory", a.Header().Get("Location"))
	assert.Contains(t, w.asked, "DELETE /vmgroups/acme/access/fast")
	assert.NotContains(t, w.asked, "PUT /vmgroups/acme/vms", "the VMs are the same")

	page := w.post("/tenants/acme/setup/inventory", "vm", "spare", "right-fast", "create", "max-fast", "ten", "default", "fast").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "write a whole number with a unit")
	assert.Regexp(t, `value="spare" checked`, page)
	assert.NotRegexp(t, `value="web1" checked`, page, "ticks stay as they were sent")
}

func TestRepositoryOfTheWizard(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	var r wire.CreateRepository
	w.answers["POST /vmgroups/acme/repositories"] = took(t, &r, wire.Repository{})
	page := w.post("/tenants/acme/setup/repositories?kind=s3", "name", "main", "endpoint", "s3.example", "access_key", "AK", "secret_key", "hidden-key").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "Write the bucket")
	assert.Contains(t, page, `value="s3.example"`)
	assert.NotContains(t, page, "hidden-key", "secrets are never sent back")

	a := w.post("/tenants/acme/setup/repositories?kind=s3", "name", "main", "endpoint", "s3.example", "bucket", "b", "access_key", "AK", "secret_key", "hidden-key")
	assert.Equal(t, "/tenants/acme/setup/done", a.Header().Get("Location"))
	assert.Equal(t, wire.Location{Type: "s3", Endpoint: "s3.example", Bucket: "b"}, r.Location)
	assert.Equal(t, "hidden-key", r.Credentials.SecretKey)

	var give wire.Assign
	w.answers["POST /repositories/spare/assign"] = took(t, &give, wire.Repository{})
	a = w.post("/tenants/acme/setup/repositories?kind=prepared", "prepared", "spare")
	assert.Equal(t, http.StatusSeeOther, a.Code, "%s", a.Body)
	assert.Equal(t, "acme", give.VMGroup)
}

func TestDeletingATenantNeedsItsName(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	w.answers["DELETE /vmgroups/acme/tenant"] = wire.Message{}
	page := w.post("/tenants/acme/delete", "confirm", "globex").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "Type acme to confirm")
	assert.NotContains(t, w.asked, "DELETE /vmgroups/acme/tenant")
	assert.Equal(t, "/tenants", w.post("/tenants/acme/delete", "confirm", "acme", "with_data", "on").Header().Get("Location"))
}

func TestUsers(t *testing.T) {
	w := newWorld(t, owner)
	w.fillTenants()
	var r wire.UpdateUser
	w.answers["PATCH /vmgroups/acme/users/late"] = took(t, &r, wire.User{Name: "late", Password: "once-only"})
	page := w.post("/users/late/do", "do", "reset").Body.String()
	checkPage(t, page)
	assert.True(t, r.ResetPassword)
	assert.Contains(t, page, "once-only")

	a := w.post("/users/late/do", "do", "promote")
	assert.Equal(t, http.StatusBadRequest, a.Code)

	var made wire.CreateUser
	w.answers["POST /vmgroups/acme/users"] = took(t, &made, wire.User{Name: "new"})
	assert.Contains(t, w.post("/new/user", "name", "new", "role", "operator").Body.String(), "Type a password, or have one generated")
	assert.Equal(t, "/users", w.post("/new/user", "name", "new", "role", "operator", "password", "a long password").Header().Get("Location"))
	assert.Equal(t, wire.CreateUser{Name: "new", Role: volspec.Operator, Password: "a long password"}, made)

	page = w.get("/new/user").Body.String()
	assert.Contains(t, page, `value="restore-operator"`)
	assert.NotContains(t, page, `value="master-admin"`, "a tenant makes no users of the master")
}

func TestNotifications(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	var n wire.Notifications
	w.answers["PUT /notifications"] = took(t, &n, wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "new", URL: "https://new.example", Secret: "whsec_once"}}})
	page := w.post("/notifications", "emails", "a@b.example\r\nc@d.example", "event", "job-failed", "digest", "weekly",
		"hook-name-0", "chat", "hook-url-0", "https://chat.example/hook", "hook-remove-0", "on", "hook-name-1", "new", "hook-url-1", "https://new.example").Body.String()
	checkPage(t, page)
	assert.Equal(t, wire.Notifications{Emails: []string{"a@b.example", "c@d.example"}, Events: []string{"job-failed", "job-recovered"}, Digest: "weekly",
		Webhooks: []wire.NotifyWebhook{{Name: "new", URL: "https://new.example"}}}, n)
	assert.Contains(t, page, "whsec_once")

	page = w.post("/notifications/test").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "it answered 500")
}

func TestSettingsAndTheLogo(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	var s wire.Settings
	w.answers["PUT /settings"] = took(t, &s, wire.Settings{})
	send := func(picture []byte) *httptest.ResponseRecorder {
		var body bytes.Buffer
		m := multipart.NewWriter(&body)
		for name, value := range map[string]string{"csrf": csrf, "product": "Harbour", "mode": "multi", "url": ""} {
			require.NoError(t, m.WriteField(name, value))
		}
		f, err := m.CreateFormFile("logo", "logo.png")
		require.NoError(t, err)
		_, err = f.Write(picture)
		require.NoError(t, err)
		require.NoError(t, m.Close())
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "https://portal.example/settings", &body)
		r.Header.Set("Content-Type", m.FormDataContentType())
		r.Header.Set("Cookie", "__Host-mooring=secret")
		a := httptest.NewRecorder()
		w.handler.ServeHTTP(a, r)
		return a
	}
	page := send([]byte("<svg onload=alert(1)>")).Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "this is not a PNG picture")
	a := send([]byte("\x89PNG\r\n\x1a\nrest"))
	require.Equal(t, http.StatusSeeOther, a.Code, "%s", a.Body)
	assert.Equal(t, "data:image/png;base64,iVBORw0KGgpyZXN0", s.Logo)
	assert.Equal(t, "Harbour", s.Product)
}

func TestAFolderThatIsRefusedLeavesTheTicksOfTheInventory(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	w.answers["POST /vmgroups/acme/folders"] = func([]byte) (any, error) {
		return nil, errkind.New(errkind.NotFound, "there is no folder nowhere: see the hypervisor")
	}
	page := w.post("/tenants/acme/setup/folder", "folder", "nowhere").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "There is no folder nowhere")
	assert.Regexp(t, `value="web1" checked`, page, "what the other form of the page shows")
	assert.Contains(t, page, `action="/tenants/acme/setup/inventory"`)
}

func TestATenantSettlesWhatItsProviderReads(t *testing.T) {
	w := newWorld(t, owner)
	w.fillTenants()
	var asked wire.UpdateSecurity
	w.answers["PATCH /vmgroups/acme/security"] = func(body []byte) (any, error) { return wire.Tenant{}, json.Unmarshal(body, &asked) }
	assert.Contains(t, w.get("/settings").Body.String(), `name="content_refused"`)
	assert.Equal(t, http.StatusSeeOther, w.post("/settings/security", "content_refused", "on").Code)
	assert.Equal(t, wire.UpdateSecurity{ContentRefused: new(true), FactorRequired: new(false)}, asked)

	w = newWorld(t, acting)
	w.fillTenants()
	page := w.get("/settings").Body.String()
	checkPage(t, page)
	assert.NotContains(t, page, `name="content_refused"`, "who acts for it cannot settle it")
}

func TestTheAddressForTheIdentityProviderIsTheServices(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	w.answers["GET /oidc"] = wire.OIDC{Issuer: "https://login.example", Callback: "https://public.example/oidc/callback"}
	page := w.get("/settings/login").Body.String()
	assert.Contains(t, page, "https://public.example/oidc/callback")
	assert.NotContains(t, page, "https://portal.example/oidc/callback")
	delete(w.answers, "GET /oidc")
	assert.Contains(t, w.get("/settings/login").Body.String(), "https://portal.example/oidc/callback", "before there is one")
}

func TestAuditLog(t *testing.T) {
	w := newWorld(t, owner)
	w.fillTenants()
	w.answers["GET /audit/export"] = wire.AuditLine{}
	a := w.get("/audit/export?since=2026-11-02")
	assert.Contains(t, a.Header().Get("Content-Disposition"), "attachment")
	page := w.get("/audit?since=yesterday")
	assert.Equal(t, http.StatusBadRequest, page.Code)
	assert.NotContains(t, w.get("/audit").Body.String(), `name="vmgroup"`, "a tenant has one log, its own")
	w = newWorld(t, master)
	w.fillTenants()
	assert.Contains(t, w.get("/audit").Body.String(), `name="vmgroup"`)
}

// Long lists come in pages, and can be searched.
func TestLongListsComeInPages(t *testing.T) {
	for path, of := range map[string]struct {
		c    volspec.Caller
		list string
	}{
		"/users": {master, "/users"}, "/tenants/acme/users": {master, "/vmgroups/acme/users"}, "/repositories": {master, "/repositories"},
		"/transporters": {master, "/transporters"}, "/alarms": {owner, "/alarms"}, "/jobs": {owner, "/vmgroups/acme/policies"},
	} {
		t.Run(path, func(t *testing.T) {
			w := newWorld(t, of.c)
			w.fillTenants()
			w.fillData("db")
			w.fillHome()
			page := w.get(path).Body.String()
			assert.NotContains(t, page, `aria-label="Search in this list"`, "a short one needs none")
			assert.NotContains(t, page, `rel="next"`)

			w.next = "cursor of <two>"
			page = w.get(path + "?q=b%26c").Body.String()
			checkPage(t, page)
			assert.Contains(t, page, `href="`+path+`?after=cursor&#43;of&#43;%3Ctwo%3E&amp;q=b%26c"`)
			assert.Contains(t, page, `value="b&amp;c"`)
			asked := func(what string) bool {
				return slices.ContainsFunc(w.queries, func(s string) bool { return strings.HasPrefix(s, "GET "+of.list+"?") && strings.Contains(s, what) })
			}
			assert.True(t, asked("limit=100&q=b%26c"), "%s", w.queries)

			w.next = ""
			page = w.get(path + "?after=x").Body.String()
			checkPage(t, page)
			assert.Contains(t, page, "First page")
			assert.True(t, asked("?after=x&"), "%s", w.queries)

			w.answers["GET "+of.list] = []string{}
			page = w.get(path + "?q=zz").Body.String()
			checkPage(t, page)
			assert.Contains(t, page, "Nothing here is like that")
		})
	}
}

// The page of a large tenant shows some of each, and where all are.
func TestThePageOfALargeTenantIsShort(t *testing.T) {
	w := newWorld(t, master)
	w.fillTenants()
	group := w.answers["GET /vmgroups/acme"].(wire.VMGroup)
	group.VMs = make([]wire.VM, 1000)
	w.answers["GET /vmgroups/acme"] = group
	w.answers["GET /vmgroups/acme/users"] = slices.Repeat([]wire.User{{Name: "jo", Role: volspec.Operator}}, 45)
	w.answers["GET /vmgroups/acme/repositories"] = make([]wire.Repository, 21)
	w.answers["GET /transporters"] = make([]wire.Transporter, 22)
	page := w.get("/tenants/acme").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "And 980 more, all in its inventory.")
	assert.Contains(t, page, `<a href="/tenants/acme/users">And 25 more</a>`)
	assert.Contains(t, page, `<a href="/repositories?q=acme">And 1 more</a>`)
	assert.Contains(t, page, "And 2 more.")
	assert.Less(t, len(page), 100_000)
}
