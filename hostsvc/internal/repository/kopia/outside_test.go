package kopia_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/netguard"
	"mooring.dev/mooring/hostsvc/internal/netguard/netguardtest"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Places that tenants name are reached over public addresses, or over networks
// that an administrator opened; all others are reached as ever.
func TestPlacesOfTenantsAreOutside(t *testing.T) {
	bucket, _ := s3server(t)
	server := sftpserver(t)
	open, err := netguard.New([]string{"127.0.0.0/8"})
	require.NoError(t, err)
	for name, p := range map[string]repository.Place{"s3": bucket, "sftp": server} {
		t.Run(name, func(t *testing.T) {
			if p.Location.Type == repository.SFTP {
				p.Location.Path = t.TempDir()
			}
			id := repository.Identity{ID: volspec.RepositoryID(uuid.NewString()), Tenant: "t", Created: time.Now()}
			p.Outside = true
			_, err := opener(t, kopia.Options{}).Create(t.Context(), p, "key", id)
			assert.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
			made, err := opener(t, kopia.Options{Guard: open}).Create(t.Context(), p, "key", id)
			require.NoError(t, err)
			_, err = opener(t, kopia.Options{}).Open(t.Context(), p, "key", made.ID)
			assert.ErrorContains(t, err, "is not public")
			p.Outside = false
			rp, err := opener(t, kopia.Options{}).Open(t.Context(), p, "key", made.ID)
			require.NoError(t, err)
			require.NoError(t, rp.Close(t.Context()))
		})
	}
}

// inside is a place of a tenant on a host, of each kind that connects.
func inside(host string, port int) map[string]repository.Place {
	address := net.JoinHostPort(strings.Trim(host, "[]"), strconv.Itoa(port))
	return map[string]repository.Place{
		"s3": {
			Location:    repository.Location{Type: repository.S3, Endpoint: address, Bucket: "backups", Region: "us-east-1", Insecure: true},
			Credentials: repository.Credentials{AccessKey: "a", SecretKey: "secretsecret"}, Outside: true,
		},
		"sftp": {
			Location: repository.Location{
				Type: repository.SFTP, Host: strings.Trim(host, "[]"), Port: port, User: "u", Path: "/backups",
				HostKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
			},
			Credentials: repository.Credentials{Password: "p"}, Outside: true,
		},
	}
}

// trespass tries a place in both ways and gives the error.
func trespass(t *testing.T, o kopia.Options, p repository.Place) error {
	t.Helper()
	id := repository.Identity{ID: volspec.RepositoryID(uuid.NewString()), Tenant: "t", Created: time.Now()}
	_, created := opener(t, o).Create(t.Context(), p, "key", id)
	_, opened := opener(t, o).Open(t.Context(), p, "key", id.ID)
	require.Error(t, created)
	require.Error(t, opened)
	return errors.Join(created, opened)
}

// No host of the one list is connected to, nor a name that leads inside.
func TestNoPlaceOfATenantIsInside(t *testing.T) {
	for _, host := range netguardtest.Addresses {
		for kind, p := range inside(host, 9) {
			err := trespass(t, kopia.Options{}, p)
			assert.Equal(t, errkind.Denied, errkind.Of(err), "%s %s: %v", kind, host, err)
			assert.Equal(t, 2, strings.Count(err.Error(), "is not public"), "%s %s: %v", kind, host, err)
		}
	}
	for _, address := range netguardtest.Inside {
		netguardtest.Resolve(t, address)
		for _, host := range []string{"evil.example", "localhost"} {
			for kind, p := range inside(host, 9) {
				err := trespass(t, kopia.Options{}, p)
				assert.Equal(t, errkind.Denied, errkind.Of(err), "%s %s at %v: %v", kind, host, address, err)
			}
		}
	}
}

// A server of a tenant cannot send us inside.
func TestServersOfTenantsLeadNowhereElse(t *testing.T) {
	var reached atomic.Int32
	l, err := net.Listen("tcp", "127.0.0.2:0")
	require.NoError(t, err)
	target := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	target.Listener = l
	target.Start()
	defer target.Close()
	open, err := netguard.New([]string{"127.0.0.1/32"})
	require.NoError(t, err)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		var asked atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			http.Redirect(w, r, target.URL+r.URL.RequestURI(), status)
		}))
		_ = trespass(t, kopia.Options{Guard: open}, inside("127.0.0.1", server.Listener.Addr().(*net.TCPAddr).Port)["s3"])
		server.Close()
		assert.NotZero(t, asked.Load(), "%d", status)
	}
	assert.Zero(t, reached.Load())
}
