package app

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// hidden is a word that nobody may find again. One that the service made itself
// was given once: in seen at place, which is -1 for what came from outside.
type hidden struct {
	what, word string
	place      int
}

// secretFields are those of bodies and answers that hold one.
var secretFields = map[string]bool{
	"password": true, "secret": true, "old": true, "new": true, "code": true, "text": true,
	"secret_key": true, "session_token": true, "private_key": true, "key": true, "kit": true,
}

// shortest a secret can be, so that it is not found by chance.
const shortest = 8

// hide keeps the secrets of a body or an answer in mind.
func (d *deeds) hide(what string, data []byte, place int) {
	var v any
	if json.Unmarshal(data, &v) == nil {
		d.hideIn(what, v, place)
	}
}

func (d *deeds) hideIn(what string, v any, place int) {
	switch v := v.(type) {
	case map[string]any:
		for name, x := range v {
			text, is := x.(string)
			if is && secretFields[name] && len(text) >= shortest {
				d.hidden = append(d.hidden, hidden{what + " " + name, text, place})
				if k, err := kit.Parse(text); err == nil {
					d.hidden = append(d.hidden, hidden{"key of a repository", k.Key, place})
				}
			}
			d.hideIn(what, x, place)
		}
	case []any:
		for _, x := range v {
			d.hideIn(what, x, place)
		}
	}
}

// mistakes are requests that are refused although they hold a secret.
func (d *deeds) mistakes(root *person) {
	const word = "eleven grey gulls asleep"
	for _, r := range []struct {
		op   string
		body any
	}{
		{"POST /login", map[string]any{"user": "root", "password": word, "other": word}},
		{"POST /login", wire.Login{User: "root", Password: word}},
		{"POST /login", wire.Login{Tenant: "team", User: "ann", Password: word, Code: word}},
		{"POST /users", wire.CreateUser{Name: "root", Role: volspec.MasterViewer, Password: word}},
		{"POST /users", wire.CreateUser{Name: "x", Role: "captain", Password: word}},
		{"POST /users", wire.CreateUser{Name: "gulls", Role: volspec.MasterViewer, Password: word}},
		{"PUT /oidc", wire.OIDC{Issuer: "https://127.0.0.1:1", ClientID: "c", Secret: word}},
		{"PUT /notifications", wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "x", URL: d.hook, Secret: word}}}},
		{"POST /repositories", wire.CreateRepository{Name: "x", Location: wire.Location{Type: "s3", Endpoint: "127.0.0.1:1", Bucket: "b"}, Credentials: wire.Credentials{AccessKey: "a"}, Key: word}},
		{"POST /vmgroups/team/repositories", wire.CreateRepository{Name: "x", Kit: "kit " + word}},
		{"POST /vmgroups/team/repositories", wire.CreateRepository{Name: "x", Attach: true, Key: word, Location: wire.Location{Type: "directory", Path: d.t.TempDir()}}},
		{"POST /vmgroups/team/repositories", wire.CreateRepository{Name: "x", Location: wire.Location{Type: "sftp", Host: "127.0.0.1", Port: 1, User: "u", Path: "/p", HostKey: "x"}, Credentials: wire.Credentials{Password: word, PrivateKey: word}}},
		{"POST /vmgroups/team/repositories", wire.CreateRepository{Name: "x", Location: wire.Location{Type: "s3", Endpoint: "127.0.0.1:1", Bucket: "b", Insecure: true}, Credentials: wire.Credentials{AccessKey: "a", SecretKey: word, SessionToken: word}}},
		{"PUT /vmgroups/team/repositories/spare/credentials", wire.Credentials{SecretKey: word}},
	} {
		d.send(root, r.op, r.body)
		d.send(d.visitor(), r.op, r.body)
	}
	d.send(d.bearer("nobody", "mrg_"+strings.ReplaceAll(word, " ", "")), "GET /status", nil)
	d.hidden = append(d.hidden, hidden{"a bad token", strings.ReplaceAll(word, " ", ""), -1})
}

// show adds everything that can be looked at beside the interface: the portal,
// metrics, what webhooks got, the log, and all files.
func (d *deeds) show(ofRoot, ofAnn string) {
	t := d.t
	for _, who := range [][]string{{"tenant", "", "user", "root", "password", ofRoot}, {"tenant", "team", "user", "ann", "password", ofAnn}} {
		b := d.tab(t)
		b.get("/login")
		require.Equal(t, "/", b.post("/login", who...).path)
		for path, p := range b.crawl() {
			d.seen = append(d.seen, seen{"page " + path, p.text})
		}
	}
	console := d.socket("admin", d.dir+"/run/admin.sock")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://mooringd/metrics", http.NoBody)
	require.NoError(t, err)
	resp, err := console.via.RoundTrip(r)
	require.NoError(t, err)
	metrics, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	d.seen = append(d.seen, seen{"metrics", string(metrics)}, seen{"the log", d.log.String()})
	d.mu.Lock()
	require.NotEmpty(t, d.told)
	d.seen = append(d.seen, seen{"what webhooks got", strings.Join(d.told, "\n")})
	d.mu.Unlock()

	catalogs := 0
	require.NoError(t, filepath.WalkDir(d.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(path, "catalog.db") && strings.Contains(string(data), "ticket 7") {
			catalogs++
		}
		d.seen = append(d.seen, seen{"file " + path, string(data)})
		return err
	}))
	require.Positive(t, catalogs, "what is no secret is found there")
	require.Contains(t, d.log.String(), d.d.web.first.code, "the log is where this is told")
}

// noSecrets looks for everything hidden in everything seen.
func (d *deeds) noSecrets() {
	t := d.t
	words := map[string]hidden{}
	kinds := map[string]bool{}
	for _, h := range d.hidden {
		kinds[h.what[strings.LastIndex(h.what, " ")+1:]] = true
		if have, known := words[h.word]; !known || h.place > have.place {
			words[h.word] = h
		}
	}
	for _, k := range []string{"password", "secret", "new", "code", "text", "key", "repository", "session", "kit", "private_key", "session_token"} {
		assert.True(t, kinds[k], "nothing was hidden that is a %s", k)
	}
	first := d.d.web.first.code
	for word, h := range words {
		forms := []string{word, base64.StdEncoding.EncodeToString([]byte(word)), hex.EncodeToString([]byte(word))}
		for i, s := range d.seen {
			if i == h.place || word == first && s.what == "the log" {
				continue // it was given there
			}
			for _, form := range forms {
				assert.False(t, strings.Contains(s.text, form), "%s stands in %s", h.what, s.what)
			}
		}
	}
	t.Log(len(words), "secrets,", len(d.seen), "places")
}
