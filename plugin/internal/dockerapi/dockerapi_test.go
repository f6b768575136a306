package dockerapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/plugin/internal/dockerapi"
	"mooring.dev/mooring/plugin/internal/driver"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// stub answers with its fields; those not set succeed.
type stub struct {
	fail   error
	mount  func(ctx context.Context, name, id string) (string, error)
	create func(ctx context.Context, name string, opts map[string]string) error
}

func (s *stub) Create(ctx context.Context, name string, opts map[string]string) error {
	if s.create != nil {
		return s.create(ctx, name, opts)
	}
	return s.fail
}
func (s *stub) Remove(context.Context, string) error          { return s.fail }
func (s *stub) Unmount(context.Context, string, string) error { return s.fail }
func (s *stub) Path(context.Context, string) (string, error)  { return "/p", s.fail }
func (s *stub) Mount(ctx context.Context, name, id string) (string, error) {
	if s.mount != nil {
		return s.mount(ctx, name, id)
	}
	return "/p", s.fail
}
func (s *stub) Get(_ context.Context, name string) (driver.View, error) {
	return driver.View{Name: name, Mountpoint: "/p", CreatedAt: "2026-01-02T03:04:05Z", Status: map[string]any{"id": "x"}}, s.fail
}
func (s *stub) List(context.Context) ([]driver.View, error) {
	return []driver.View{{Name: "a@ds"}, {Name: "b@ds"}}, s.fail
}

type engine struct {
	client *http.Client
	stop   func() error
}

func serve(t testing.TB, d dockerapi.Driver, timeout time.Duration) *engine {
	t.Helper()
	path := filepath.Join(t.TempDir(), "p.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- dockerapi.Serve(ctx, l, dockerapi.New(d, timeout), 500*time.Millisecond) }()
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	e := &engine{client: &http.Client{Transport: tr}}
	stopped := false
	e.stop = func() error {
		stopped = true
		cancel()
		tr.CloseIdleConnections()
		return <-ended
	}
	t.Cleanup(func() {
		if !stopped {
			assert.NoError(t, e.stop())
		}
	})
	return e
}

type answer struct {
	status int
	body   map[string]any
	raw    string
}

func (e *engine) call(t testing.TB, name, body string) (answer, error) {
	t.Helper()
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequest(http.MethodPost, "http://d/"+name, r)
	require.NoError(t, err)
	req.Header.Set("Accept", "application/vnd.docker.plugins.v1.2+json")
	resp, err := e.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, raw: strings.TrimSpace(string(data))}
	require.NoError(t, json.Unmarshal(data, &a.body), "%s", data)
	return a, nil
}

func TestAnswers(t *testing.T) {
	e := serve(t, &stub{}, time.Minute)
	for call, want := range map[string]string{
		"Plugin.Activate":           `{"Implements":["VolumeDriver"]}`,
		"VolumeDriver.Capabilities": `{"Capabilities":{"Scope":"global"}}`,
		"VolumeDriver.Create":       `{}`,
		"VolumeDriver.Remove":       `{}`,
		"VolumeDriver.Unmount":      `{}`,
		"VolumeDriver.Mount":        `{"Mountpoint":"/p"}`,
		"VolumeDriver.Path":         `{"Mountpoint":"/p"}`,
		"VolumeDriver.Get":          `{"Volume":{"Name":"v","Mountpoint":"/p","CreatedAt":"2026-01-02T03:04:05Z","Status":{"id":"x"}}}`,
		"VolumeDriver.List":         `{"Volumes":[{"Name":"a@ds"},{"Name":"b@ds"}]}`,
	} {
		a, err := e.call(t, call, `{"Name":"v","ID":"i","Opts":{"size":"1gb"}}`)
		require.NoError(t, err)
		assert.Equal(t, 200, a.status, call)
		assert.JSONEq(t, want, a.raw, call)
	}
	for _, call := range []string{"Plugin.Activate", "VolumeDriver.Capabilities", "VolumeDriver.List"} {
		_, err := e.call(t, call, "")
		assert.NoError(t, err, "%s has no body to lose", call)
	}
	resp, err := e.client.Get("http://d/VolumeDriver.Get")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, 405, resp.StatusCode)
}

// What an error does to Docker depends on the call: of Get and Path only a
// known absence is an answer.
func TestErrors(t *testing.T) {
	for _, kind := range []errkind.Kind{
		errkind.Internal, errkind.Invalid, errkind.NotFound, errkind.Exists, errkind.InUse, errkind.Denied,
		errkind.Quota, errkind.Unavailable, errkind.Corrupt, errkind.Unsupported,
	} {
		e := serve(t, &stub{fail: errkind.New(kind, "no, because")}, time.Minute)
		for _, call := range []string{"Create", "Remove", "Mount", "Unmount", "List"} {
			a, err := e.call(t, "VolumeDriver."+call, `{"Name":"v","ID":"i"}`)
			require.NoError(t, err)
			assert.Equal(t, 500, a.status)
			assert.Regexp(t, `^no, because \(request [0-9a-f]{8}\)$`, a.body["Err"])
		}
		for _, call := range []string{"Get", "Path"} {
			a, err := e.call(t, "VolumeDriver."+call, `{"Name":"v"}`)
			if kind == errkind.NotFound || kind == errkind.Invalid {
				require.NoError(t, err, kind)
				assert.Contains(t, a.body["Err"], "no, because")
				continue
			}
			assert.Error(t, err, "%s of kind %s must look like a driver that cannot be reached", call, kind)
		}
	}
	e := serve(t, &stub{fail: errors.New("no kind at all")}, time.Minute)
	_, err := e.call(t, "VolumeDriver.Get", `{"Name":"v"}`)
	assert.Error(t, err)
}

// After a lost connection Docker repeats a request without its body.
func TestEmptyBody(t *testing.T) {
	called := &atomic.Int64{}
	s := &stub{create: func(context.Context, string, map[string]string) error { called.Add(1); return nil }}
	e := serve(t, s, time.Minute)
	for _, call := range []string{"Get", "Path"} {
		_, err := e.call(t, "VolumeDriver."+call, "")
		assert.Error(t, err, call)
	}
	for _, call := range []string{"Create", "Remove", "Mount", "Unmount"} {
		a, err := e.call(t, "VolumeDriver."+call, "")
		require.NoError(t, err)
		assert.Contains(t, a.body["Err"], "run the command again", call)
	}
	assert.Zero(t, called.Load())
}

func TestBadBodies(t *testing.T) {
	e := serve(t, &stub{}, time.Minute)
	a, err := e.call(t, "VolumeDriver.Create", `{"Name":`)
	require.NoError(t, err)
	assert.Contains(t, a.body["Err"], "not understood")
	a, err = e.call(t, "VolumeDriver.Create", `{"Name":"`+strings.Repeat("x", 2<<20)+`"}`)
	require.NoError(t, err)
	assert.Contains(t, a.body["Err"], "larger than 1024 KiB")
}

func TestDeadline(t *testing.T) {
	s := &stub{mount: func(ctx context.Context, _, _ string) (string, error) {
		<-ctx.Done()
		return "", ctx.Err()
	}}
	e := serve(t, s, 50*time.Millisecond)
	start := time.Now()
	a, err := e.call(t, "VolumeDriver.Mount", `{"Name":"v","ID":"i"}`)
	require.NoError(t, err)
	assert.Less(t, time.Since(start), 5*time.Second)
	assert.NotEmpty(t, a.body["Err"])
}

func TestPanicIsContained(t *testing.T) {
	s := &stub{mount: func(context.Context, string, string) (string, error) { panic("bug") }}
	e := serve(t, s, time.Minute)
	a, err := e.call(t, "VolumeDriver.Mount", `{"Name":"v","ID":"i"}`)
	require.NoError(t, err)
	assert.Regexp(t, `^the plugin failed in this request: .* \(request [0-9a-f]{8}\)$`, a.body["Err"])
	_, err = e.call(t, "VolumeDriver.Get", `{"Name":"v"}`)
	assert.NoError(t, err, "and the next call is served")
}

func TestStop(t *testing.T) {
	running := make(chan struct{}, 2)
	finish := make(chan struct{})
	s := &stub{mount: func(ctx context.Context, name, _ string) (string, error) {
		running <- struct{}{}
		if name == "quick" {
			<-finish
			return "/p", nil
		}
		<-ctx.Done()
		return "", context.Cause(ctx)
	}}
	e := serve(t, s, time.Minute)
	type result struct {
		a   answer
		err error
	}
	results := map[string]chan result{"quick": make(chan result, 1), "slow": make(chan result, 1)}
	for name, c := range results {
		go func() {
			a, err := e.call(t, "VolumeDriver.Mount", `{"Name":"`+name+`","ID":"i"}`)
			c <- result{a, err}
		}()
	}
	<-running
	<-running
	start := time.Now()
	stopped := make(chan error, 1)
	go func() { stopped <- e.stop() }()
	time.Sleep(50 * time.Millisecond)
	close(finish)
	require.NoError(t, <-stopped)
	assert.Less(t, time.Since(start), 3*time.Second)
	quick := <-results["quick"]
	require.NoError(t, quick.err, "a request that ends in time is answered")
	assert.Equal(t, "/p", quick.a.body["Mountpoint"])
	slow := <-results["slow"]
	require.NoError(t, slow.err)
	assert.Contains(t, slow.a.body["Err"], "the plugin is stopping")
}

func FuzzBodies(f *testing.F) {
	for _, s := range []string{"", "{}", "null", "[]", `{"Name":1}`, `{"Name":"v","Opts":{"a":1}}`, `{"Name":"v","ID":"i"}{}`, "\xff"} {
		f.Add("Mount", []byte(s))
		f.Add("Get", []byte(s))
	}
	h := dockerapi.New(&stub{}, time.Minute)
	f.Fuzz(func(t *testing.T, call string, body []byte) {
		req, err := http.NewRequest(http.MethodPost, "http://d/VolumeDriver.x", bytes.NewReader(body))
		require.NoError(t, err)
		req.URL.Path = "/VolumeDriver." + call
		w := &recorder{header: http.Header{}}
		func() {
			defer func() {
				if p := recover(); p != nil && p != any(http.ErrAbortHandler) {
					panic(p)
				}
			}()
			h.ServeHTTP(w, req)
			if w.status == 200 || w.status == 500 {
				assert.True(t, json.Valid(w.body.Bytes()), "%s", w.body.String())
			}
		}()
	})
}

type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(s int)           { r.status = s }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
