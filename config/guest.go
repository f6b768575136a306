package config

import (
	"net"
	"strconv"
	"time"

	"mooring.dev/mooring/pkg/transport"
)

// Guest is the TLS channel of VMs, on which each shows a certificate that it
// got by enrolling.
type Guest struct {
	Listen          string   `toml:"listen"`           // host:port; "": there is none
	URL             string   `toml:"url"`              // how VMs reach it; "": from Listen, or the machine's name
	AutoEnroll      bool     `toml:"auto_enroll"`      // invite the VMs of vmgroups, where the hypervisor can
	CertificateLife Duration `toml:"certificate_life"` //
}

func defaultGuest() Guest { return Guest{CertificateLife: Duration(7 * 24 * time.Hour)} }

func (c *Config) checkGuest(p *Problems) {
	g := c.Guest
	if g.Listen != "" && !isAddress(g.Listen) {
		p.add("guest.listen", "%q is not an address: write host:port, such as 192.0.2.1:1020", g.Listen)
	}
	if g.URL != "" && (!transport.IsTLS(g.URL) || transport.Check(g.URL) != nil) {
		p.add("guest.url", "%q is not a channel of VMs: write tls://HOST:PORT", g.URL)
	}
	if g.Listen == "" {
		for _, x := range []struct {
			key string
			set bool
		}{{"guest.url", g.URL != ""}, {"guest.auto_enroll", g.AutoEnroll}} {
			if x.set {
				p.add(x.key, "it needs guest.listen: set that, or remove this")
			}
		}
	}
	p.between("guest.certificate_life", g.CertificateLife, time.Minute, 90*24*time.Hour)
}

// isAddress reports whether s is host:port; port 0 is any that is free.
func isAddress(s string) bool {
	_, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	return err == nil && perr == nil && (n != 0 || port == "0")
}
