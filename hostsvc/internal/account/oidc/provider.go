package oidc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	coreos "github.com/coreos/go-oidc/v3/oidc"

	"mooring.dev/mooring/pkg/errkind"
)

const (
	answerLimit  = 1 << 20          // bytes of a provider's answer
	providerTime = 15 * time.Second // for one question to it
	providerKeep = time.Hour        // what it says of itself holds so long
	maxProviders = 1000
)

// bounded is client for providers that are not trusted: short, small answers,
// no redirects.
func bounded(client *http.Client) *http.Client {
	c := http.Client{}
	if client != nil {
		c = *client
	}
	inner := c.Transport
	if inner == nil {
		inner = http.DefaultTransport
	}
	c.Transport, c.Timeout = shortAnswers{inner}, providerTime
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

type shortAnswers struct{ inner http.RoundTripper }

func (s shortAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.inner.RoundTrip(r)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, answerLimit), resp.Body}
	}
	return resp, err
}

// providers keeps what providers say of themselves, and their keys.
type providers struct {
	client *http.Client
	now    func() time.Time

	mu  sync.Mutex // guards all
	all map[string]found
}

type found struct {
	provider *coreos.Provider
	at       time.Time
}

func newProviders(client *http.Client, now func() time.Time) *providers {
	return &providers{client: client, now: now, all: map[string]found{}}
}

// with is ctx for calls of the library.
func (p *providers) with(ctx context.Context) context.Context {
	return coreos.ClientContext(ctx, p.client)
}

// discover asks an issuer what it is.
func (p *providers) discover(ctx context.Context, issuer string) (*coreos.Provider, error) {
	v, err := coreos.NewProvider(p.with(ctx), issuer)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the provider %s does not answer as one of OpenID Connect: check the address of the issuer, and whether this machine reaches it", issuer)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.all) >= maxProviders {
		clear(p.all)
	}
	p.all[issuer] = found{v, p.now()}
	return v, nil
}

func (p *providers) get(ctx context.Context, issuer string) (*coreos.Provider, error) {
	p.mu.Lock()
	f, ok := p.all[issuer]
	p.mu.Unlock()
	if ok && p.now().Sub(f.at) < providerKeep {
		return f.provider, nil
	}
	return p.discover(ctx, issuer)
}

// noAnswer tells an error of a provider that was not reached from that of one
// that refused.
func noAnswer(err error) bool {
	_, is := errors.AsType[*url.Error](err)
	return is
}

// silent is said when a provider does not answer in the middle of a log-in.
func silent(issuer string, err error) error {
	return errkind.Wrap(errkind.Unavailable, err, "the provider %s does not answer: try again in a while, and let an administrator check whether the service reaches it if it stays so", issuer)
}
