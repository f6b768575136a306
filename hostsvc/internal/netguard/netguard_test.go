package netguard_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/netguard/netguardtest"
	"mooring.dev/mooring/pkg/errkind"
)

func TestAddresses(t *testing.T) {
	for address, ok := range map[string]bool{
		"8.8.8.8": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true,
		"127.0.0.1": false, "127.255.255.254": false, "::1": false, "0.0.0.0": false, "::": false,
		"10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "fc00::1": false, "fd00:ec2::254": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "100.64.0.1": false, "100.100.100.200": false,
		"224.0.0.1": false, "ff02::1": false, "255.255.255.255": false, "240.0.0.1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:169.254.169.254": false, "::127.0.0.1": false,
		"64:ff9b::7f00:1": false, "2002:7f00:1::": false, "198.18.0.1": false, "192.0.2.1": false, "203.0.113.9": false,
	} {
		err := netguard.Guard{}.Control("tcp", net.JoinHostPort(address, "443"), nil)
		assert.Equal(t, ok, err == nil, address)
		assert.Equal(t, ok, netguard.Guard{}.CheckHost(address) == nil, address)
		if err != nil {
			assert.Equal(t, errkind.Denied, errkind.Of(err))
		}
	}
	for _, host := range netguardtest.Addresses {
		address := strings.Trim(host, "[]")
		require.Error(t, netguard.Guard{}.CheckHost(address), host)
		require.Error(t, netguard.Guard{}.Control("tcp", host+":443", nil), host)
	}
	require.Error(t, netguard.Guard{}.Control("tcp", strings.Repeat("x", 10), nil))
	require.NoError(t, netguard.Guard{}.CheckHost("a-name.example"))
}

func TestAnAdministratorOpensNetworks(t *testing.T) {
	g, err := netguard.New([]string{"10.1.0.0/16", "fd00:1::/32"})
	require.NoError(t, err)
	for address, ok := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:1::5": true, "10.2.0.1": false, "127.0.0.1": false, "fd00:2::5": false, "1.1.1.1": true,
	} {
		assert.Equal(t, ok, g.CheckHost(address) == nil, address)
	}
	_, err = netguard.New([]string{"10.1.0.0"})
	assert.ErrorContains(t, err, `network "10.1.0.0" is not valid`)
}

// A name is judged by where it leads when the connection is made, whatever it
// led to when it was set.
func TestNamesCannotLie(t *testing.T) {
	reached := 0
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer srv.Close()
	_, port, err := net.SplitHostPort(srv.Listener.Addr().String())
	require.NoError(t, err)
	for name, answers := range map[string][][4]byte{
		"a name of this machine": {{127, 0, 0, 1}},
		"a private one":          {{10, 0, 0, 1}},
		"metadata":               {{169, 254, 169, 254}},
		"rebinding":              {{8, 8, 8, 8}, {127, 0, 0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			d := netguard.Guard{}.Dialer(5 * time.Second)
			d.Resolver = netguardtest.Resolver(t, answers...)
			if len(answers) > 1 { // what a check beforehand would have seen
				ips, err := d.Resolver.LookupNetIP(t.Context(), "ip4", "evil.example.")
				require.NoError(t, err)
				require.NoError(t, netguard.Guard{}.Check(ips[0]))
			}
			c := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://evil.example.:"+port, nil)
			require.NoError(t, err)
			resp, err := c.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			assert.ErrorContains(t, err, "is not public")
		})
	}
	assert.Zero(t, reached)
}
