package app

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/ca"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// webDoor is the name of the door for people.
const webDoor = "people"

// web is the channel for people.
type web struct {
	certificate func() (*tls.Certificate, error)
	given       *ca.Given     // nil: the certificate is the service's own
	own         *ca.Authority // nil: it is given
	first       *firstCode
}

// buildWeb opens the certificate of the channel for people, if cfg asks for
// one. The authority for it is made at the first start.
func buildWeb(cfg config.Config, s state) (w web, err error) {
	h := cfg.HTTPS
	w.first = newFirstCode()
	switch {
	case h.Listen == "":
		return w, nil
	case h.CertFile != "":
		if w.given, err = ca.OpenGiven(h.CertFile, h.KeyFile); err != nil {
			return w, err
		}
		w.certificate = w.given.Certificate
		return w, nil
	}
	w.own, err = ca.Open(ca.Options{
		Dir: cfg.StateDir, Name: "https-ca", Subject: "Mooring portal " + s.installation,
		What: "the authority of the portal", Lost: "let everybody trust the new one",
	})
	if err != nil {
		return w, err
	}
	w.certificate = ca.NewServer(w.own, filepath.Join(cfg.StateDir, "https.key"), webNames(h)).Certificate
	return w, nil
}

// reload reads given files again.
func (w web) reload() error {
	if w.given == nil {
		return nil
	}
	return w.given.Reload()
}

// webNames are what the service's own certificate is for.
func webNames(h config.HTTPS) []string {
	if len(h.Names) > 0 {
		return h.Names
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	if u, err := url.Parse(h.URL); err == nil && u.Hostname() != "" {
		names = append(names, u.Hostname())
	}
	host, _, _ := net.SplitHostPort(h.Listen) // the configuration is checked
	if ip := net.ParseIP(host); host != "" && (ip == nil || !ip.IsUnspecified()) {
		names = append(names, host)
	} else if all, err := net.InterfaceAddrs(); err == nil {
		for _, a := range all {
			if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
				names = append(names, n.IP.String())
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// webDoors is the door for people, if cfg asks for one.
func (d *daemon) webDoors(cfg config.Config) []*door {
	if cfg.HTTPS.Listen == "" {
		return nil
	}
	h := cfg.HTTPS
	throttle := api.NewThrottle(api.Pace{User: h.UserRequests, Tenant: h.TenantRequests, Address: h.AddressRequests, AtOnce: h.AtOnce}, time.Now)
	id := throttle.Identity(d.gate.before(api.PeoplePeers(d.accounts)))
	pages := portal.New(portal.Options{
		API: d.listeners.server.Inside(), Identify: id,
		Login: d.accounts.Login, FirstAdmin: d.accounts.FirstVisit, Provider: d.providers, ProviderLife: oidc.Life, Logo: d.logo, Version: d.version,
	})
	return []*door{{
		name: webDoor,
		key:  doorKey{network: "tcp", address: cfg.HTTPS.Listen, vm: webDoor},
		web:  &api.Web{Certificate: d.web.certificate, Identity: id, Pages: pages, Throttle: throttle},
	}}
}

// providerDial is how long a provider may take to take a connection.
const providerDial = 10 * time.Second

// buildProviders makes log-in by OIDC providers. Its parts know each other only
// when they are asked.
func (d *daemon) buildProviders(cfg config.Config, c *catalog.Catalog) (*oidc.Service, error) {
	guard, err := netguard.New(cfg.HTTPS.AllowPrivate)
	if err != nil {
		return nil, err
	}
	return oidc.New(oidc.Options{
		Store: c.Providers(), Sealer: d.ring, URL: d.webURL,
		Client:  &http.Client{Transport: &http.Transport{DialContext: guard.Dialer(providerDial).DialContext, TLSHandshakeTimeout: providerDial, ForceAttemptHTTP2: true}},
		Attempt: func(from string) error { return d.accounts.Attempt(from) },
		Enter: func(ctx context.Context, c volspec.Caller, p oidc.Person, agent string) (wire.Session, string, error) {
			return d.accounts.LoginSubject(ctx, c, account.Subject{Group: p.Group, Subject: p.Subject, Name: p.Name, Email: p.Email, Role: p.Role}, agent)
		},
	}), nil
}

// logo is the picture of this installation, nil if it has none.
func (d *daemon) logo(ctx context.Context) ([]byte, error) {
	v, err := d.tenants.Settings(ctx)
	if err != nil || v.Logo == "" {
		return nil, err
	}
	_, text, _ := strings.Cut(v.Logo, ",")
	b, err := base64.StdEncoding.DecodeString(text)
	return b, errkind.Wrap(errkind.Corrupt, err, "the logo of this installation is damaged: set it again")
}

// webURL is the channel for people as they reach it, "" if there is none.
func (d *daemon) webURL() string {
	for _, door := range d.openDoors() {
		if door.name != webDoor {
			continue
		}
		if u := d.config().HTTPS.URL; u != "" {
			return u
		}
		return "https://" + reachable(door.l.Addr())
	}
	return ""
}

// announceWeb tells where the portal is, and by what its certificate is known.
func (d *daemon) announceWeb(ctx context.Context) error {
	u := d.webURL()
	if u == "" {
		return nil
	}
	if _, err := d.web.certificate(); err != nil {
		return err
	}
	e := log.G(ctx).WithField("url", u)
	if d.web.own != nil {
		e = e.WithField("authority", transport.PinOf(d.web.own.Certificate()).String())
	}
	e.Info("the portal can be reached")
	return nil
}
