package app

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/wire"
)

// unaudited are endpoints that are no GET and leave no line, because nothing was
// changed or given that anybody could ask about later.
var unaudited = map[string]string{
	"POST /heartbeat":                                          "comes every few seconds",
	"POST /freezes/{id}":                                       "is a step of a backup, which has its job",
	"POST /volumes/{name}/format":                              "is a step of a mount",
	"POST /vmgroups/{vmgroup}/policy-preview":                  "only computes",
	"POST /vmgroups/{vmgroup}/repositories/{repository}/check": "only looks",
	"POST /datastores/{datastore}/scan":                        "what it adopts is in the log, line by line",
	"POST /doctor/isolation":                                   "what it does is in the log, line by line",
}

// elsewhere are deeds that need more than this service, and who does them.
var elsewhere = map[string]string{
	"PUT /oidc":                    "package oidc, with a provider",
	"PUT /vmgroups/{vmgroup}/oidc": "package oidc, with a provider",
}

// ofChannels are deeds for which one needs no permission, but to be a VM, a
// visitor, or the token itself.
var ofChannels = []string{
	"DELETE /session/tokens/{token}", "DELETE /volumes/{name}", "POST /certificate", "POST /enroll", "POST /first-admin", "POST /login", "POST /volumes",
	"POST /volumes/{name}/attach", "POST /volumes/{name}/detach",
}

// content are the endpoints that only read, but what is kept for others.
var content = []string{"/files", "/file", "/tar", "/image"}

func audits(o api.Operation) bool {
	for _, end := range content {
		if strings.HasSuffix(o.Path, "{point}"+end) {
			return true
		}
	}
	return o.Method != http.MethodGet && unaudited[o.Method+" "+o.Path] == ""
}

// Everything that changes something, and everything that shows the content of a
// backup, is in the audit log: who, as whom, from where, what, of what, how it
// ended; once, in the chain of the tenant or of the service. What only reads is
// not. testdata/audit.txt has all lines. And no secret that went in or was made
// is found anywhere but in the answer that gave it: not in answers, pages,
// metrics, notifications, the log at its most talkative, nor in a file.
func TestALifeIsAuditedAndKeepsItsSecrets(t *testing.T) {
	d := newDeeds(t)
	d.live()
	d.noSecrets()
	for _, e := range endpoints(audits) {
		assert.True(t, d.ok[e] || elsewhere[e] != "", "%s is not among what is done here", e)
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile("testdata/audit.txt", []byte(d.text.String()), 0o644))
	}
	want, err := os.ReadFile("testdata/audit.txt")
	require.NoError(t, err)
	assert.Equal(t, string(want), d.text.String())
}

// denials is everything as somebody who lacks the permission. Each has one line,
// with the name of the token.
func (d *deeds) denials(root *person) {
	tok := read[wire.Token](d.do(root, "POST /session/tokens", wire.CreateToken{Name: "narrow", Scope: "audit.read"}))
	narrow := d.bearer("narrow", tok.Secret)
	var others []string
	for _, e := range endpoints(audits) {
		a := d.send(narrow, args.Replace(e), nil)
		if a.status != http.StatusForbidden {
			others = append(others, e)
			continue
		}
		if !assert.Len(d.t, a.lines, 1, e) {
			continue
		}
		l := a.lines[0]
		chain := d.group("")
		if strings.Contains(e, "{vmgroup}") {
			chain = d.group("team")
		}
		assert.Equal(d.t, []any{chain, "user:root token:narrow", "127.0.0.1", e, "denied"}, []any{l.Group, l.Actor, l.From, l.Action, l.Outcome})
		_, path, _ := strings.Cut(args.Replace(e), " ")
		assert.Equal(d.t, wire.Prefix+path, l.Object)
		assert.NotEmpty(d.t, l.Detail)
	}
	assert.Equal(d.t, ofChannels, others)
	d.do(root, "DELETE /session/tokens/{token}", nil, "narrow")
}

// args are names for the paths of endpoints.
var args = strings.NewReplacer("{vmgroup}", "team", "{user}", "ann", "{repository}", "spare", "{policy}", "none", "{datastore}", "d1", "{name}", "again",
	"{transporter}", "built-in", "{point}", "p", "{job}", "j", "{vm}", "vm1", "{snapshot}", "s", "{session}", "s", "{token}", "t", "{id}", "i")

// reads is everything that can be asked; no line tells of it.
func (d *deeds) reads(people ...*person) {
	for _, o := range api.Table() {
		if o.Method != http.MethodGet || audits(o) || o.Endless {
			continue
		}
		for _, p := range people {
			a := d.ask(p, o.Method+" "+args.Replace(o.Path), nil)
			if assert.Contains(d.t, []int{200, 404}, a.status, "%s %s: %s", p.name, o.Path, a.body) {
				assert.Empty(d.t, a.lines, "%s %s: asking leaves no line", p.name, o.Path)
			}
		}
	}
}
