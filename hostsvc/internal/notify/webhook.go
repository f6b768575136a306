package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/secret"
)

// WebhookOptions describe one URL that gets events.
type WebhookOptions struct {
	Label      string // its name in the configuration
	URL        string
	SecretFile string         // read for every request, so that it can change
	Kinds      []Kind         // none: all
	Groups     []string       // none: all
	Secret     secret.Text    // instead of a file
	Dialer     *net.Dialer    // nil: to every address
	RootCAs    *x509.CertPool // nil: the system's
	Timeout    time.Duration  // of one request; 15 s
}

// Webhook sends each event as a POST request, signed as standardwebhooks.com
// says: webhook-id (the same at every attempt), webhook-timestamp, and
// webhook-signature with HMAC-SHA256 over id, time and body.
type Webhook struct {
	o      WebhookOptions
	host   string
	client *http.Client
}

// payload is the body of a request. Fields are only ever added.
type payload struct {
	Type      Kind        `json:"type"`
	Timestamp time.Time   `json:"timestamp"`
	Data      payloadData `json:"data"`
}

type payloadData struct {
	ID       string    `json:"id"`
	VMGroup  string    `json:"vmgroup"`
	Object   string    `json:"object"`
	Severity Severity  `json:"severity"`
	Title    string    `json:"title"`
	Sentence string    `json:"sentence"`
	Request  string    `json:"request,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Repeated bool      `json:"repeated"`
}

// NewWebhook makes a sender of signed requests. It connects to nothing.
// Options that make no sense: invalid; the error does not hold the URL, whose
// path may be a secret.
func NewWebhook(o WebhookOptions) (*Webhook, error) {
	o.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil, errkind.New(errkind.Invalid, "webhook %s cannot be used: its URL must begin with https:// or http:// and hold no password", o.Label)
	}
	dialer := o.Dialer
	if dialer == nil {
		dialer = &net.Dialer{Timeout: o.Timeout}
	}
	transport := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    o.Timeout,
		MaxIdleConns:           1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}
	client := &http.Client{
		Transport:     transport,
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return &Webhook{o, u.Hostname(), client}, nil
}

// Name is the channel's in logs and errors.
func (w *Webhook) Name() string { return "webhook " + w.o.Label }

// Way is what a person calls the channel.
func (w *Webhook) Way() string { return w.Name() }

// Wants applies the filters.
func (w *Webhook) Wants(e Event) bool {
	return (len(w.o.Kinds) == 0 || slices.Contains(w.o.Kinds, e.Kind)) &&
		(len(w.o.Groups) == 0 || slices.Contains(w.o.Groups, e.Group))
}

// Send posts one event after the other and stops at the first that is not
// accepted.
func (w *Webhook) Send(ctx context.Context, events []Event) (int, error) {
	for i, e := range events {
		if err := w.post(ctx, e); err != nil {
			return i, err
		}
	}
	return len(events), nil
}

func (w *Webhook) post(ctx context.Context, e Event) error {
	key, err := w.key()
	if err != nil {
		return err
	}
	body, err := json.Marshal(payload{e.Kind, e.Time.UTC(), payloadData{
		ID: e.ID, VMGroup: e.Group, Object: e.Object, Severity: e.Severity, Title: headline(e), Sentence: e.Sentence,
		Request: e.Request, Since: e.Again.UTC(), Repeated: raises[e.Kind] && !e.Again.IsZero(),
	}})
	if err != nil {
		return &PermanentError{Err: errkind.Wrap(errkind.Internal, err, "write a webhook's request")}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.o.URL, bytes.NewReader(body))
	if err != nil {
		return &PermanentError{Err: errkind.New(errkind.Invalid, "webhook %s has a URL that cannot be used", w.o.Label)}
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "mooringd")
	req.Header.Set("webhook-id", e.ID)
	req.Header.Set("webhook-timestamp", now)
	req.Header.Set("webhook-signature", "v1,"+sign(key, e.ID, now, body))
	answer, err := w.client.Do(req)
	if err != nil {
		// The library's error quotes the URL.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return errkind.Wrap(errkind.Unavailable, err, "webhook %s: %s does not answer", w.o.Label, w.host)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	return w.judge(answer)
}

// judge says what an answer means.
func (w *Webhook) judge(answer *http.Response) error {
	err := errkind.New(errkind.Unavailable, "webhook %s: %s answered %d %s", w.o.Label, w.host, answer.StatusCode, http.StatusText(answer.StatusCode))
	switch code := answer.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusGone:
		return &PermanentError{Err: err, Gone: true}
	case code >= 300 && code < 400:
		return &PermanentError{Err: errkind.Wrap(errkind.Invalid, err, "redirects are not followed, write the URL that it leads to")}
	}
	if s, perr := strconv.ParseUint(answer.Header.Get("Retry-After"), 10, 16); perr == nil {
		return &LaterError{Err: err, After: time.Duration(s) * time.Second}
	}
	return err
}

func sign(key []byte, id, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + timestamp + "."))
	mac.Write(body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// key reads the secret.
func (w *Webhook) key() ([]byte, error) {
	text := w.o.Secret
	if w.o.SecretFile != "" {
		var err error
		if text, err = secret.ReadLine(w.o.SecretFile, "the secret of webhook "+w.o.Label); err != nil {
			return nil, err
		}
	}
	key, ok := parseKey(text.Reveal())
	if !ok {
		return nil, errkind.New(errkind.Invalid, "the secret of webhook %s cannot be used: %s must hold whsec_ and 24 to 64 bytes in base64, as from: echo whsec_$(openssl rand -base64 32)", w.o.Label, w.o.SecretFile)
	}
	return key, nil
}

// parseKey reads a secret: whsec_ and 24 to 64 bytes in base64.
func parseKey(text string) ([]byte, bool) {
	encoded, ok := strings.CutPrefix(strings.TrimSpace(text), "whsec_")
	key, err := base64.StdEncoding.DecodeString(encoded)
	return key, ok && err == nil && len(key) >= 24 && len(key) <= 64
}

// newSecret makes one.
func newSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return "whsec_" + base64.StdEncoding.EncodeToString(b[:])
}
