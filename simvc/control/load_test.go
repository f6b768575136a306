package control_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/simvc/control"
)

// Everything at once, on two machines: what the plain simulator does not live
// through.
func TestManyClients(t *testing.T) {
	s := start(t, control.Options{VMs: 2})
	ctx := t.Context()
	cat := s.catalog()
	ds := s.datastore("ds-1").Reference()
	var wg sync.WaitGroup
	for n := range 8 {
		vm := s.vm(fmt.Sprintf("vm-%d", n%2))
		wg.Go(func() {
			for i := range 5 {
				res, err := s.vslmWait(cat.CreateDisk(ctx, types.VslmCreateSpec{
					Name: fmt.Sprint(n, i), CapacityInMB: 1, KeepAfterDeleteVm: types.NewBool(true),
					BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: ds}},
				}))
				if !assert.NoError(t, err) {
					return
				}
				id := res.(types.VStorageObject).Config.Id
				patient := func(f func() error) {
					for {
						err := f()
						if err == nil || !fault.Is(err, &types.TaskInProgress{}) {
							assert.NoError(t, err)
							return
						}
					}
				}
				patient(func() error {
					_, err := s.vslmWait(cat.AttachDisk(ctx, id, vm, 0, nil))
					return err
				})
				snap, err := s.vslmWait(cat.CreateSnapshot(ctx, id, "x"))
				if !assert.NoError(t, err) {
					return
				}
				_, err = cat.ListObjectsForSpec(ctx, []vslmtypes.VslmVsoVStorageObjectQuerySpec{{
					QueryField: "name", QueryOperator: "startsWith", QueryValue: []string{fmt.Sprint(n)},
				}}, 100)
				assert.NoError(t, err)
				_, err = s.vslmWait(cat.DeleteSnapshot(ctx, id, snap.(types.ID)))
				assert.NoError(t, err)
				patient(func() error { return vm.DetachDisk(ctx, id.Id) })
				_, err = s.vslmWait(cat.Delete(ctx, id))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	res, err := cat.ListObjectsForSpec(ctx, nil, 10)
	require.NoError(t, err)
	assert.Empty(t, res.Id)
	vms, err := s.VMs(ctx)
	require.NoError(t, err)
	for _, vm := range vms {
		assert.Len(t, vm.Disks, 1)
	}
}
