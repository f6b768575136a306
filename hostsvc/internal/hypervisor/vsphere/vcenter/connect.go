package vcenter

import (
	"context"
	"errors"
	"net/url"
	"reflect"
	"strings"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/pkg/errkind"
)

const (
	// idle connections are closed before the server does it, which would look
	// like a lost reply.
	idle = 20 * time.Second
	// lockout is how long a refused password is not tried again: accounts are
	// locked after a few attempts.
	lockout = time.Minute
)

// refusal is a password that was not accepted.
type refusal struct {
	password string
	until    time.Time
	err      error
}

func (c *Client) connect(ctx context.Context) (*conn, error) {
	conf, err := c.tls()
	if err != nil {
		return nil, err
	}
	sc := soap.NewClient(c.url, false)
	sc.UserAgent = c.o.UserAgent
	t := sc.DefaultTransport()
	// The library's own dialling knows no context and takes a certificate by
	// its thumbprint only after the authorities refused it.
	t.TLSClientConfig, t.DialTLSContext, t.IdleConnTimeout = conf, nil, idle
	t.MaxIdleConnsPerHost = 8
	s := &conn{}
	if s.vim, err = vim25.NewClient(ctx, sc); err != nil {
		return nil, err
	}
	if err := c.authenticate(ctx, s.vim); err != nil {
		sc.CloseIdleConnections()
		return nil, err
	}
	if err := c.complete(ctx, s); err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = logout(end, s.vim)
		sc.CloseIdleConnections()
		return nil, err
	}
	return s, nil
}

func (c *Client) authenticate(ctx context.Context, vc *vim25.Client) error {
	password, err := c.o.Password()
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "password for vCenter %s cannot be read", c.url.Host)
	}
	c.mu.Lock()
	r := c.refused
	c.mu.Unlock()
	if r.err != nil && r.password == password && time.Now().Before(r.until) {
		return r.err
	}
	err = session.NewManager(vc).Login(ctx, url.UserPassword(c.o.User, password))
	if err == nil {
		return nil
	}
	if !Is[*types.InvalidLogin](err) {
		return err
	}
	r = refusal{password, time.Now().Add(lockout), errkind.New(errkind.Denied, "%s does not accept user %s with the password it was given: check the user and the password file; it is not tried again for a minute, so that the account is not locked", c.url.Host, c.o.User)}
	c.mu.Lock()
	c.refused = r
	c.mu.Unlock()
	return r.err
}

// complete finds what belongs to a session besides the login.
func (c *Client) complete(ctx context.Context, s *conn) error {
	var err error
	if s.dc, err = c.datacenter(ctx, s.vim); err != nil || !s.vim.IsVC() {
		return err
	}
	if s.vslm, err = vslm.NewClient(ctx, s.vim); err != nil {
		return err
	}
	known := s.vslm.Types
	s.vslm.Types = func(name string) (reflect.Type, bool) {
		if t, ok := known(name); ok {
			return t, true
		}
		// This service writes the names of faults with their packages.
		return known(name[strings.LastIndexByte(name, '.')+1:])
	}
	return nil
}

func (c *Client) datacenter(ctx context.Context, vc *vim25.Client) (*object.Datacenter, error) {
	f := find.NewFinder(vc)
	name := c.o.Datacenter
	if name == "" {
		name = "*"
	}
	all, err := f.DatacenterList(ctx, name)
	var none *find.NotFoundError
	switch {
	case errors.As(err, &none) || err == nil && len(all) == 0:
		return nil, errkind.New(errkind.NotFound, "%s shows user %s no datacenter %s: check the name and the permissions of the user", c.url.Host, c.o.User, c.o.Datacenter)
	case err != nil:
		return nil, err
	case len(all) > 1:
		var names []string
		for _, d := range all {
			names = append(names, d.InventoryPath)
		}
		return nil, errkind.New(errkind.Invalid, "%s has several datacenters that fit: set one of %s", c.url.Host, strings.Join(names, ", "))
	}
	return all[0], nil
}

// ping fails when the session has ended.
func ping(ctx context.Context, vc *vim25.Client) error {
	_, err := methods.GetCurrentTime(ctx, vc)
	return err
}

func logout(ctx context.Context, vc *vim25.Client) error { return session.NewManager(vc).Logout(ctx) }
