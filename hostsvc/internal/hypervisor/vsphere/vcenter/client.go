// Package vcenter is the connection to a vCenter or to a single ESXi host: one
// session that is renewed when it ends, tasks waited for through lost
// connections, files of datastores, faults as errors of package errkind, and
// an inventory that is kept current by what changed.
package vcenter

import (
	"context"
	"crypto/tls"
	"errors"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/pkg/errkind"
)

// Options says whom to connect to and as whom.
type Options struct {
	URL        string                 // https://host[:port][/sdk]
	User       string                 // name@domain
	Password   func() (string, error) // read again at every login
	CAFile     string                 // PEM; "" and no Thumbprint: the system's authorities
	Thumbprint string                 // SHA-256 of the server's certificate: nothing else is accepted
	Datacenter string                 // name or path; "" when there is one only
	UserAgent  string
}

// Client is a connection that is made when it is first needed. Its methods
// are safe for concurrent use, and every error of theirs has a kind.
type Client struct {
	o   Options
	url *url.URL
	pin []byte // nil: authorities decide

	login   chan struct{} // held by who connects; capacity one
	mu      sync.Mutex    // guards the rest
	live    *conn
	refused refusal
}

// New checks the form of o. It connects to nobody.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.URL)
	switch {
	case err != nil:
		return nil, errkind.New(errkind.Invalid, "vCenter address %q is not an address: use https://host", o.URL)
	case u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errkind.New(errkind.Invalid, "vCenter address %q is not valid: use https://host", o.URL)
	case u.User != nil:
		return nil, errkind.New(errkind.Invalid, "vCenter address of host %s holds a user or password: they are settings of their own", u.Host)
	case o.User == "":
		return nil, errkind.New(errkind.Invalid, "user for vCenter %s is missing: name the account to log in with", u.Host)
	case o.Password == nil:
		return nil, errkind.New(errkind.Invalid, "password for vCenter %s is missing: name the file that holds it", u.Host)
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/sdk"
	}
	c := &Client{o: o, url: u, login: make(chan struct{}, 1)}
	if o.Thumbprint != "" {
		if c.pin, err = parseThumbprint(o.Thumbprint); err != nil {
			return nil, err
		}
	}
	if _, err := c.tls(); err != nil {
		return nil, err
	}
	return c, nil
}

// conn is what dies with a login: with it go all views, filters and
// collectors.
type conn struct {
	vim  *vim25.Client
	vslm *vslm.Client // nil on ESXi
	dc   *object.Datacenter

	views views
}

// Do runs f in a live session. A session that has ended is replaced, and f runs
// once more: the server did nothing for the first. A lost connection is
// unavailable, and what f asked for may have been done. what is the beginning
// of a sentence: "creating disk X".
func (c *Client) Do(ctx context.Context, what string, f func(ctx context.Context, vc *vim25.Client) error) error {
	return c.in(ctx, what, func(ctx context.Context, s *conn) error { return f(ctx, s.vim) })
}

// Read is Do for what changes nothing: it is repeated also when the connection
// was lost.
func (c *Client) Read(ctx context.Context, what string, f func(ctx context.Context, vc *vim25.Client) error) error {
	return c.again(ctx, func() error { return c.Do(ctx, what, f) })
}

// again repeats a reading that lost its connection: the first attempt may have
// met a connection that died long ago.
func (c *Client) again(ctx context.Context, f func() error) error {
	err := f()
	if !Lost(err) || ctx.Err() != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return err
	case <-time.After(100 * time.Millisecond):
	}
	return f()
}

func (c *Client) in(ctx context.Context, what string, f func(ctx context.Context, s *conn) error) error {
	for last := false; ; last = true {
		s, err := c.conn(ctx)
		if err != nil {
			return Translate(err, what)
		}
		err = f(ctx, s)
		if err == nil {
			return nil
		}
		if last || !Is[*types.NotAuthenticated](err) {
			return Translate(err, what)
		}
		c.drop(s)
	}
}

// VSLM is the service for first-class disks. On an ESXi host: unsupported.
func (c *Client) VSLM(ctx context.Context) (*vslm.Client, error) {
	s, err := c.conn(ctx)
	if err != nil {
		return nil, Translate(err, "reaching the service for first-class disks")
	}
	if s.vslm == nil {
		return nil, errkind.New(errkind.Unsupported, "first-class disks are not to be had from %s: it is an ESXi host without vCenter; set disk = \"vmdk\"", c.url.Host)
	}
	return s.vslm, nil
}

// WithVSLM is Do with the service for first-class disks.
func (c *Client) WithVSLM(ctx context.Context, what string, f func(ctx context.Context, vs *vslm.Client) error) error {
	return c.in(ctx, what, func(ctx context.Context, s *conn) error {
		if s.vslm == nil {
			_, err := c.VSLM(ctx)
			return err
		}
		return f(ctx, s.vslm)
	})
}

// Datacenter is where everything is done.
func (c *Client) Datacenter(ctx context.Context) (*object.Datacenter, error) {
	s, err := c.conn(ctx)
	if err != nil {
		return nil, Translate(err, "finding the datacenter")
	}
	return s.dc, nil
}

// About says what the other side is, as of the last login; empty before the
// first.
func (c *Client) About() types.AboutInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		return types.AboutInfo{}
	}
	return c.live.vim.ServiceContent.About
}

// Host is the name in the address, for sentences.
func (c *Client) Host() string { return c.url.Host }

// Close ends the session, if there is one. The client can be used again.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	s := c.live
	c.live = nil
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	defer s.vim.CloseIdleConnections()
	err := logout(ctx, s.vim)
	if err == nil || Is[*types.NotAuthenticated](err) {
		return nil
	}
	return Translate(err, "ending the session with "+c.url.Host)
}

// conn is the live one, or a new one. Who comes while somebody connects
// waits for the result.
func (c *Client) conn(ctx context.Context) (*conn, error) {
	if s := c.current(); s != nil && ctx.Err() == nil {
		return s, nil
	}
	select {
	case c.login <- struct{}{}:
		defer func() { <-c.login }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if s := c.current(); s != nil {
		return s, nil
	}
	s, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.live = s
	c.mu.Unlock()
	return s, nil
}

func (c *Client) current() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live
}

// drop forgets a session that has ended.
func (c *Client) drop(s *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == s {
		c.live = nil
	}
	s.vim.CloseIdleConnections()
}

// tls is how the server is told from an impostor. The file with the
// authorities is read anew, so that it can be replaced.
func (c *Client) tls() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.o.CAFile != "" {
		pool, err := authorities(c.o.CAFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = pool
	}
	if c.pin == nil {
		return conf, nil
	}
	// The pin alone decides: it is compared at every handshake, resumed ones
	// included.
	conf.InsecureSkipVerify = true
	conf.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("no certificate was shown")
		}
		return c.comparePin(cs.PeerCertificates[0])
	}
	return conf, nil
}
