package config

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// HTTPS is the channel for people: the portal and the HTTP API, on which they
// log in.
type HTTPS struct {
	Listen   string   `toml:"listen"`    // host:port; "": there is none
	URL      string   `toml:"url"`       // how people reach it; "": from Listen, or the machine's name
	CertFile string   `toml:"cert_file"` // with its chain, in PEM; "": of an authority that the service makes itself
	KeyFile  string   `toml:"key_file"`
	Names    []string `toml:"names"` // host names and addresses that its own certificate is for; none: those of the machine

	// Requests a second, on average, of one user, of all users of one tenant,
	// and of visitors from one address; and of a tenant or an address at once.
	UserRequests    int `toml:"user_requests"`
	TenantRequests  int `toml:"tenant_requests"`
	AddressRequests int `toml:"address_requests"`
	AtOnce          int `toml:"requests_at_once"`

	// AllowPrivate are networks that OIDC providers may be in, though not public.
	AllowPrivate []string `toml:"allow_private,omitempty"`
}

func defaultHTTPS() HTTPS {
	return HTTPS{UserRequests: 100, TenantRequests: 300, AddressRequests: 100, AtOnce: 200}
}

func (c *Config) checkHTTPS(p *Problems) {
	h := c.HTTPS
	for _, x := range []struct {
		key string
		n   int
	}{{"user_requests", h.UserRequests}, {"tenant_requests", h.TenantRequests}, {"address_requests", h.AddressRequests}, {"requests_at_once", h.AtOnce}} {
		if x.n < 1 || x.n > maxRequests {
			p.add("https."+x.key, "%d is out of range: from 1 to %d", x.n, maxRequests)
		}
	}
	if h.Listen == "" {
		for _, x := range []struct {
			key string
			set bool
		}{{"url", h.URL != ""}, {"cert_file", h.CertFile != ""}, {"key_file", h.KeyFile != ""}, {"names", len(h.Names) > 0}, {"allow_private", len(h.AllowPrivate) > 0}} {
			if x.set {
				p.add("https."+x.key, "it needs https.listen: set that, or remove this")
			}
		}
		return
	}
	if !isAddress(h.Listen) {
		p.add("https.listen", "%q is not an address: write host:port, such as :8443 or 192.0.2.1:443", clip(h.Listen))
	}
	if h.URL != "" && !isSite(h.URL) {
		p.add("https.url", "%q is not the address of a site: write https://HOST or https://HOST:PORT, with nothing after it", clip(h.URL))
	}
	p.networks("https.allow_private", h.AllowPrivate)
	c.checkCertificate(p)
}

// maxRequests is more than a service answers.
const maxRequests = 100_000

// isSite tells whether s is an https URL of a host alone.
func isSite(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Hostname() != "" && u.User == nil && strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" &&
		(hostName.MatchString(u.Hostname()) || net.ParseIP(u.Hostname()) != nil)
}

func (c *Config) checkCertificate(p *Problems) {
	h := c.HTTPS
	switch {
	case h.CertFile != "" && h.KeyFile == "":
		p.add("https.key_file", "cert_file needs it: name the file with the certificate's key")
	case h.CertFile == "" && h.KeyFile != "":
		p.add("https.cert_file", "key_file needs it: name the file with the certificate and its chain")
	case h.CertFile != "" && len(h.Names) > 0:
		p.add("https.names", "these are for a certificate that the service makes itself: remove them, or cert_file and key_file")
	}
	for _, x := range []struct{ key, path string }{{"cert_file", h.CertFile}, {"key_file", h.KeyFile}} {
		if x.path != "" {
			p.absolute("https."+x.key, x.path)
		}
	}
	for i, name := range h.Names {
		if !hostName.MatchString(name) && net.ParseIP(name) == nil {
			p.add(fmt.Sprintf("https.names[%d]", i), "%q is not a host name or an address: write one such as mooring.example or 192.0.2.1", clip(name))
		}
	}
}
