package app

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // what authenticators use
	"crypto/tls"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// deeds is a running service in which requests are made by everybody, and what
// each of them left behind is kept: its answer and its lines in the audit log.
type deeds struct {
	*site
	t      *testing.T
	web    http.RoundTripper
	text   strings.Builder // the audit log as a person reads it
	ok     map[string]bool // endpoints that were used with success
	no     map[string]bool // that were refused
	seen   []seen
	hidden []hidden
	log    *SyncBuffer
	hook   string                       // a place that takes notifications
	seq    int64                        // of the last line of the audit log
	names  map[volspec.VMGroupID]string // of all vmgroups that ever were

	mu   sync.Mutex // guards what follows
	told []string   // what came to hook
}

// seen is something that was shown to somebody.
type seen struct{ what, text string }

// newDeeds starts one, with its log at the level debug.
func newDeeds(t *testing.T) *deeds {
	t.Helper()
	d := &deeds{t: t, log: &SyncBuffer{}, ok: map[string]bool{}, no: map[string]bool{}, names: map[volspec.VMGroupID]string{"": "service"}}
	require.NoError(t, log.Setup(log.Options{Level: "debug", Format: "json", Output: d.log}))
	t.Cleanup(func() { require.NoError(t, log.Setup(log.Options{Level: "error", Format: "text", Output: os.Stderr})) })
	told := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.told = append(d.told, fmt.Sprint(r.Header, string(body)))
	}))
	t.Cleanup(told.Close)
	d.hook = told.URL
	d.site = newSite(t, httpsTable+guestTable+"[notify]\nallow_private = ['127.0.0.0/8']\n"+
		"[backup.self]\ntype = 'directory'\npath = '"+t.TempDir()+"'\n"+twoVMs+"[[datastore]]\nname = 'd2'\npath = '/d2'\n").start(t).ready(t)
	d.web = d.wayIn(t)
	return d
}

// person is somebody who makes requests.
type person struct {
	name string
	via  http.RoundTripper
	head http.Header
}

func (d *deeds) visitor() *person { return &person{"visitor", d.web, http.Header{}} }

// bearer is whoever has a token.
func (d *deeds) bearer(name, token string) *person {
	return &person{name, d.web, http.Header{"Authorization": {"Bearer " + token}}}
}

// socket is whoever a unix socket stands for.
func (d *deeds) socket(name, path string) *person {
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return transport.Dial(ctx, "unix://"+path) }}
	d.t.Cleanup(tr.CloseIdleConnections)
	return &person{name, wayIn{&url.URL{Scheme: "http", Host: "mooringd"}, tr}, http.Header{}}
}

// login is somebody with a session.
func (d *deeds) login(name string, l wire.Login) *person {
	p := d.visitor()
	p.enter(name, d.do(p, "POST /login", l))
	return p
}

// enter makes p who a log-in says it is.
func (p *person) enter(name string, a reply) {
	var s wire.Session
	a.into(&s)
	p.name, p.head = name, http.Header{"Cookie": {a.cookie}, wire.HeaderCSRF: {s.CSRF}}
}

// reply is an answer.
type reply struct {
	t      *testing.T
	status int
	body   string
	cookie string // the session's, if one was opened
	lines  []audit.Line
}

func (a reply) into(v any) {
	a.t.Helper()
	require.NoError(a.t, json.Unmarshal([]byte(a.body), v), "%.200s", a.body)
}

// read makes a value of T of an answer.
func read[T any](a reply) (v T) {
	a.t.Helper()
	a.into(&v)
	return v
}

// do makes a request of which success is expected. op is the endpoint as its
// table has it, with a query if need be; args fill its path.
func (d *deeds) do(p *person, op string, body any, args ...string) reply {
	d.t.Helper()
	a := d.ask(p, op, body, args...)
	require.Less(d.t, a.status, 300, "%s %s %v: %s", p.name, op, args, a.body)
	return a
}

// refused makes one that is to be refused.
func (d *deeds) refused(p *person, op string, body any, args ...string) reply {
	d.t.Helper()
	a := d.ask(p, op, body, args...)
	require.GreaterOrEqual(d.t, a.status, 400, "%s %s %v: %s", p.name, op, args, a.body)
	return a
}

// ask makes a request, whatever comes of it.
func (d *deeds) ask(p *person, op string, body any, args ...string) reply {
	d.t.Helper()
	a := d.send(p, op, body, args...)
	endpoint, _, _ := strings.Cut(op, "?")
	d.tell(p, endpoint, a)
	return a
}

func (d *deeds) send(p *person, op string, body any, args ...string) reply {
	d.t.Helper()
	method, target, _ := strings.Cut(op, " ")
	for _, arg := range args {
		target = strings.Replace(target, target[strings.Index(target, "{"):strings.Index(target, "}")+1], url.PathEscape(arg), 1)
	}
	var sent []byte
	if body != nil {
		var err error
		sent, err = json.Marshal(body)
		require.NoError(d.t, err)
	}
	r, err := http.NewRequestWithContext(d.t.Context(), method, "https://mooringd"+wire.Prefix+target, bytes.NewReader(sent))
	require.NoError(d.t, err)
	r.Header = p.head.Clone()
	id := log.NewRequest()
	r.Header.Set(wire.HeaderRequest, id)
	resp, err := p.via.RoundTrip(r)
	require.NoError(d.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(d.t, err)
	a := reply{t: d.t, status: resp.StatusCode, body: string(text)}
	for _, c := range resp.Cookies() {
		if c.Name == api.SessionCookie {
			a.cookie = c.Name + "=" + c.Value
		}
	}
	endpoint, _, _ := strings.Cut(op, "?")
	a.lines = d.audited(id, strings.HasSuffix(endpoint, "/file") || strings.HasSuffix(endpoint, "/tar") || strings.HasSuffix(endpoint, "/image"))
	d.hide(p.name+" "+op, sent, -1)
	if !strings.HasSuffix(op, "/openapi.json") { // whose examples are known to all
		d.hide("answer to "+p.name+" "+op, text, len(d.seen))
	}
	if _, word, _ := strings.Cut(a.cookie, "="); word != "" {
		d.hidden = append(d.hidden, hidden{"cookie of a session", word, -1})
	}
	d.seen = append(d.seen, seen{p.name + " " + op, a.body})
	return a
}

// audited are the lines of the audit log about a request. That of what was
// given is written when it was given.
func (d *deeds) audited(request string, stream bool) (lines []audit.Line) {
	d.t.Helper()
	require.Eventually(d.t, func() bool {
		lines = nil
		err := d.d.catalog.AuditLog().View(d.t.Context(), func(tx audit.Tx) error {
			all, err := tx.AuditAfter(audit.Query{Limit: 1000}, d.seq)
			for _, l := range all {
				if l.Request == request {
					lines = append(lines, l)
				}
			}
			return err
		})
		return err == nil && (!stream || len(lines) != 1 || lines[0].Outcome != "ok")
	}, 10*time.Second, 5*time.Millisecond)
	for _, l := range lines {
		d.seq = max(d.seq, l.Seq)
		if l.VMGroup != "" && d.names[l.Group] == "" {
			d.names[l.Group] = l.VMGroup
		}
	}
	return lines
}

var varying = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\b[0-9a-f]{16,}\b|\b[0-9]{4,5}\b`)

// tell writes down what the audit log has of a request.
func (d *deeds) tell(p *person, endpoint string, a reply) {
	if a.status < 300 {
		d.ok[endpoint] = true
	} else {
		d.no[endpoint] = true
	}
	if len(a.lines) == 0 && strings.HasPrefix(endpoint, http.MethodGet) {
		return
	}
	fmt.Fprintf(&d.text, "%s: %s\n", p.name, endpoint)
	for _, l := range a.lines {
		words := []string{d.names[l.Group], l.Actor}
		if l.As != "" {
			words = append(words, "as "+l.As)
		}
		if l.From != "" {
			words = append(words, "from "+l.From)
		}
		words = append(words, l.Action, l.Object, l.Outcome)
		fmt.Fprintf(&d.text, "  %s\n", varying.ReplaceAllString(strings.ReplaceAll(strings.Join(words, ", "), d.dir, "DIR"), "ID"))
	}
}

// paint gives the disk of a volume a filesystem with a file.
func (d *deeds) paint(v wire.Volume, group volspec.VMGroupID) {
	t := d.t
	t.Helper()
	tree, disk := t.TempDir(), filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(tree+"/hello", []byte("hello world\n"), 0o640))
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, v.SizeBytes))
	out, err := exec.Command("mkfs.ext4", "-q", "-d", tree, disk).CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(disk)
	require.NoError(t, err)
	ref := hypervisor.Ref{Datastore: v.Datastore, Group: group, Volume: v.ID}
	require.NoError(t, d.host.Delete(t.Context(), ref))
	require.NoError(t, d.host.Build(t.Context(), ref, volspec.Size(v.SizeBytes), volspec.Thin, "", func(_ context.Context, to image.Target) error {
		_, err := to.WriteAt(content, 0)
		return err
	}))
}

// end waits for a job and wants it in a state.
func (d *deeds) end(p *person, group string, j wire.Job, state string) wire.Job {
	d.t.Helper()
	for range 60 {
		j = read[wire.Job](d.do(p, "GET /vmgroups/{vmgroup}/jobs/{job}?wait_ms=2000", nil, group, string(j.ID)))
		if j.Over() {
			break
		}
	}
	require.Equal(d.t, state, j.State, "%s: %s", j.Kind, j.Error)
	return j
}

// endpoints are those of the table, as do takes them.
func endpoints(pick func(o api.Operation) bool) (all []string) {
	for _, o := range api.Table() {
		if pick(o) {
			all = append(all, o.Method+" "+o.Path)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// code is what an authenticator shows now for a second factor.
func code(t *testing.T, secret string) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	require.NoError(t, err)
	mac := hmac.New(sha1.New, key)
	require.NoError(t, binary.Write(mac, binary.BigEndian, time.Now().Unix()/30))
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 15
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%1_000_000)
}

func certificate(c wire.Certificate, key *ecdsa.PrivateKey) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{c.Certificate}, PrivateKey: key}
}

// hookSecret signs what is sent to webhooks.
const hookSecret = "whsec_c2l4dGVlbiBjaGFyYWN0ZXJzIGFuZCBtb3JlIG9mIHRoZW0="
