// Package netguard keeps connections to places that tenants name out of the
// provider's own networks. A name can lead anywhere, and elsewhere a moment
// later; so what is judged is the address of each connection, when it is made.
package netguard

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"mooring.dev/mooring/pkg/errkind"
)

// closed are networks that are not the Internet, beside those that netip knows
// by name. IPv6 networks that carry IPv4 addresses are among them, because what
// is inside is not looked at.
var closed = func() (out []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/8", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// Guard lets connections go to public addresses, and to networks that an
// administrator opened. The zero value opens none. It does not change.
type Guard struct{ open []netip.Prefix }

// New makes a guard. Networks are CIDRs; one that is none is invalid.
func New(networks []string) (Guard, error) {
	var g Guard
	for _, s := range networks {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return Guard{}, errkind.New(errkind.Invalid, "network %q is not valid: write one such as 10.1.0.0/16", s)
		}
		g.open = append(g.open, p.Masked())
	}
	return g, nil
}

// Check judges one address.
func (g Guard) Check(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	for _, p := range g.open {
		if p.Contains(ip) {
			return nil
		}
	}
	ok := ip.IsGlobalUnicast() && !ip.IsPrivate()
	for _, p := range closed {
		ok = ok && !p.Contains(ip)
	}
	if !ok {
		return errkind.New(errkind.Denied, "address %s is not public, and connections into the provider's own networks are not made: "+
			"name a place that is reached over the Internet, or ask the administrator to open the network", ip)
	}
	return nil
}

// CheckHost judges a host before anything is connected. A name is not looked
// up: its addresses are judged when they are used.
func (g Guard) CheckHost(host string) error {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return nil //nolint:nilerr // a name
	}
	return g.Check(ip)
}

// Control is for net.Dialer.Control. It sees the address after the name was
// resolved.
func (g Guard) Control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return errkind.New(errkind.Denied, "address %q is not allowed", address)
	}
	return g.Check(a.Addr())
}

// Dialer makes connections that the guard lets through.
func (g Guard) Dialer(timeout time.Duration) *net.Dialer {
	return &net.Dialer{Timeout: timeout, Control: g.Control}
}
