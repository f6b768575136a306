package control_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

type query func(start int64, since string) (*types.DiskChangeInfo, error)

// changes asks until the end of the disk.
func changes(t *testing.T, q query, since string, size int64) (areas []types.DiskChangeExtent, calls int) {
	t.Helper()
	for off := int64(0); off < size; calls++ {
		info, err := q(off, since)
		require.NoError(t, err)
		require.Equal(t, off, info.StartOffset)
		require.Positive(t, info.Length)
		areas = append(areas, info.ChangedArea...)
		off += info.Length
	}
	return areas, calls
}

// refused checks the key of the fault.
func refused(t *testing.T, err error, key string) {
	t.Helper()
	var keys []string
	fault.In(err, func(f types.BaseMethodFault, _ string, _ []types.LocalizableMessage) bool {
		for _, m := range f.GetMethodFault().FaultMessage {
			keys = append(keys, m.Key)
		}
		return false
	})
	assert.Contains(t, keys, "vim.hostd.vmsvc.cbt."+key, "%v", err)
}

func TestTrackingOfMachines(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ask := func(ref types.ManagedObjectReference, key int32) query {
		return func(start int64, since string) (*types.DiskChangeInfo, error) {
			res, err := methods.QueryChangedDiskAreas(t.Context(), s.vc, &types.QueryChangedDiskAreas{
				This: s.vm("vm-0").Reference(), Snapshot: &ref, DeviceKey: key, StartOffset: start, ChangeId: since,
			})
			if err != nil {
				return nil, err
			}
			return &res.Returnval, nil
		}
	}
	changeID := func(ref types.ManagedObjectReference) string {
		return flat(s.snapshotConfig(ref).FindByKey(2000).(*types.VirtualDisk)).ChangeId
	}
	_, err := s.wait(s.vm("vm-0").Reconfigure(t.Context(), types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(true)}))
	require.NoError(t, err)

	// A running machine tracks from the first stun on.
	stun := s.snapshot("vm-0", "stun")
	assert.Empty(t, changeID(stun))
	_, err = ask(stun, 2000)(0, "*")
	refused(t, err, "noTrack")
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "stun"))

	for i := range int64(20) {
		s.write("vm-0", 0, i*2*mib, "block")
	}
	full := s.snapshot("vm-0", "full")
	first := changeID(full)
	assert.Regexp(t, `^([0-9a-f]{2} ){7}[0-9a-f]{2}-([0-9a-f]{2} ){7}[0-9a-f]{2}/1$`, first)
	areas, calls := changes(t, ask(full, 2000), "*", 64*mib)
	assert.Len(t, areas, 20)
	assert.Equal(t, 2, calls, "an answer has sixteen areas at most")
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "full"))

	s.write("vm-0", 0, 5*mib, "new")
	s.write("vm-0", 0, 5*mib+64<<10, "new")
	inc := s.snapshot("vm-0", "inc")
	areas, _ = changes(t, ask(inc, 2000), first, 64*mib)
	assert.Equal(t, []types.DiskChangeExtent{{Start: 5 * mib, Length: 128 << 10}}, areas)

	_, err = ask(inc, 2000)(64*mib, first)
	assert.True(t, fault.Is(err, &types.InvalidArgument{}), "%v", err)
	_, err = ask(inc, 4711)(0, first)
	assert.True(t, fault.Is(err, &types.InvalidArgument{}), "%v", err)
	_, err = ask(inc, 2000)(0, "52 00 00 00 00 00 00 00-00 00 00 00 00 00 00 00/1")
	refused(t, err, "cannotGetChanges")
	require.NoError(t, s.RemoveSnapshot(t.Context(), "vm-0", "inc"))

	require.NoError(t, s.ResetCBT(t.Context(), "vm-0"))
	reset := s.snapshot("vm-0", "reset")
	_, err = ask(reset, 2000)(0, first)
	refused(t, err, "cannotGetChanges")
	assert.NotEqual(t, first[:47], changeID(reset)[:47])
	require.NoError(t, s.RevertVM(t.Context(), "vm-0", "reset"))
	require.NoError(t, s.Power(t.Context(), "vm-0", true))
	after := s.snapshot("vm-0", "after")
	_, err = ask(after, 2000)(0, changeID(reset))
	refused(t, err, "cannotGetChanges")
}

func TestTrackingOfFirstClassDisks(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	cat := s.catalog()
	o := s.fcd("vol", 8)
	id := o.Config.Id
	path := s.hostPath(fcdFile(o))
	snapshot := func() types.ID {
		res, err := s.vslmWait(cat.CreateSnapshot(t.Context(), id, "x"))
		require.NoError(t, err)
		return res.(types.ID)
	}
	ask := func(snap types.ID) query {
		return func(start int64, since string) (*types.DiskChangeInfo, error) {
			return cat.QueryChangedDiskAreas(t.Context(), id, snap, start, since)
		}
	}
	none := snapshot()
	_, err := ask(none)(0, "*")
	refused(t, err, "noTrack")
	_, err = s.vslmWait(cat.DeleteSnapshot(t.Context(), id, none))
	require.NoError(t, err)

	require.NoError(t, cat.SetControlFlags(t.Context(), id, []string{"enableChangedBlockTracking"}))
	assert.Error(t, cat.SetControlFlags(t.Context(), id, []string{"nonsense"}))
	writeAt(t, path, mib, "one")
	a := snapshot()
	details, err := cat.RetrieveSnapshotDetails(t.Context(), id, a)
	require.NoError(t, err)
	areas, _ := changes(t, ask(a), "*", 8*mib)
	assert.Equal(t, []types.DiskChangeExtent{{Start: mib, Length: 64 << 10}}, areas)
	_, err = s.vslmWait(cat.DeleteSnapshot(t.Context(), id, a))
	require.NoError(t, err)
	writeAt(t, path, 2*mib, "two")
	b := snapshot()
	areas, _ = changes(t, ask(b), details.ChangedBlockTrackingId, 8*mib)
	assert.Equal(t, []types.DiskChangeExtent{{Start: 2 * mib, Length: 64 << 10}}, areas)
	_, err = ask(types.ID{Id: "x"})(0, "*")
	assert.True(t, fault.Is(err, &types.InvalidArgument{}), "%v", err)

	require.NoError(t, s.ResetCBT(t.Context(), id.Id))
	c := snapshot()
	_, err = ask(c)(0, details.ChangedBlockTrackingId)
	refused(t, err, "cannotGetChanges")
	// Clearing without naming a flag clears them all.
	require.NoError(t, cat.ClearControlFlags(t.Context(), id))
	got, err := cat.Retrieve(t.Context(), id)
	require.NoError(t, err)
	assert.False(t, *got.Config.ChangedBlockTrackingEnabled)
	assert.False(t, *got.Config.KeepAfterDeleteVm)
	assert.Error(t, s.ResetCBT(t.Context(), "nothing"))
}
