package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// relay stands between two programs that speak HTTP over a unix socket. It
// counts, and a rule can hold, drop, change or answer what passes.
type relay struct {
	to http.RoundTripper

	mu    sync.Mutex // guards what follows
	conns int        // connections accepted
	calls []call
	rule  func(x exchange) reply // nil: everything passes
}

// call is one request that arrived.
type call struct {
	What string // the method where it is not POST, and the path
	Body string
}

// exchange is one request on its way; pass sends it on and returns the
// answer. What the receiver never answers is lost.
type exchange struct {
	call
	pass func() reply
}

// reply is an answer. The zero one is a connection that breaks.
type reply struct {
	status int
	body   []byte
}

var lost reply

// newRelay listens at a socket and passes on to another.
func newRelay(t *testing.T, at, to string) *relay {
	t.Helper()
	require.NoError(t, os.RemoveAll(at))
	require.NoError(t, os.MkdirAll(filepath.Dir(at), 0o755))
	l, err := net.Listen("unix", at)
	require.NoError(t, err)
	r := &relay{to: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", to)
	}}}
	s := &http.Server{Handler: r, ConnState: func(_ net.Conn, st http.ConnState) {
		if st == http.StateNew {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.conns++
		}
	}}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }() // ends with Close below
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return r
}

func (r *relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	x := exchange{call: call{What: strings.TrimPrefix(req.Method+" ", "POST ") + req.URL.EscapedPath(), Body: string(body)}}
	x.pass = func() reply {
		on := req.Clone(context.WithoutCancel(req.Context())) // as if its sender had not gone
		on.URL.Scheme, on.URL.Host, on.RequestURI = "http", "relay", ""
		on.Body, on.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		resp, err := r.to.RoundTrip(on)
		if err != nil {
			return lost
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			return lost
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		return reply{resp.StatusCode, answer}
	}
	r.mu.Lock()
	r.calls = append(r.calls, x.call)
	rule := r.rule
	r.mu.Unlock()
	var a reply
	if rule != nil {
		a = rule(x)
	} else {
		a = x.pass()
	}
	if a.status == 0 {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// follow sets the rule, nil for none, and forgets what was counted.
func (r *relay) follow(rule func(x exchange) reply) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rule, r.calls, r.conns = rule, nil, 0
}

// count is how many requests came for a path, or for one that ends so.
func (r *relay) count(path string) int { return len(r.bodies(path)) }

// bodies are the requests that came for a path that ends so.
func (r *relay) bodies(path string) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.calls {
		if strings.HasSuffix(c.What, path) {
			out = append(out, c.Body)
		}
	}
	return out
}

// accepted is how many connections were made.
func (r *relay) accepted() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.conns
}

// losing passes everything on, but loses the answers to the first n requests
// for a path that ends so; n < 0 for all of them.
func losing(path string, n int) func(x exchange) reply {
	var mu sync.Mutex
	return func(x exchange) reply {
		a := x.pass()
		if !strings.HasSuffix(x.What, path) {
			return a
		}
		mu.Lock()
		defer mu.Unlock()
		if n == 0 {
			return a
		}
		n--
		return lost
	}
}

// throughRelay puts a relay between the guest's engine and its plugin, which
// must not have been started.
func (p *plain) throughRelay(t *testing.T) *relay {
	t.Helper()
	p.settings = append(p.settings, "MOORING_SOCKET=/srv/plugin.sock")
	r := newRelay(t, filepath.Join(p.Disk(), "relay.sock"), p.ownSocket())
	p.Shell(t.Context(), "mkdir -p /run/docker/plugins && ln -sfn /srv/relay.sock /run/docker/plugins/vsphere.sock").OK(t)
	t.Cleanup(func() { p.Exec(cleanup(), "rm", "-f", "/run/docker/plugins/vsphere.sock") })
	return r
}

// ownSocket is the plugin's socket behind the relay, seen from here.
func (p *plain) ownSocket() string { return filepath.Join(p.Disk(), "plugin.sock") }

// hostRelay makes the service listen elsewhere for the guest of that name and
// returns the relay that stands where the guest looks for it.
func hostRelay(t *testing.T, g *harness.Guest) (r *relay, change func(*harness.Config)) {
	t.Helper()
	localOnly(t, "it stands between plugin and service, which nobody can where they speak TLS")
	behind := filepath.Join(g.ChannelDir(), "guest", "behind.sock")
	r = newRelay(t, g.Socket(), behind)
	return r, func(c *harness.Config) {
		for i := range c.VMs {
			if c.VMs[i].Name == g.Name {
				c.VMs[i].Socket = behind
			}
		}
	}
}

// ask sends one request to a socket and returns what is answered; errors are
// broken connections.
func ask(ctx context.Context, socket, path string, body []byte) (status int, answer string, err error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://plugin"+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}
