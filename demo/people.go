package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/transport"
)

// person is somebody who comes to the service over HTTPS.
type person struct {
	tenant string // "": one of the provider
	name   string
	role   string
}

// people are the story's: one of the provider, one of each tenant.
var people = []person{
	{"", "admin", "master-admin"},
	{"Product1Dev", "dana", "tenant-admin"},
	{"Product1Test", "tess", "tenant-admin"},
}

// portalPort is what the portal listens on if nobody else does.
const portalPort = 8443

// peopleDir has what only root may read: passwords, and what the mooring
// command keeps of those who logged in.
func peopleDir() string { return filepath.Join(homeDir, "people") }

func (p person) passwordFile() string { return filepath.Join(peopleDir(), p.name+".password") }

// password is that which invite has generated.
func (p person) password() (string, error) {
	b, err := os.ReadFile(p.passwordFile())
	return strings.TrimSpace(string(b)), err
}

// inviteAll generates the passwords of all people.
func inviteAll() error {
	if err := os.MkdirAll(peopleDir(), 0o700); err != nil {
		return err
	}
	for _, p := range people {
		if err := os.WriteFile(p.passwordFile(), []byte(strings.ToLower(rand.Text())+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// portal is the address of the portal, once the configuration is written.
func (s *site) portal() string { return "https://" + s.door }

// authority is the file with the authority of the portal's certificate.
func authority() string { return filepath.Join(homeDir, "state", "https-ca.crt") }

// freeDoor is a loopback address that nobody listens on now: that with port,
// or another.
func freeDoor(ctx context.Context, port int) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil && port != 0 {
		return freeDoor(ctx, 0)
	}
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// logins tells who can log in to the portal, and how its certificate is known.
func (s *site) logins() (string, error) {
	pin, err := transport.ReadPin(authority())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "The portal: %s\n\n%-14s  %-6s  %s\n", s.portal(), "tenant", "user", "password")
	for _, p := range people {
		password, err := p.password()
		if err != nil {
			return "", err
		}
		tenant := p.tenant
		if tenant == "" {
			tenant = "(leave empty)"
		}
		fmt.Fprintf(&b, "%-14s  %-6s  %s\n", tenant, p.name, password)
	}
	fmt.Fprintf(&b, "\nIts certificate is of an authority of its own: browsers warn, unless they trust\n%s\n%s\n", authority(), pin)
	return b.String(), nil
}

// loginsFile keeps what logins tells.
func loginsFile() string { return filepath.Join(peopleDir(), "logins") }
