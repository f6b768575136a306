package notify

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"syscall"

	"mooring.dev/mooring/pkg/errkind"
)

func tlsConfig(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// closed are networks that a stranger's URL must not lead to, beside those
// that netip knows by name. IPv6 networks that carry IPv4 addresses are
// among them, because what is inside is not looked at.
var closed = func() (out []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}()

// Public is a check for net.Dialer.Control that lets connections go to public
// addresses only: not to this machine, not into its networks. It sees the
// address after the name was resolved, so a name cannot lie. For URLs that
// tenants give; those of a configuration are the administrator's.
func Public(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return errkind.New(errkind.Denied, "address %q is not allowed", address)
	}
	ip := a.Addr().Unmap().WithZone("")
	ok := ip.IsGlobalUnicast() && !ip.IsPrivate()
	for _, p := range closed {
		ok = ok && !p.Contains(ip)
	}
	if !ok {
		return errkind.New(errkind.Denied, "address %s is not public: connections into the host's own networks are not made", ip)
	}
	return nil
}
