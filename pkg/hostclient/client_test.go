package hostclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func socket(t *testing.T) string {
	dir, err := os.MkdirTemp("/tmp", "hc")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir + "/s.sock"
}

// host serves h on a socket until the test ends.
func host(t *testing.T, path string, h http.HandlerFunc) {
	t.Helper()
	l, err := transport.ListenUnix(t.Context(), path, 0o600, -1, -1)
	require.NoError(t, err)
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		assert.NoError(t, srv.Close())
		assert.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}

func guest(t *testing.T, path string, o Options) *Client {
	c := New("unix://"+path, o)
	t.Cleanup(c.Close)
	return c
}

func admin(t *testing.T, path string, o Options) *Admin {
	a := NewAdmin("unix://"+path, o)
	t.Cleanup(a.Close)
	return a
}

func TestRequestHeaders(t *testing.T) {
	var got http.Header
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		_, _ = io.WriteString(w, "{}")
	})
	c := guest(t, path, Options{UserAgent: "test/1"})
	_, err := c.Get(log.WithRequest(t.Context(), "abc-123"), "v")
	require.NoError(t, err)
	assert.Equal(t, "abc-123", got.Get("X-Request-Id"), "the request id travels")
	assert.Equal(t, "1", got.Get("Mooring-Protocol"))
	assert.Equal(t, "test/1", got.Get("User-Agent"))

	_, err = c.Get(t.Context(), "v")
	require.NoError(t, err)
	assert.Regexp(t, "^[0-9a-f]{8}$", got.Get("X-Request-Id"), "one is made when there is none")
}

func TestProblemsBecomeErrors(t *testing.T) {
	long := strings.Repeat("x", 70000)
	for name, tc := range map[string]struct {
		status     int
		body, want string
	}{
		"kind and sentence": {507, `{"kind":"quota","detail":"too much"}`, "quota: too much"},
		"kind rules":        {400, `{"kind":"in-use","detail":"busy"}`, "in-use: busy"},
		"unknown kind":      {409, `{"kind":"teapot","detail":"taken"}`, "exists: taken"},
		"long sentence":     {404, `{"kind":"not-found","detail":"` + long + `"}`, "not-found: " + long},
		"proxy's page":      {504, `<html>`, "unavailable: the host service at URL answered 504 Gateway Timeout without an explanation"},
		"redirect":          {301, ``, "internal: the host service at URL answered 301 Moved Permanently without an explanation"},
		"no json":           {200, `hello`, "corrupt: the answer of the host service at URL is not understood: is it mooringd, of a compatible version?: invalid character 'h' looking for beginning of value"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			host(t, path, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := guest(t, path, Options{}).Get(t.Context(), "v")
			require.Error(t, err)
			assert.Equal(t, strings.ReplaceAll(tc.want, "URL", "unix://"+path), string(errkind.Of(err))+": "+errkind.Text(err))
		})
	}
}

func TestReplyLimit(t *testing.T) {
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<20)
		for range wire.MaxReply>>20 + 1 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	_, err := guest(t, path, Options{}).Get(t.Context(), "v")
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	assert.ErrorContains(t, err, "larger than 64 MiB")
}

func TestNobodyAnswers(t *testing.T) {
	path := socket(t)
	c := guest(t, path, Options{})
	_, err := c.Hello(t.Context())
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Equal(t, "the host service at unix://"+path+" does not answer: is mooringd running?: no such file or directory", errkind.Text(err))
	require.ErrorIs(t, err, syscall.ENOENT)

	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	_, err = c.Hello(t.Context())
	require.ErrorIs(t, err, syscall.ECONNREFUSED)

	_, err = New("vsock://2:1019", Options{Patience: time.Hour}).Hello(t.Context())
	assert.Equal(t, errkind.Unsupported, errkind.Of(err), "what cannot get better is not repeated")
	assert.Contains(t, errkind.Text(err), "this build has no vsock channels")

	// Somebody holds the request and answers nothing.
	require.NoError(t, os.Remove(path))
	host(t, path, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	start := time.Now()
	_, err = guest(t, path, Options{Timeout: 50 * time.Millisecond, Patience: time.Hour}).Hello(t.Context())
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "did not answer in time: the work may still be going on, repeat the command")
	assert.Less(t, time.Since(start), 10*time.Second)

	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	_, err = guest(t, path, Options{Patience: time.Hour}).Hello(ctx)
	assert.Contains(t, errkind.Text(err), "was given up")
	require.ErrorIs(t, err, context.Canceled)
}

// The service starts while a patient client is already asking.
func TestPatience(t *testing.T) {
	path := socket(t)
	c := guest(t, path, Options{Patience: 20 * time.Second})
	var wg sync.WaitGroup
	wg.Go(func() {
		h, err := c.Hello(t.Context())
		assert.NoError(t, err)
		assert.Equal(t, "9", h.Version)
	})
	time.Sleep(100 * time.Millisecond)
	host(t, path, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"version":"9"}`) })
	wg.Wait()

	start := time.Now()
	_, err := guest(t, socket(t), Options{Patience: 150 * time.Millisecond}).Hello(t.Context())
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Less(t, time.Since(start), 5*time.Second, "patience ends")
}

// cutting drops the first connections in the middle of a request, then works.
type cutting struct {
	cuts, calls atomic.Int32
	answer      http.HandlerFunc
}

func (h *cutting) serve(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	h.calls.Add(1)
	if h.cuts.Add(-1) < 0 {
		h.answer(w, r)
		return
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestGuestCallsAreRepeatedAfterAReset(t *testing.T) {
	h := &cutting{answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"name":"v@ds"}`) }}
	path := socket(t)
	host(t, path, h.serve)
	c := guest(t, path, Options{Patience: 30 * time.Second})
	h.cuts.Store(2)
	v, err := c.Create(t.Context(), wire.CreateVolume{Name: "v"})
	require.NoError(t, err)
	assert.Equal(t, "v@ds", v.Name)
	assert.EqualValues(t, 3, h.calls.Load())
}

func TestRemoveThatWasRepeated(t *testing.T) {
	h := &cutting{answer: func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = io.WriteString(w, `{"kind":"not-found","detail":"Volume v not found"}`)
	}}
	path := socket(t)
	host(t, path, h.serve)
	c := guest(t, path, Options{Patience: 30 * time.Second})
	h.cuts.Store(1)
	assert.NoError(t, c.Remove(t.Context(), "v"), "the lost attempt removed it")
	assert.Equal(t, errkind.NotFound, errkind.Of(c.Remove(t.Context(), "v")), "nobody removed it in this call")
}

func TestAdminChangesAreNotRepeatedAfterAReset(t *testing.T) {
	h := &cutting{answer: func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `[]`) }}
	path := socket(t)
	host(t, path, h.serve)
	a := admin(t, path, Options{Patience: 30 * time.Second})

	h.cuts.Store(1)
	err := a.RemoveVMGroup(t.Context(), "g", false, false)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "the work may have been done, look before you repeat it")
	assert.EqualValues(t, 1, h.calls.Load())

	h.cuts.Store(1)
	_, err = a.VMGroups(t.Context())
	require.NoError(t, err, "questions are repeated")
	assert.EqualValues(t, 3, h.calls.Load())
}

func TestConnectionsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			continue
		}
		time.Sleep(5 * time.Millisecond)
		now.Add(-1)
		_, _ = io.WriteString(w, "{}")
	})
	c := guest(t, path, Options{Conns: 3})
	var wg sync.WaitGroup
	for range 30 {
		wg.Go(func() {
			_, err := c.Hello(t.Context())
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.EqualValues(t, 3, most.Load())
}

func TestListFollowsPages(t *testing.T) {
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "":
			_, _ = io.WriteString(w, `{"volumes":[{"name":"a"}],"next":"x&y"}`)
		case "after=x%26y":
			_, _ = io.WriteString(w, `{"volumes":[{"name":"b"}]}`)
		default:
			w.WriteHeader(400)
		}
	})
	all, err := guest(t, path, Options{}).List(t.Context())
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, []string{"a", "b"}, []string{all[0].Name, all[1].Name})
}

// A permission that the caller lacks is said, not waited for.
func TestNoPermission(t *testing.T) {
	c := New("unix:///nowhere", Options{Patience: time.Hour})
	err := c.lost(t.Context(), &dialError{errkind.Wrap(errkind.Denied, &net.OpError{Op: "dial", Err: syscall.EACCES}, "connect")})
	assert.Equal(t, errkind.Denied, errkind.Of(err))
	assert.Equal(t, "no permission to connect to the host service at unix:///nowhere: become root or a member of group mooring: permission denied", errkind.Text(err))
	var lost *lostError
	assert.False(t, errors.As(err, &lost), "not repeated")
}
