package notify_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/netguard/netguardtest"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/pkg/errkind"
)

var hookKey = []byte("0123456789abcdefghijklmnopqrstuv")

func hookSecret() string { return "whsec_" + base64.StdEncoding.EncodeToString(hookKey) }

// receiver verifies signatures as a receiver does, by the book.
type receiver struct {
	t      *testing.T
	answer func(n int, w http.ResponseWriter)

	mu     sync.Mutex
	ids    []string
	bodies []map[string]any
	last   []byte // as it came
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	assert.NoError(r.t, err)
	id, stamp := req.Header.Get("webhook-id"), req.Header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, hookKey)
	mac.Write([]byte(id + "." + stamp + "." + string(body)))
	assert.Equal(r.t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), req.Header.Get("webhook-signature"))
	sec, err := strconv.ParseInt(stamp, 10, 64)
	assert.NoError(r.t, err)
	assert.WithinDuration(r.t, time.Now(), time.Unix(sec, 0), time.Minute)
	assert.Equal(r.t, http.MethodPost, req.Method)
	assert.Equal(r.t, "application/json", req.Header.Get("Content-Type"))
	var m map[string]any
	assert.NoError(r.t, json.Unmarshal(body, &m))
	r.mu.Lock()
	n := len(r.ids)
	r.ids, r.bodies, r.last = append(r.ids, id), append(r.bodies, m), body
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, w)
	}
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.ids...)
}

func hook(t *testing.T, r *receiver, o notify.WebhookOptions) *notify.Webhook {
	t.Helper()
	r.t = t
	s := httptest.NewTLSServer(r)
	t.Cleanup(s.Close)
	o.Label, o.RootCAs = "chat", x509.NewCertPool()
	o.RootCAs.AddCert(s.Certificate())
	o.URL = s.URL + "/hook/" + sentinel
	if o.SecretFile == "" {
		o.SecretFile = put(t, hookSecret()+"\n")
	}
	w, err := notify.NewWebhook(o)
	require.NoError(t, err)
	return w
}

func TestWebhookIsSigned(t *testing.T) {
	r := &receiver{}
	again := failed()
	again.ID, again.Again = "msg_2", at.Add(-time.Hour)
	n, err := hook(t, r, notify.WebhookOptions{}).Send(t.Context(), []notify.Event{failed(), again})
	require.NoError(t, err)
	assert.Equal(t, 2, n)
	assert.Equal(t, []string{"msg_1", "msg_2"}, r.got())
	assert.Equal(t, map[string]any{
		"type": "job-failed", "timestamp": "2026-11-25T02:30:00Z",
		"data": map[string]any{
			"id": "msg_1", "vmgroup": "shop", "object": "db@fast", "severity": "error", "title": "shop: job failed: db@fast", "repeated": false,
			"sentence": failed().Sentence, "request": "7f3a91c2",
		},
	}, r.bodies[0])
	data := r.bodies[1]["data"].(map[string]any)
	assert.Equal(t, true, data["repeated"])
	assert.Equal(t, "2026-11-25T01:30:00Z", data["since"])
}

// What follows is the example of the specification, so that our own receiver
// is not the only judge.
func TestSignatureOfTheSpecification(t *testing.T) {
	key, err := base64.StdEncoding.DecodeString("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	got := notify.Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	assert.Equal(t, "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", got)
}

func TestAnswersOfWebhooks(t *testing.T) {
	for name, c := range map[string]struct {
		status    int
		header    string
		want      string
		permanent bool
		gone      bool
		later     time.Duration
	}{
		"ok":       {204, "", "", false, false, 0},
		"error":    {500, "", "webhook chat: 127.0.0.1 answered 500 Internal Server Error", false, false, 0},
		"denied":   {401, "", "answered 401", false, false, 0},
		"busy":     {429, "120", "answered 429", false, false, 2 * time.Minute},
		"gone":     {410, "", "answered 410", true, true, 0},
		"redirect": {307, "", "redirects are not followed", true, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := &receiver{answer: func(_ int, w http.ResponseWriter) {
				w.Header().Set("Location", "/elsewhere")
				if c.header != "" {
					w.Header().Set("Retry-After", c.header)
				}
				w.WriteHeader(c.status)
			}}
			n, err := hook(t, r, notify.WebhookOptions{}).Send(t.Context(), []notify.Event{failed()})
			assert.Len(t, r.got(), 1, "nothing is followed or repeated here")
			if c.want == "" {
				require.NoError(t, err)
				assert.Equal(t, 1, n)
				return
			}
			assert.Zero(t, n)
			assert.ErrorContains(t, err, c.want)
			assert.NotContains(t, err.Error(), sentinel)
			p, permanent := errors.AsType[*notify.PermanentError](err)
			assert.Equal(t, c.permanent, permanent)
			assert.Equal(t, c.gone, permanent && p.Gone)
			l, later := errors.AsType[*notify.LaterError](err)
			assert.Equal(t, c.later > 0, later)
			if later {
				assert.Equal(t, c.later, l.After)
			}
		})
	}
}

func TestWebhookStopsAtTheFirstFailure(t *testing.T) {
	r := &receiver{answer: func(n int, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(503)
		}
	}}
	n, err := hook(t, r, notify.WebhookOptions{}).Send(t.Context(), []notify.Event{failed(), failed(), failed()})
	assert.Equal(t, 1, n)
	assert.Error(t, err)
	assert.Len(t, r.got(), 2)
}

func TestSlowAndLargeAnswers(t *testing.T) {
	release := make(chan struct{})
	r := &receiver{answer: func(int, http.ResponseWriter) { <-release }}
	w := hook(t, r, notify.WebhookOptions{Timeout: 200 * time.Millisecond})
	begun := time.Now()
	_, err := w.Send(t.Context(), []notify.Event{failed()})
	close(release)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	assert.ErrorContains(t, err, "127.0.0.1 does not answer")
	assert.NotContains(t, err.Error(), sentinel)
	assert.Less(t, time.Since(begun), 5*time.Second)

	r = &receiver{answer: func(_ int, w http.ResponseWriter) {
		for range 10000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}}
	_, err = hook(t, r, notify.WebhookOptions{}).Send(t.Context(), []notify.Event{failed()})
	require.NoError(t, err, "an endless answer is not read")
}

func TestWebhookSecrets(t *testing.T) {
	r := &receiver{}
	path := put(t, sentinel)
	w := hook(t, r, notify.WebhookOptions{SecretFile: path})
	for _, text := range []string{sentinel, "whsec_" + sentinel, "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 23)), "whsec_" + base64.StdEncoding.EncodeToString(make([]byte, 65))} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := w.Send(t.Context(), []notify.Event{failed()})
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		assert.ErrorContains(t, err, "openssl rand -base64 32")
		assert.NotContains(t, err.Error(), sentinel)
	}
	assert.Empty(t, r.got())
	require.NoError(t, os.WriteFile(path, []byte(hookSecret()), 0o600))
	_, err := w.Send(t.Context(), []notify.Event{failed()})
	require.NoError(t, err)
	for _, u := range []string{"", "ftp://x", "https://u:" + sentinel + "@h/", "//h", "https:///x"} {
		_, err := notify.NewWebhook(notify.WebhookOptions{URL: u})
		assert.Equal(t, errkind.Invalid, errkind.Of(err), u)
		assert.NotContains(t, err.Error(), sentinel)
	}
}

func TestFilters(t *testing.T) {
	w := hook(t, &receiver{}, notify.WebhookOptions{Kinds: []notify.Kind{notify.JobFailed}, Groups: []string{"shop"}})
	e := failed()
	assert.True(t, w.Wants(e))
	e.Group = ""
	assert.False(t, w.Wants(e), "what is about the service is not about the vmgroup")
	e.Group, e.Kind = "shop", notify.RPOMissed
	assert.False(t, w.Wants(e))
	assert.True(t, hook(t, &receiver{}, notify.WebhookOptions{}).Wants(e))
}

// A URL of a tenant leads to public addresses only, whatever its name says.
func TestWebhooksOfTenantsStayOutside(t *testing.T) {
	r := &receiver{}
	w := hook(t, r, notify.WebhookOptions{Dialer: netguard.Guard{}.Dialer(time.Second)})
	_, err := w.Send(t.Context(), []notify.Event{failed()})
	assert.ErrorContains(t, err, "address 127.0.0.1 is not public")
	for _, host := range netguardtest.Addresses {
		w, err := notify.NewWebhook(notify.WebhookOptions{Label: "chat", URL: "https://" + host + ":9/", SecretFile: put(t, hookSecret()), Dialer: netguard.Guard{}.Dialer(time.Second)})
		require.NoError(t, err)
		_, err = w.Send(t.Context(), []notify.Event{failed()})
		assert.ErrorContains(t, err, "is not public", host)
	}
	for _, address := range netguardtest.Inside {
		netguardtest.Resolve(t, address)
		w, err := notify.NewWebhook(notify.WebhookOptions{Label: "chat", URL: "http://evil.example:9/", SecretFile: put(t, hookSecret()), Dialer: netguard.Guard{}.Dialer(time.Second)})
		require.NoError(t, err)
		_, err = w.Send(t.Context(), []notify.Event{failed()})
		assert.ErrorContains(t, err, "is not public", address)
	}
	assert.Empty(t, r.got())
}
