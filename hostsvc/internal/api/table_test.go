package api

import (
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Nothing gets into the table without saying who may do it to whose data.
func TestEveryEndpointDeclaresPermissionAndTenantRule(t *testing.T) {
	for _, e := range endpoints {
		t.Run(string(e.audience)+" "+e.name(), func(t *testing.T) {
			assert.Contains(t, []audience{guests, admins, users, both, strangers, visitors, people}, e.audience)
			holders, known := holdersOf[e.permission]
			require.True(t, known, "permission %q is not declared", e.permission)
			for _, h := range holders {
				assert.True(t, h.Known() || h == aVM || h == aStranger || h == aVisitor, "%q is nobody", h)
			}
			used := false
			for _, c := range allCallers {
				used = used || e.audience.includes(c) && e.permission.allows(c)
			}
			assert.True(t, used, "nobody of the audience could use it")
			named := strings.Contains(e.path, "{vmgroup}")
			switch e.tenant {
			case noTenant:
				assert.False(t, named)
			case ofChannel:
				assert.Equal(t, guests, e.audience)
				assert.False(t, named, "a guest's vmgroup is that of its channel")
			case ofPath:
				assert.Contains(t, []audience{admins, users}, e.audience)
				assert.True(t, named)
			case ofScope:
				assert.Equal(t, users, e.audience)
				assert.False(t, named)
			case ofUser:
				assert.Equal(t, users, e.audience)
				assert.False(t, named)
			case allTenants:
				assert.Equal(t, admins, e.audience)
				assert.False(t, named)
			default:
				t.Errorf("tenant rule %q is not declared", e.tenant)
			}
			assert.NotEmpty(t, e.summary)
			assert.NotEqual(t, e.run == nil, e.stream == nil, "it either gives an answer or writes one")
			assert.Equal(t, e.stream != nil, e.media != "")
			if e.stream != nil {
				assert.Equal(t, http.MethodGet, e.method, "a stream changes nothing")
				assert.False(t, e.later)
			} else {
				assert.NotNil(t, e.out)
			}
			switch e.method {
			case http.MethodGet, http.MethodDelete:
				assert.Nil(t, e.in, "body and method belong together")
			case http.MethodPut, http.MethodPatch:
				assert.NotNil(t, e.in, "body and method belong together")
			default: // a POST may say all by its path
				assert.Equal(t, http.MethodPost, e.method)
			}
			for _, p := range e.query {
				assert.Contains(t, []string{"string", "integer", "boolean", "list"}, p.kind)
				assert.NotEmpty(t, p.summary)
			}
		})
	}
}

// No caller can have two endpoints for one request, and none of a guest's
// words selects a tenant or a VM.
func TestTableIsUnambiguous(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range []volspec.Caller{callerA, callerAdmin, callerTenant, callerStray, callerVisitor} {
		for _, e := range endpoints {
			if !e.audience.includes(c) {
				continue
			}
			shape := e.method + regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(e.path, "*") + c.Actor
			assert.False(t, seen[shape], "%s twice", e.name())
			seen[shape] = true
			got, _, _ := route(c, e.method, wire.Prefix+fill(e.path, "x"))
			require.NotNil(t, got)
			assert.Equal(t, e.path, got.path, "no other endpoint lies in the way")
		}
	}
	for _, e := range endpoints {
		if e.audience != guests && e.audience != both && e.audience != strangers {
			continue
		}
		if e.in != nil {
			for _, f := range jsonFields(e.in) {
				assert.NotRegexp(t, `(?i)^(vm|vm_.*|vmgroup.*|group.*|tenant.*|caller)$`, f, "%s: a guest's body names a tenant or VM", e.name())
			}
		}
		for _, p := range e.query {
			assert.Contains(t, []string{"after", "limit", "wait_ms"}, p.name)
		}
	}
}

func jsonFields(t reflect.Type) (names []string) {
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// fill puts a word into every variable of a table's path.
func fill(path, word string) string {
	return regexp.MustCompile(`\{[^}]*\}`).ReplaceAllString(path, url.PathEscape(word))
}

// body is a valid body for an endpoint, "" if it takes none.
func (e *endpoint) sample(t *testing.T) string {
	if e.in == nil {
		return ""
	}
	b, err := json.Marshal(reflect.New(e.in).Interface())
	require.NoError(t, err)
	return strings.ReplaceAll(string(b), `"0b"`, `"1gb"`)
}

var allCallers = map[string]volspec.Caller{"admin": callerAdmin, "guest A": callerA, "guest B": callerB, "unknown VM": callerUnknown, "stranger": callerStray,
	"master viewer": callerViewer, "tenant admin": callerTenant, "operator": ofX(volspec.Operator), "restore operator": ofX(volspec.RestoreOperator),
	"tenant guest": ofX(volspec.TenantGuest), "visitor": callerVisitor}

// Every endpoint as everybody: for its audience it reaches the use case, with
// the caller of the channel and no other; for all others it is, to the byte,
// what a path is that was never written.
func TestEveryEndpointAsEverybody(t *testing.T) {
	const id = "X-Request-Id: same"
	g := newRig(t)
	for who, c := range allCallers {
		socket := g.channel(as(c))
		nowhere := ask(t, socket, "GET", wire.Prefix+"/no/such/thing/as/this", "", id)
		if c.Visitor {
			assert.Equal(t, http.StatusUnauthorized, nowhere.status, "whatever is there, log in first")
		} else {
			assert.Equal(t, http.StatusNotFound, nowhere.status)
		}
		for i := range endpoints {
			e := &endpoints[i]
			t.Run(who+" "+e.name()+" of "+string(e.audience), func(t *testing.T) {
				g.uses.take()
				got := ask(t, socket, e.method, wire.Prefix+fill(e.path, "x"), e.sample(t), id)
				calls := g.uses.take()
				if e.audience.includes(c) && !e.permission.allows(c) {
					assert.Equal(t, http.StatusForbidden, got.status, got.body)
					assert.Empty(t, calls, "nothing was done")
					return
				}
				if e.audience.includes(c) {
					assert.Equal(t, e.status(), got.status, got.body)
					for _, call := range calls {
						if c.VM != "" || call.caller != nobody {
							assert.Equal(t, c, call.caller)
						}
					}
					if e.path != "/hello" && e.path != "/openapi.json" { // which no use case answers
						assert.Len(t, calls, 1)
					}
					return
				}
				if twin, _, allow := route(c, e.method, wire.Prefix+fill(e.path, "x")); twin != nil || allow != nil {
					return // the caller has another endpoint at that path
				}
				assert.Empty(t, calls, "nothing was done")
				assert.Equal(t, nowhere.status, got.status)
				assert.Equal(t, nowhere.body, got.body)
			})
		}
	}
}

// What a guest says of groups and VMs changes nothing.
func TestGuestsCannotNameATenant(t *testing.T) {
	g := newRig(t)
	socket := g.channel(as(callerA))
	for i := range endpoints {
		e := &endpoints[i]
		if e.audience != guests {
			continue
		}
		sneaky := e.sample(t)
		if sneaky != "" {
			sneaky = strings.TrimSuffix(sneaky, "}") + `,"vmgroup":"other","group":"other","vm":"vmb","Admin":true}`
		}
		ask(t, socket, e.method, wire.Prefix+fill(e.path, "x")+"?vmgroup=other&group=other&vm=vmb&state=all&purge=true", sneaky,
			"X-Vmgroup: other")
		calls := g.uses.take()
		require.Len(t, calls, 1, e.name())
		assert.Equal(t, callerA, calls[0].caller)
		for _, arg := range calls[0].args {
			assert.NotEqual(t, "other", arg)
			assert.NotEqual(t, true, arg)
			if f, ok := arg.(volume.ListFilter); ok {
				assert.Equal(t, volume.ListFilter{}, f)
			}
		}
	}
}

func TestOddNamesRoundTrip(t *testing.T) {
	g := newRig(t)
	guest, admin := g.channel(as(callerA)), g.channel(as(callerAdmin))
	for _, name := range []string{
		"a b", "v@ds one", "a@b@c", "100%", "%2F", "a/b", "a\\b", "..", ".", "//", "a#b", "a?b=c", "a;b", "a+b", "a&b=c", "ü", "名前",
		"\u202e", "a\nb", "\x00", "\xff\xfe", "attach", "{name}", "\"quoted\"", "'", "<script>",
	} {
		escaped := strings.ReplaceAll(url.PathEscape(name), ".", "%2E")
		got := ask(t, guest, "GET", wire.Prefix+"/volumes/"+escaped, "")
		require.Equal(t, http.StatusOK, got.status, "%q: %s", name, got.body)
		assert.Equal(t, []any{"", name}, g.uses.take()[0].args)

		ask(t, admin, "DELETE", wire.Prefix+"/vmgroups/"+escaped+"/volumes/"+escaped+"/snapshots/"+escaped, "")
		assert.Equal(t, []any{name, name, name}, g.uses.take()[0].args)
	}
	for _, target := range []string{"/volumes/", "/volumes//attach", "/volumes/a/b/attach", "//volumes", "/./volumes", "/volumes/../status", "/volumes/x/"} {
		got := ask(t, guest, "GET", wire.Prefix+target, "")
		assert.Equal(t, http.StatusNotFound, got.status, "%q: %s", target, got.body)
		assert.Empty(t, g.uses.take())
	}
}

func TestArgumentsReachTheUseCases(t *testing.T) {
	g := newRig(t)
	admin := g.channel(as(callerAdmin))
	const vol = "/vmgroups/g/volumes/v"
	for _, tc := range []struct {
		method, target, body string
		want                 reached
	}{
		{"GET", "/volumes?vmgroup=g*&state=all&datastore=d&after=c&limit=7", "", reached{"volume.List", callerAdmin, []any{volume.ListFilter{Group: "g*", State: "all", Datastore: "d", After: "c", Limit: 7}}}},
		{"DELETE", vol + "?purge=true", "", reached{"volume.Remove", callerAdmin, []any{"g", "v", true}}},
		{"DELETE", vol, "", reached{"volume.Remove", callerAdmin, []any{"g", "v", false}}},
		{"POST", vol + "/resize", `{"size":"3gb"}`, reached{"volume.Resize", callerAdmin, []any{"g", "v", wire.Resize{Size: 3 * volspec.GiB}}}},
		{"POST", vol + "/detach", `{"force":true}`, reached{"volume.ForceDetach", callerAdmin, []any{"g", "v", wire.DetachVolume{Force: true}}}},
		{"DELETE", "/vmgroups/g?force=true", "", reached{"tenancy.Remove", callerAdmin, []any{"g", true, false}}},
		{"DELETE", "/vmgroups/g?remove_volumes=1", "", reached{"tenancy.Remove", callerAdmin, []any{"g", false, true}}},
		{"DELETE", "/vmgroups/g/vms?vm=a&vm=b", "", reached{"tenancy.RemoveVMs", callerAdmin, []any{"g", []string{"a", "b"}}}},
		{"PUT", "/vmgroups/g/vms", `{"vms":["a"]}`, reached{"tenancy.ReplaceVMs", callerAdmin, []any{"g", []string{"a"}}}},
		{"GET", "/oidc", "", reached{"oidc.Get", nobody, []any{""}}},
		{"PUT", "/oidc", `{"issuer":"https://id.example","client_id":"c"}`, reached{"oidc.Put", callerAdmin, []any{"", wire.OIDC{Issuer: "https://id.example", ClientID: "c"}}}},
		{"DELETE", "/vmgroups/g/oidc", "", reached{"oidc.Remove", callerAdmin, []any{"g"}}},
		{"POST", "/vms/web%2001/enroll", `{"guestinfo":true}`, reached{"enroll.Invite", callerAdmin, []any{"web 01", true}}},
		{"POST", "/vms/a/revoke", "", reached{"enroll.Revoke", callerAdmin, []any{"a"}}},
		{"GET", "/audit?vmgroup=g&limit=5", "", reached{"audit.Page", nobody, []any{"g", audit.Query{Limit: 5}}}},
		{"POST", "/datastores/d/scan", `{"adopt":true}`, reached{"volume.Scan", callerAdmin, []any{"d", wire.Scan{Adopt: true}}}},
	} {
		got := ask(t, admin, tc.method, wire.Prefix+tc.target, tc.body)
		assert.Equal(t, http.StatusOK, got.status, got.body)
		assert.Equal(t, []reached{tc.want}, g.uses.take())
	}
	clash := ask(t, admin, "PATCH", wire.Prefix+"/vmgroups/g/access/d", `{"datastore":"e"}`).problem(t)
	assert.Equal(t, `the request is about datastore "d", its body about "e": make them agree`, clash.Detail)
	assert.Empty(t, g.uses.take())
	assert.JSONEq(t, `[]`, ask(t, admin, "GET", wire.Prefix+"/vms", "").body, "an empty list is a list")
	assert.JSONEq(t, `{"message":"[[vmgroup]]"}`, ask(t, admin, "GET", wire.Prefix+"/vmgroups/g/export", "").body)
	assert.Contains(t, ask(t, admin, "GET", wire.Prefix+"/vmgroups/g/vms", "").body, `"name":"m"`)
	assert.Contains(t, ask(t, admin, "GET", wire.Prefix+"/vmgroups/g/access", "").body, `"datastore":"d"`)
	assert.JSONEq(t, `{"version":"1.2.3","protocol":1,"min_protocol":1,"capabilities":["snapshots"]}`, ask(t, admin, "GET", wire.Prefix+"/hello", "").body)
	assert.Contains(t, ask(t, g.channel(as(callerA)), "GET", wire.Prefix+"/hello", "").body, `"vm":"vm a"`)
}
