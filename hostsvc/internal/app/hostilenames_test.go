package app

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec/volspectest"
	"mooring.dev/mooring/pkg/wire"
)

// field is where a tenant can put a name: NAME stands for it, in a path as a
// segment and in a body as a text.
type field struct{ method, path, body string }

func (f field) String() string { return f.method + " " + f.path + " " + f.body }

// fields are all that take a name of a tenant's choice.
var fields = []field{
	{"POST", "/tenants", `{"name":NAME}`},
	{"POST", "/tenants", `{"name":"t","admin":{"name":NAME}}`},
	{"PATCH", "/vmgroups/Dev", `{"new_name":NAME}`},
	{"PATCH", "/vmgroups/Dev", `{"description":NAME}`},
	{"PATCH", "/vmgroups/Dev", `{"default_datastore":NAME}`},
	{"PUT", "/vmgroups/Dev/profile", `{"email":NAME}`},
	{"PUT", "/vmgroups/Dev/profile", `{"phone":NAME}`},
	{"PUT", "/vmgroups/Dev/profile", `{"website":NAME}`},
	{"PUT", "/vmgroups/Dev/profile", `{"address":NAME}`},
	{"PUT", "/vmgroups/Dev/profile", `{"labels":[NAME]}`},
	{"POST", "/vmgroups/Dev/users", `{"name":NAME,"role":"operator"}`},
	{"POST", "/vmgroups/Dev/users", `{"name":"ann","role":NAME}`},
	{"POST", "/vmgroups/Dev/users", `{"name":"ann","role":"operator","email":NAME}`},
	{"PATCH", "/vmgroups/Dev/users/quartz-owner", `{"description":NAME}`},
	{"POST", "/session/tokens", `{"name":NAME}`},
	{"PATCH", "/session/profile", `{"zone":NAME}`},
	{"PUT", "/session/act-as", `{"vmgroup":NAME,"reason":NAME}`},
	{"POST", "/login", `{"tenant":NAME,"user":NAME,"password":"x"}`},
	{"POST", "/vmgroups/Dev/volumes", `{"name":NAME,"options":{"size":"16mb"}}`},
	{"POST", "/vmgroups/Dev/volumes", `{"name":"n","options":{"size":NAME}}`},
	{"POST", "/vmgroups/Dev/volumes", `{"name":"n","options":{NAME:"x"}}`},
	{"POST", "/vmgroups/Dev/volumes", `{"name":"n","options":{"fstype":NAME,"clone-from":NAME}}`},
	{"POST", "/vmgroups/Dev/volumes", `{"name":"n","options":{"size":"16mb","backup-policy":NAME}}`},
	{"POST", "/vmgroups/Dev/volumes/db/snapshots", `{"name":NAME}`},
	{"POST", "/vmgroups/Dev/policies", `{"name":NAME,"volumes":["*"],"repository":"main","schedule":"daily 02:00"}`},
	{"POST", "/vmgroups/Dev/policies", `{"name":"p","volumes":[NAME],"exclude":[NAME],"repository":"main","schedule":"daily 02:00"}`},
	{"POST", "/vmgroups/Dev/policies", `{"name":"p","volumes":["*"],"repository":NAME,"schedule":NAME,"timezone":NAME}`},
	{"POST", "/vmgroups/Dev/repositories", `{"name":NAME,"location":{"type":"sftp","host":"h","path":"/x","user":"u","host_key":"none"}}`},
	{"POST", "/vmgroups/Dev/repositories", `{"name":"r","location":{"type":"sftp","host":NAME,"path":NAME,"user":NAME,"host_key":NAME}}`},
	{"POST", "/vmgroups/Dev/repositories", `{"name":"r","location":{"type":"s3","endpoint":NAME,"bucket":NAME,"prefix":NAME,"region":NAME}}`},
	{"POST", "/vmgroups/Dev/repositories", `{"name":"r","location":{"type":NAME}}`},
	{"POST", "/vmgroups/Dev/repositories", `{"name":"r","attach":true,"kit":NAME}`},
	{"POST", "/vmgroups/Dev/backups", `{"volumes":[NAME]}`},
	{"POST", "/vmgroups/Dev/points/NAME/restore", `{"name":NAME}`},
	{"PUT", "/vmgroups/Dev/notifications", `{"emails":[NAME]}`},
	{"PUT", "/vmgroups/Dev/notifications", `{"webhooks":[{"name":NAME,"url":"https://hooks.example/"}]}`},
	{"PUT", "/vmgroups/Dev/notifications", `{"webhooks":[{"name":"h","url":NAME}]}`},
	{"PUT", "/vmgroups/Dev/notifications", `{"events":[NAME],"digest":NAME}`},
	{"PUT", "/vmgroups/Dev/oidc", `{"issuer":NAME,"client_id":NAME,"claim":NAME}`},
	{"POST", "/vmgroups/Dev/vms", `{"vms":[NAME]}`},
	{"POST", "/vmgroups/Dev/folders", `{"folder":NAME}`},
	{"PATCH", "/transporters/NAME", `{"description":NAME}`},
	{"PUT", "/vmgroups/Dev/transporters", `{"transporters":[NAME]}`},
	{"GET", "/vmgroups/Dev/volumes/NAME", ""},
	{"GET", "/vmgroups/NAME", ""},
	{"GET", "/vmgroups/Dev/users/NAME", ""},
	{"GET", "/vmgroups/Dev/repositories/NAME", ""},
	{"GET", "/search?q=NAME", ""},
	{"GET", "/volumes?name=NAME", ""},
	{"GET", "/audit?object=NAME", ""},
	{"GET", "/NAME", ""},
}

// Each field keeps a name or refuses it in one sentence, and what the service
// then writes by itself is what it writes about any name.
func TestEveryFieldMeetsHostileNames(t *testing.T) {
	var logged SyncBuffer
	require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "text", Output: &logged}))
	t.Cleanup(func() { assert.NoError(t, log.Setup(log.Options{Level: "error", Output: os.Stderr})) })
	_, mail := newPost(t)
	v := newVault(t, httpsTable+"user_requests = 100000\ntenant_requests = 100000\naddress_requests = 100000\n[notify]\nallow_private = ['127.0.0.0/8']\n"+mail)
	n := v.neighbour(t, "Dev", "quartz")
	v.volume(t, "db", "16mb")
	v.repository(t, "Dev", "main")
	socket := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", v.dir+"/run/admin.sock")
	}}
	defer socket.CloseIdleConnections()
	web := v.wayIn(t)
	ask := func(f field, name string) (int, wire.Problem) {
		text, err := json.Marshal(name)
		require.NoError(t, err)
		r, err := http.NewRequestWithContext(t.Context(), f.method, "http://mooringd"+wire.Prefix+strings.ReplaceAll(f.path, "NAME", url.QueryEscape(name)),
			strings.NewReader(strings.ReplaceAll(f.body, "NAME", string(text))))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/json")
		via := http.RoundTripper(socket)
		if strings.HasPrefix(f.path, "/session") || f.path == "/login" {
			r.Header.Set("Authorization", "Bearer "+n.token)
			via = web
		}
		resp, err := via.RoundTrip(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		var p wire.Problem
		if resp.StatusCode >= 400 {
			require.NoError(t, json.Unmarshal(body, &p), "%s: %s", f, body)
		}
		return resp.StatusCode, p
	}
	kept := 0
	for _, f := range fields {
		for what, name := range volspectest.Hostile {
			status, p := ask(f, name)
			if status < 300 {
				kept++
				continue
			}
			assert.NotContains(t, []int{http.StatusInternalServerError, http.StatusServiceUnavailable}, status, "%s: %s: %s", f, what, p.Detail)
			assert.NotEmpty(t, p.Detail, "%s: %s", f, what)
			assert.Equal(t, -1, strings.IndexFunc(p.Detail, func(r rune) bool { return r != '\n' && visible.Hidden(r) }), "%s: %s: %.300q", f, what, p.Detail)
			assert.Less(t, len(p.Detail), 4*len(name)+2000, "%s: %s", f, what)
		}
	}
	assert.Greater(t, kept, 100)
	for _, server := range []string{`"smtp":{"host":"127.0.0.1"}`, `"host":"127.0.0.1"`, `"port":25`, `"from":"a@x.example"`, `"tls":"none"`} {
		status, p := ask(field{"PUT", "/vmgroups/Dev/notifications", "{" + server + "}"}, "")
		assert.Equal(t, http.StatusBadRequest, status, "no tenant chooses the server that takes mail: %s", server)
		assert.Contains(t, p.Detail, "unknown field")
	}

	d, err := v.a.ExportAudit(t.Context(), hostclient.AuditQuery{})
	require.NoError(t, err)
	defer d.Close()
	lines := 0
	for s := bufio.NewScanner(d); s.Scan(); lines++ {
		var l wire.AuditLine
		require.NoError(t, json.Unmarshal(s.Bytes(), &l), "%.500s", s.Text())
		assert.Equal(t, -1, strings.IndexFunc(s.Text(), visible.Hidden), "%.500s", s.Text())
		assert.Less(t, len(s.Text()), 16<<10, "%.300s", s.Text())
	}
	assert.Greater(t, lines, 1000)
	for line := range strings.Lines(logged.String()) {
		assert.True(t, strings.HasPrefix(line, "time="), "%.300q", line)
		assert.Equal(t, -1, strings.IndexFunc(strings.TrimSuffix(line, "\n"), visible.Hidden), "%.500q", line)
		assert.NotContains(t, strings.Fields(line)[1], "error", "%.500q", line)
	}
	for line := range strings.Lines(v.metrics(t)) {
		assert.Regexp(t, `^(# |mooring_|go_|process_|promhttp_)`, line)
	}
}
