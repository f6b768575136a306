package kopia_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/netguard"
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
			for _, host := range []string{"127.0.0.1", "localhost"} {
				named := p
				if p.Location.Type == repository.SFTP {
					named.Location.Host = host
				}
				_, err := opener(t, kopia.Options{}).Create(t.Context(), named, "key", id)
				assert.Equal(t, errkind.Denied, errkind.Of(err), "%v", err)
				assert.ErrorContains(t, err, "is not public")
			}
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
