package app

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/ca"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
)

// webDoor is the name of the door for people.
const webDoor = "people"

// web is the channel for people.
type web struct {
	certificate func() (*tls.Certificate, error)
	given       *ca.Given     // nil: the certificate is the service's own
	own         *ca.Authority // nil: it is given
}

// buildWeb opens the certificate of the channel for people, if cfg asks for
// one. The authority for it is made at the first start.
func buildWeb(cfg config.Config, s state) (w web, err error) {
	h := cfg.HTTPS
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
	return []*door{{
		name: webDoor,
		key:  doorKey{network: "tcp", address: cfg.HTTPS.Listen, vm: webDoor},
		web:  &api.Web{Certificate: d.web.certificate, Identity: d.gate.before(d.person), Pages: http.HandlerFunc(page)},
	}}
}

// person is whoever makes a request on the channel for people.
func (d *daemon) person(_ context.Context, r *http.Request) (volspec.Caller, error) {
	return volspec.Caller{Visitor: true, Actor: "visitor:" + r.RemoteAddr, From: r.RemoteAddr}, nil
}

// page stands where the portal will be.
func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("mooringd\n")) // a peer that went away is its own affair
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
