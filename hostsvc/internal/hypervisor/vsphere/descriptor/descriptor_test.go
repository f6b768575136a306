package descriptor_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/descriptor"
	"mooring.dev/mooring/pkg/errkind"
)

// thin is what ESXi writes for a disk of 100 MiB.
const thin = `# Disk DescriptorFile
version=1
encoding="UTF-8"
CID=fffffffe
parentCID=ffffffff
createType="vmfs"

# Extent description
RW 204800 VMFS "v-flat.vmdk"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "100"
ddb.longContentID = "f1b2c3d4e5f60718293a4b5cfffffffe"
ddb.thinProvisioned = "1"
ddb.uuid = "60 00 C2 91 0a 0b 0c 0d-0e 0f 10 11 12 13 14 15"
ddb.virtualHWVersion = "13"
`

func TestADescriptorIsRead(t *testing.T) {
	d, err := descriptor.Parse([]byte(thin))
	require.NoError(t, err)
	assert.Equal(t, descriptor.Descriptor{
		Size: 100 << 20, UUID: "6000c2910a0b0c0d0e0f101112131415", Thin: true,
		Extents: []descriptor.Extent{{Size: 100 << 20, Kind: "VMFS", File: "v-flat.vmdk"}},
	}, d)
	flat, ok := d.Flat()
	assert.True(t, ok)
	assert.Equal(t, d.Extents, flat)
}

func TestOnlyFlatExtentsAreFlat(t *testing.T) {
	for line, want := range map[string]bool{
		`RW 204800 VMFS "v-flat.vmdk"`:                true,
		`RW 204800 FLAT "v-flat.vmdk" 0`:              true,
		`RW 204800 FLAT "v-flat.vmdk" 63`:             false,
		`RW 204800 SESPARSE "v-000001-sesparse.vmdk"`: false,
		`RW 204800 VMFSSPARSE "v-000001-delta.vmdk"`:  false,
		`RW 204800 VMFS "vsan://522d5a5e-4a"`:         false,
		`RW 204800 VMFS "../../other-flat.vmdk"`:      false,
		`RW 204800 ZERO`:                              false,
	} {
		d, err := descriptor.Parse([]byte(strings.Replace(thin, `RW 204800 VMFS "v-flat.vmdk"`, line, 1)))
		require.NoError(t, err, line)
		_, ok := d.Flat()
		assert.Equal(t, want, ok, line)
		assert.EqualValues(t, 100<<20, d.Size)
	}
	d, err := descriptor.Parse([]byte(strings.Replace(thin, "parentCID=ffffffff", "parentCID=0badcafe", 1)))
	require.NoError(t, err)
	assert.True(t, d.Parent)
}

func TestWhatIsNoDescriptorIsCorrupt(t *testing.T) {
	for _, bad := range []string{
		"", "garbage", strings.Repeat("\x00", 512), "# Disk DescriptorFile\n", strings.Replace(thin, "204800", "-1", 1), strings.Replace(thin, "204800", "0", 1),
		strings.Replace(thin, "204800", "99999999999999999999", 1), strings.Replace(thin, "RW 204800", "XX 204800", 1),
	} {
		_, err := descriptor.Parse([]byte(bad))
		assert.Equal(t, errkind.Corrupt, errkind.Of(err), "%q", bad)
	}
	d, err := descriptor.Parse([]byte(strings.Replace(thin, "60 00 C2 91", "nonsense", 1)))
	require.NoError(t, err)
	assert.Empty(t, d.UUID, "an identity that cannot be read is none")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(thin))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := descriptor.Parse(b)
		if err == nil {
			assert.Positive(t, d.Size)
		}
	})
}
