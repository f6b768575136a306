package local

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
)

func TestContractInAFolder(t *testing.T) { contract(t, t.TempDir()) }

func TestContractOnExt4(t *testing.T)  { onFS(t, "ext4", false) }
func TestContractOnXFS(t *testing.T)   { onFS(t, "xfs", true) }
func TestContractOnBtrfs(t *testing.T) { onFS(t, "btrfs", true) }

func onFS(t *testing.T, fstype string, reflink bool) {
	base := mounted(t, fstype, 600)
	all, err := newWorld(t, base).Datastores(t.Context())
	require.NoError(t, err)
	for _, d := range all {
		assert.Equal(t, fstype, d.Type)
		assert.Equal(t, reflink, d.Reflink)
	}
	contract(t, base)
}

func contract(t *testing.T, base string) {
	n := 0
	hypervisortest.Run(t, func(t *testing.T) hypervisortest.Fixture {
		n++
		return newWorld(t, filepath.Join(base, strconv.Itoa(n))).fixture(t)
	})
}
