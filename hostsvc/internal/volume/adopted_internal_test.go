package volume

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestAForeignVolumeIsAdoptedAsItIs(t *testing.T) {
	f := hypervisor.OldVolume{
		Ref:  hypervisor.Ref{Datastore: "ds", Volume: "0d1f6a50-8f0e-4c3e-9d0a-111111111111", Group: "5f0d2c3e-9a51-4c1f-8c3e-6b7212345678"},
		Name: "db", GroupName: "team-a",
		Size: 200 * volspec.MiB, Spec: volspec.Spec{FSType: volspec.XFS}.Defaulted(), Created: time.Date(2017, 8, 21, 4, 36, 8, 0, time.UTC), CreatedBy: "vm1",
	}
	data, err := recordOf(f)
	require.NoError(t, err)
	m, err := decodeMeta(data)
	require.NoError(t, err)
	// Even if nothing of it is allocated, as a thin disk may be.
	r := adopted(hypervisor.Disk{Ref: f.Ref, Size: f.Size}, m, f.Group)
	assert.Equal(t, volspec.Formatted, r.Format, "no filesystem is made on it")
	assert.Equal(t, volspec.Ready, r.State)
	assert.Equal(t, "db", r.Key.Name)
	assert.Equal(t, f.Created, r.Created)
	assert.Equal(t, "vm1", r.CreatedBy)
	assert.Equal(t, 200*volspec.MiB, r.Spec.Size)
	assert.Equal(t, volspec.XFS, r.Spec.FSType)
}

func TestAForeignVolumeThatAScanWouldNotBelieveIsInvalid(t *testing.T) {
	good := hypervisor.OldVolume{Ref: hypervisor.Ref{Volume: "v", Group: "g"}, Name: "db", GroupName: "team-a", Size: volspec.GiB, Spec: volspec.Spec{}.Defaulted()}
	_, err := recordOf(good)
	require.NoError(t, err)
	for name, spoil := range map[string]func(*hypervisor.OldVolume){
		"name": func(f *hypervisor.OldVolume) { f.Name = "a/b" }, "group": func(f *hypervisor.OldVolume) { f.GroupName = "" }, "size": func(f *hypervisor.OldVolume) { f.Size = 0 },
		"options": func(f *hypervisor.OldVolume) { f.Spec.FSType = "ntfs" },
	} {
		bad := good
		spoil(&bad)
		_, err := recordOf(bad)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), name)
	}
}
