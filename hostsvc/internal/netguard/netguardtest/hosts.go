// Package netguardtest is the one list of hosts that nothing of a tenant may
// connect to. Every kind of place that a tenant can name is tested with it.
package netguardtest

// Addresses are written as in the host of a URL, and lead into the provider's
// networks or to no single place.
var Addresses = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.100.100.200",
	"169.254.169.254", "198.18.0.1", "192.0.2.1", "203.0.113.9", "192.0.0.192", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"[::1]", "[::]", "[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fe80::1]", "[fec0::1]", "[ff02::1]", "[2001:db8::1]",
	// IPv4 inside IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo
	"[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[::ffff:a9fe:a9fe]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
	"[64:ff9b::7f00:1]", "[64:ff9b:1::a9fe:a9fe]", "[2002:7f00:1::]", "[2001:0:7f00:1::1]",
}

// Names are what a resolver may take for this machine: by name, or as an
// address in an old way of writing. One that it does not know leads nowhere.
var Names = []string{"localhost", "LOCALHOST.", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "0"}

// Inside are addresses that a name server of a tenant may give for a name.
var Inside = [][4]byte{{127, 0, 0, 1}, {10, 0, 0, 1}, {169, 254, 169, 254}, {0, 0, 0, 0}}
