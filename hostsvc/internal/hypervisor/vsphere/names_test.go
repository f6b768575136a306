package vsphere

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

func TestVolumesAreKnownUnderTheNamesThatVSphereShows(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := objectSite(t, disk, control.Options{})
		w := s.world(t)
		ctx := t.Context()
		vm := w.vm(t, w.v, "vm-0")
		dev, err := w.v.Attach(ctx, vm.ID, w.src, false)
		require.NoError(t, err)
		at, err := w.v.inv.VM(ctx, string(vm.ID))
		require.NoError(t, err)
		var raw mo.VirtualMachine
		require.NoError(t, w.v.c.Read(ctx, "a test", func(ctx context.Context, vc *vim25.Client) error {
			return property.DefaultCollector(vc).RetrieveOne(ctx, at.Ref, []string{"config.hardware.device"}, &raw)
		}))
		for _, d := range disksAmong(raw.Config.Hardware.Device) {
			for _, f := range filesBehind(d.Backing) {
				assert.NotContains(t, f.FileName, root, "the simulator shows it as vSAN does")
			}
		}
		again := s.open(t) // that knows nothing yet
		all, err := again.Attached(ctx)
		require.NoError(t, err)
		assert.Equal(t, []hypervisor.Device{dev}, all)
		require.NoError(t, again.Detach(ctx, vm.ID, w.src))
		w.holds(t, w.src, "one")
		require.NoError(t, again.Delete(ctx, w.src))
	}
}

func TestOnlyOurFoldersHaveOtherNames(t *testing.T) {
	s := objectSite(t, VMDK, control.Options{})
	v := s.open(t)
	ctx := t.Context()
	id := uuid.NewString()
	before := vcenter.Path("ds-0", id+"/x.vmdk")
	given, err := v.asGiven(ctx, before)
	require.NoError(t, err)
	assert.Equal(t, before, given, "nothing of ours is there yet")
	require.NoError(t, v.Create(ctx, hypervisor.Ref{Datastore: "ds-0", Group: "g", Volume: "v"}, volspec.MiB, volspec.Thin))
	ds, err := v.inv.Datastore(ctx, "ds-0")
	require.NoError(t, err)
	shown, err := v.c.Files().Shown(ctx, ds, root)
	require.NoError(t, err)
	for from, to := range map[string]string{
		vcenter.Path("ds-0", shown+"/g/v.vmdk"): vcenter.Path("ds-0", root+"/g/v.vmdk"),
		vcenter.Path("ds-0", root+"/g/v.vmdk"):  vcenter.Path("ds-0", root+"/g/v.vmdk"),
		vcenter.Path("ds-1", shown+"/g/v.vmdk"): vcenter.Path("ds-1", shown+"/g/v.vmdk"),
		vcenter.Path("gone", shown+"/g/v.vmdk"): vcenter.Path("gone", shown+"/g/v.vmdk"),
		vcenter.Path("ds-0", id+"/"+root+"/v"):  vcenter.Path("ds-0", id+"/"+root+"/v"),
		"":                                      "",
	} {
		got, err := v.asGiven(ctx, from)
		require.NoError(t, err)
		assert.Equal(t, to, got)
	}
	assert.True(t, shownOnly("rfc4122."+id), "as vVols do")
	assert.False(t, shownOnly("db-1"))
}
