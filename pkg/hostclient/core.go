// Package hostclient calls the host service over any channel of package
// transport: Client with the calls of a guest, Admin with those of the
// service's administrator, Stranger with that of a VM that enrols. The bodies are package wire's.
//
// Every error has a kind of package errkind and reads as the sentence that
// the service wrote for the user. Clients are safe for concurrent use.
package hostclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/wire"
)

// Options say how patient and how greedy a client is. The zero value never
// retries and waits as long as the caller's context.
type Options struct {
	// Patience is how long a call is repeated while the service does not
	// answer, at most until the caller's deadline. 0: one attempt.
	Patience time.Duration
	// Timeout bounds a whole call, retries included. 0: only the caller's
	// context does.
	Timeout time.Duration
	// Conns bounds the connections open at a time; further calls wait. 0: 16.
	Conns int
	// TLS is how a tls:// or https:// channel is opened, asked for every
	// connection. Its errors are those of the call. nil suffices for https://
	// services that this machine trusts.
	TLS func() (*tls.Config, error)
	// Token is a bearer token, for https:// channels.
	Token string
	// UserAgent names the program and its version in the service's log.
	UserAgent string
}

// pauses between attempts: doubled from the first to the last.
const (
	firstPause = 20 * time.Millisecond
	lastPause  = time.Second
)

type core struct {
	url  string
	opts Options
	dial func(ctx context.Context) (net.Conn, error)
	http atomic.Pointer[http.Client]
	jar  http.CookieJar         // nil: no cookies
	csrf atomic.Pointer[string] // of the session that a cookie belongs to
}

func newCore(channel string, o Options) *core {
	return newCoreOver(channel, o, dialOf(channel, o))
}

// newCoreInside makes a core whose requests go through rt. It has no
// connections.
func newCoreInside(rt http.RoundTripper, o Options) *core {
	c := &core{url: "this process", opts: o}
	c.http.Store(&http.Client{Transport: rt, CheckRedirect: noRedirect})
	return c
}

func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newCoreOver(channel string, o Options, dial func(ctx context.Context) (net.Conn, error)) *core {
	if o.Conns <= 0 {
		o.Conns = 16
	}
	c := &core{url: channel, opts: o, dial: dial}
	if IsHTTPS(channel) {
		c.jar = newJar()
	}
	c.http.Store(c.newHTTP())
	return c
}

func (c *core) newHTTP() *http.Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := c.dial(ctx)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dial, DialTLSContext: dial, // with TLS already
			MaxConnsPerHost:     c.opts.Conns,
			MaxIdleConnsPerHost: c.opts.Conns,
			IdleConnTimeout:     time.Minute,
			DisableCompression:  true,
		},
		CheckRedirect: noRedirect,
		Jar:           c.jar,
	}
}

// Close closes the idle connections. Calls in flight are not disturbed.
func (c *core) Close() { c.http.Load().CloseIdleConnections() }

// Reconnect makes later calls use new connections, as when the certificate
// has changed. Calls in flight are not disturbed.
func (c *core) Reconnect() { c.http.Swap(c.newHTTP()).CloseIdleConnections() }

// dialError marks failures before which no byte of a request was sent.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// call is one exchange.
type call struct {
	method string
	path   []string // segments below the prefix, unescaped
	query  url.Values
	body   any     // nil: none
	into   any     // nil: the answer is not read
	next   *string // gets the cursor of the next page of a list; nil: none is asked for
	once   bool    // not safe to repeat after it may have been received
}

// do performs k, repeated while the service does not answer and Options
// allow it. repeated tells that an earlier attempt may have been received.
func (c *core) do(ctx context.Context, k call) (repeated bool, err error) {
	target, err := k.target(c.base())
	if err != nil {
		return false, err
	}
	var body []byte
	if k.body != nil {
		if body, err = json.Marshal(k.body); err != nil {
			return false, errkind.Wrap(errkind.Internal, err, "request body")
		}
	}
	if log.Request(ctx) == "" {
		ctx = log.WithRequest(ctx, "")
	}
	if c.opts.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.opts.Timeout)
		defer cancel()
	}
	giveUp := time.Now().Add(c.opts.Patience)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err = c.attempt(ctx, k, target, body)
		var lost *lostError
		if !errors.As(err, &lost) {
			return repeated, err
		}
		if lost.again && lost.sent && k.once {
			return repeated, errkind.Wrap(errkind.Unavailable, rootCause(lost.err), "the host service at %s went away before it answered: the work may have been done, look before you repeat it", c.url)
		}
		if !lost.again || time.Now().Add(pause).After(giveUp) {
			return repeated, lost.err
		}
		repeated = repeated || lost.sent
		log.G(ctx).WithField(log.Err, lost.err.Error()).Debug("host service does not answer, trying again")
		select {
		case <-ctx.Done():
			return repeated, lost.err
		case <-time.After(pause):
		}
	}
}

// base is the root of the requests' URLs.
func (c *core) base() string {
	if IsHTTPS(c.url) {
		return c.url
	}
	return "http://mooringd"
}

// target is the request's URL. Every segment is escaped, also "." and "..",
// which HTTP would resolve.
func (k call) target(base string) (string, error) {
	var b strings.Builder
	b.WriteString(base + wire.Prefix)
	for _, s := range k.path {
		switch s {
		case "":
			return "", errkind.New(errkind.Invalid, "a name is empty: give it at least one character")
		case ".", "..":
			s = strings.ReplaceAll(s, ".", "%2E")
		default:
			s = url.PathEscape(s)
		}
		b.WriteString("/" + s)
	}
	if len(k.query) > 0 {
		b.WriteString("?" + k.query.Encode())
	}
	return b.String(), nil
}

// lostError is an exchange without an answer. sent: the service may have
// received the request; again: another attempt makes sense.
type lostError struct {
	err         error
	sent, again bool
}

func (e *lostError) Error() string { return e.err.Error() }

// send sends one request. An error is a lostError, or final.
func (c *core) send(ctx context.Context, method, target string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "request")
	}
	req.Header.Set(wire.HeaderProtocol, strconv.Itoa(wire.Protocol))
	req.Header.Set(wire.HeaderRequest, log.Request(ctx))
	if c.opts.UserAgent != "" {
		req.Header.Set("User-Agent", c.opts.UserAgent)
	}
	if c.opts.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.opts.Token)
	}
	if csrf := c.csrf.Load(); csrf != nil {
		req.Header.Set(wire.HeaderCSRF, *csrf)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Load().Do(req)
	if err != nil {
		return nil, c.lost(ctx, err)
	}
	return resp, nil
}

func (c *core) attempt(ctx context.Context, k call, target string, body []byte) error {
	resp, err := c.send(ctx, k.method, target, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or given up
	data, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxReply+1))
	switch {
	case err != nil:
		return c.lost(ctx, err)
	case len(data) > wire.MaxReply:
		return errkind.New(errkind.Unsupported, "the answer of the host service at %s is larger than %d MiB: ask for less at a time", c.url, wire.MaxReply>>20)
	case resp.StatusCode/100 != 2:
		return c.problem(resp, data)
	case k.into == nil:
		return nil
	case k.next != nil:
		*k.next = resp.Header.Get(wire.HeaderNext)
	}
	if err := json.Unmarshal(data, k.into); err != nil {
		return errkind.Wrap(errkind.Corrupt, err, "the answer of the host service at %s is not understood: is it mooringd, of a compatible version?", c.url)
	}
	return nil
}

// lost says why there was no answer, and whether there may be one later.
func (c *core) lost(ctx context.Context, err error) error {
	l := &lostError{again: true, sent: true}
	var dial *dialError
	if errors.As(err, &dial) {
		l.sent = false
		switch k := errkind.Of(dial.err); k {
		case errkind.Invalid, errkind.Unsupported:
			return dial.err
		case errkind.Denied:
			if transport.IsTLS(c.url) || IsHTTPS(c.url) {
				return dial.err // says which certificate is missing or wrong
			}
			return errkind.Wrap(k, rootCause(dial.err), "no permission to connect to the host service at %s: become root or a member of group mooring", c.url)
		}
	}
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		l.again = false
		l.err = errkind.Wrap(errkind.Unavailable, context.Canceled, "the call to the host service at %s was given up", c.url)
	case ctx.Err() != nil && l.sent:
		l.again = false
		l.err = errkind.Wrap(errkind.Unavailable, ctx.Err(), "the host service at %s did not answer in time: the work may still be going on, repeat the command", c.url)
	default:
		l.err = errkind.Wrap(errkind.Unavailable, rootCause(err), "the host service at %s does not answer: is mooringd running?", c.url)
	}
	return l
}

// rootCause drops what the layers of net and net/http say around a cause.
func rootCause(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

func (c *core) problem(resp *http.Response, data []byte) error {
	var p wire.Problem
	if err := json.Unmarshal(data, &p); err != nil || p.Detail == "" {
		return errkind.New(errkind.FromHTTPStatus(resp.StatusCode), "the host service at %s answered %s without an explanation", c.url, resp.Status)
	}
	kind := errkind.Kind(p.Kind)
	if !kind.Known() {
		kind = errkind.FromHTTPStatus(resp.StatusCode)
	}
	return &errkind.Error{Kind: kind, Msg: p.Detail}
}
