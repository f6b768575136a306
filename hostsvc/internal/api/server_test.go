package api

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// A stop lets a request in flight finish, and takes no new ones.
func TestDrainFinishesRequests(t *testing.T) {
	g := newRig(t)
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.srv.Serve(ctx, l, as(callerA)) }()

	inside, release := make(chan struct{}), make(chan struct{})
	g.uses.answer(func(ctx context.Context) error {
		close(inside)
		<-release
		return ctx.Err()
	})
	answer := make(chan reply, 1)
	go func() { answer <- ask(t, path, "GET", wire.Prefix+"/volumes/v", "") }()
	<-inside
	stop()
	require.Eventually(t, func() bool { _, err := os.Stat(path); return os.IsNotExist(err) }, 10*time.Second, time.Millisecond)
	select {
	case err := <-served:
		t.Fatalf("returned with a request in flight: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	assert.Equal(t, http.StatusOK, (<-answer).status)
	assert.NoError(t, <-served)
}

// What does not finish in time is told to, and still answered.
func TestDrainCutsOff(t *testing.T) {
	g := newRig(t, func(o *Options) { o.DrainLimit = 20 * time.Millisecond })
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.srv.Serve(ctx, l, as(callerA)) }()
	inside := make(chan struct{})
	g.uses.answer(func(ctx context.Context) error {
		close(inside)
		<-ctx.Done()
		return context.Cause(ctx)
	})
	answer := make(chan reply, 1)
	go func() { answer <- ask(t, path, "GET", wire.Prefix+"/volumes/v", "") }()
	<-inside
	stop()
	assert.Equal(t, "mooringd is stopping: repeat the command in a moment", (<-answer).problem(t).Detail)
	assert.NoError(t, <-served)
}

func TestServeReportsABrokenListener(t *testing.T) {
	g := newRig(t)
	_, l := listen(t)
	require.NoError(t, l.Close())
	err := g.srv.Serve(t.Context(), l, as(callerA))
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
}

// A stop that comes before the start leaves nothing behind.
func TestServeAfterItsEnd(t *testing.T) {
	g := newRig(t)
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	assert.NoError(t, g.srv.Serve(ctx, l, as(callerA)))
	assert.NoFileExists(t, path)
}

// One guest cannot have more connections than its listener allows, however
// many it opens; those that wait are served when others end.
func TestConnectionsAreLimited(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Conns = 2 })
	var now, most atomic.Int32
	release := make(chan struct{})
	g.uses.answer(func(context.Context) error {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			continue
		}
		<-release
		now.Add(-1)
		return nil
	})
	socket := g.channel(as(callerA))
	done := make(chan reply, 8)
	for range 8 {
		go func() { done <- ask(t, socket, "GET", wire.Prefix+"/volumes/v", "") }()
	}
	require.Eventually(t, func() bool { return now.Load() == 2 }, 10*time.Second, time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	close(release)
	for range 8 {
		assert.Equal(t, http.StatusOK, (<-done).status)
	}
	assert.EqualValues(t, 2, most.Load())
}

// A listener whose slots are all taken still stops.
func TestFullListenerStops(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Conns = 1 })
	path, l := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.srv.Serve(ctx, l, as(callerA)) }()
	idle, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, idle.Close()) }()
	_, err = io.WriteString(idle, "GET "+wire.Prefix+"/hello HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	_, err = idle.Read(make([]byte, 1))
	require.NoError(t, err)
	stop()
	select {
	case err := <-served:
		assert.NoError(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("does not stop")
	}
}

// A peer that asks and does not read loses its connection, not the service a
// place.
func TestPeerThatDoesNotRead(t *testing.T) {
	g := newRig(t, func(o *Options) { o.Conns, o.RequestLimit = 1, time.Second })
	g.srv.writeTime = 50 * time.Millisecond
	path := g.channel(as(callerA))
	lazy, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, lazy.Close()) }()
	require.NoError(t, lazy.(*net.UnixConn).SetReadBuffer(1))
	flood := make(chan error, 1)
	go func() {
		for { // until nothing more goes in, because nothing comes out
			if _, err := io.WriteString(lazy, "GET "+wire.Prefix+"/hello HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				flood <- err
				return
			}
		}
	}()
	require.Error(t, <-flood, "the service hung up")
	assert.Equal(t, http.StatusOK, ask(t, path, "GET", wire.Prefix+"/hello", "").status, "the place is free again")
}

func TestObservers(t *testing.T) {
	g := newRig(t)
	admin, guest := g.channel(as(callerAdmin)), g.channel(as(callerA))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- g.srv.ServeObservers(ctx, l) }()
	get := func(method, path string) reply {
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+l.Addr().String()+path, nil)
		require.NoError(t, err)
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return reply{resp.StatusCode, resp.Header, string(b)}
	}
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		assert.Equal(t, http.StatusOK, ask(t, admin, "GET", path, "").status, path)
		assert.Equal(t, http.StatusOK, get("GET", path).status, path)
		assert.Equal(t, http.StatusMethodNotAllowed, get("POST", path).status, path)
		same := "X-Request-Id: same"
		hidden, nowhere := ask(t, guest, "GET", path, "", same), ask(t, guest, "GET", "/nowhere", "", same)
		assert.Equal(t, http.StatusNotFound, hidden.status)
		assert.Equal(t, nowhere.body, hidden.body, "for a guest there is nothing")
	}
	assert.Equal(t, "ok\n", get("GET", "/healthz").body)
	assert.Equal(t, "ready\n", get("GET", "/readyz").body)
	assert.Equal(t, http.StatusNotFound, get("GET", wire.Prefix+"/volumes").status, "nothing else is there")

	g.uses.answer(func(context.Context) error { return errkind.New(errkind.Unavailable, "catalog is away") })
	got := get("GET", "/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, got.status)
	assert.Equal(t, "mooringd is not ready: catalog is away", got.problem(t).Detail)
	assert.Equal(t, http.StatusOK, get("GET", "/healthz").status, "alive all the same")

	stop()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	assert.NoError(t, <-served)
}

func TestMetrics(t *testing.T) {
	g := newRig(t)
	admin, guest := g.channel(as(callerAdmin)), g.channel(as(callerA))
	ask(t, guest, "GET", wire.Prefix+"/volumes/v", "")
	ask(t, guest, "GET", wire.Prefix+"/volumes/w", "")
	ask(t, guest, "GET", wire.Prefix+"/status", "")
	g.uses.answer(func(context.Context) error { return errkind.New(errkind.Quota, "full") })
	ask(t, guest, "POST", wire.Prefix+"/volumes", `{"name":"v"}`)
	g.uses.answer(nil)
	text := ask(t, admin, "GET", "/metrics", "").body
	for _, want := range []string{
		`mooring_requests_total{endpoint="GET /volumes/{name}",kind="ok"} 2`,
		`mooring_requests_total{endpoint="POST /volumes",kind="quota"} 1`,
		`mooring_requests_total{endpoint="unknown",kind="not-found"} 1`,
		`mooring_request_duration_seconds_count{endpoint="GET /volumes/{name}"} 2`,
		`mooring_requests_in_flight 0`,
		`mooring_build_info{goversion=`,
		`version="1.2.3"} 1`,
		`mooring_ready 1`,
		`mooring_stock_unreadable 0`,
		`mooring_volumes 3`,
		`mooring_volumes_trashed 1`,
		`mooring_datastore_online{datastore="ds one",state="online"} 1`,
		`mooring_datastore_capacity_bytes{datastore="ds one"} 100`,
		`mooring_datastore_free_bytes{datastore="ds one"} 40`,
		`mooring_datastore_volumes{datastore="ds one"} 3`,
		`mooring_datastore_provisioned_bytes{datastore="ds one"} 70`,
		`go_goroutines`,
		`process_open_fds`,
	} {
		assert.Contains(t, text, want)
	}
	assert.NotContains(t, text, "/volumes/v", "no label grows with the tenants' words")

	g.uses.answer(func(context.Context) error { return errkind.New(errkind.Unavailable, "catalog is away") })
	text = ask(t, admin, "GET", "/metrics", "").body
	assert.Contains(t, text, "mooring_stock_unreadable 1")
	assert.NotContains(t, text, "mooring_datastore_free_bytes{", "no old or invented numbers")
	assert.Contains(t, text, "mooring_requests_total", "the rest is there")
}

// Who may use which socket, as the kernel sees the peer.
func TestPeerIdentities(t *testing.T) {
	require.Zero(t, os.Getuid(), "this test becomes other users and must run as root")
	g := newRig(t)
	vm := func(context.Context) (volspec.Caller, error) { return callerA, nil }
	admin, nobodys := g.channel(AdminPeers(2345)), g.channel(AdminPeers(-1))
	guest, shared := g.channel(GuestPeers(vm)), g.channel(GuestPeers(vm, 1234))
	const refusedAdmin = "user id 1234 may not administer mooringd: become root or a member of the service's group (mooring, unless configured otherwise)"
	const refusedGuest = "user id 1234 may not speak for this VM: only root may"
	for _, tc := range []struct {
		name, socket string
		uid, gid     uint32
		groups       []uint32
		want         string
	}{
		{"root administers", admin, 0, 0, nil, "200"},
		{"member by main group", admin, 1234, 2345, nil, "200"},
		{"member by other group", admin, 1234, 1, []uint32{7, 2345}, "200"},
		{"no member", admin, 1234, 1234, []uint32{7}, refusedAdmin},
		{"no group configured", nobodys, 1234, 2345, nil, refusedAdmin},
		{"group root is not enough", nobodys, 1234, 0, nil, refusedAdmin},
		{"root in the guest", guest, 0, 0, nil, "200"},
		{"user in the guest", guest, 1234, 0, []uint32{0}, refusedGuest},
		{"user who was let", shared, 1234, 1234, nil, "200"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out := helloAs(t, tc.socket, tc.uid, tc.gid, tc.groups)
			if tc.want == "200" {
				assert.Contains(t, out, "200 OK")
				return
			}
			assert.Contains(t, out, "403 Forbidden")
			assert.Contains(t, out, tc.want)
		})
	}
	assert.Contains(t, helloAs(t, guest, 0, 0, nil), `"vm":"vm a"`)

	a, b := net.Pipe()
	defer func() { assert.NoError(t, a.Close()); assert.NoError(t, b.Close()) }()
	for _, id := range []Identity{AdminPeers(0), GuestPeers(vm)} {
		_, err := id(withConn(t.Context(), a), nil)
		assert.Equal(t, errkind.Unsupported, errkind.Of(err), "without credentials nobody is anybody")
	}
}

func helloAs(t *testing.T, socket string, uid, gid uint32, groups []uint32) string {
	t.Helper()
	binary, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	helper := filepath.Dir(socket) + "/helper" // where that user may read it
	if _, err := os.Stat(helper); err != nil {
		require.NoError(t, os.WriteFile(helper, binary, 0o755))
	}
	cmd := exec.Command(helper, "-test.run=TestHelperSaysHello")
	cmd.Env = append(os.Environ(), "HELLO="+socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

// TestHelperSaysHello is the other user's process.
func TestHelperSaysHello(t *testing.T) {
	socket := os.Getenv("HELLO")
	if socket == "" {
		return
	}
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err)
	_, err = io.WriteString(conn, "GET "+wire.Prefix+"/hello HTTP/1.0\r\n\r\n")
	require.NoError(t, err)
	_, err = io.Copy(os.Stdout, conn)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}
