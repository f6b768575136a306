package vsphere

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

func TestTrackingBeginsOnceAndIsNotBelievedOverAChangeOfSizeOrFile(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	ctx := t.Context()
	first, err := v.SnapshotMachine(ctx, vm, "s1", false)
	require.NoError(t, err)
	require.NotEmpty(t, first.Disks[0].Change)
	assert.Equal(t, []string{"mooring-s1"}, names(t, v, vm), "the one with which tracking began is gone")
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s1"))
	require.NoError(t, s.sim.ResetCalls(ctx))
	_, err = v.SnapshotMachine(ctx, vm, "s2", false)
	require.NoError(t, err)
	made, err := s.sim.Calls(ctx)
	require.NoError(t, err)
	assert.Equal(t, 1, made["CreateSnapshot_Task"])
	assert.Zero(t, made["ReconfigVM_Task"])
	assert.LessOrEqual(t, made["RetrievePropertiesEx"]+made["RetrieveProperties"], 20)
	none, err := changedMachine(t, v, vm, "s2", "2000", first.Disks[0].Change)
	require.NoError(t, err)
	assert.Empty(t, none)
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s2"))

	require.NoError(t, s.sim.Power(ctx, "db", false))
	reconfigure(t, v, "db", func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) {
		devices, err := o.Device(ctx)
		if err != nil {
			return nil, err
		}
		d := devices.FindByKey(2000).(*types.VirtualDisk)
		d.CapacityInBytes, d.CapacityInKB = 32<<20, 32<<10
		return o.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationEdit, Device: d},
		}})
	})
	_, err = v.SnapshotMachine(ctx, vm, "s3", false)
	require.NoError(t, err)
	_, err = changedMachine(t, v, vm, "s3", "2000", first.Disks[0].Change)
	requireKind(t, errkind.Unsupported, err)
	assert.Contains(t, errkind.Text(err), "size")
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s3"))

	_, err = v.BuildMachineDisk(ctx, vm, "2001", 16*volspec.MiB, word("restored"))
	require.NoError(t, err)
	_, err = v.SnapshotMachine(ctx, vm, "s4", false)
	require.NoError(t, err)
	_, err = changedMachine(t, v, vm, "s4", "2001", first.Disks[1].Change)
	requireKind(t, errkind.Unsupported, err)
	assert.Equal(t, "restored", string(frozenContent(t, v, vm, "s4", "2001")[:8]))
	require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, "s4"))

	require.NoError(t, s.sim.Snapshot(ctx, "db", "mark"))
	require.NoError(t, s.sim.RevertVM(ctx, "db", "mark"))
	require.NoError(t, s.sim.RemoveSnapshot(ctx, "db", "mark"))
	_, err = v.SnapshotMachine(ctx, vm, "s5", false)
	require.NoError(t, err)
	_, err = changedMachine(t, v, vm, "s5", "2001", first.Disks[1].Change)
	requireKind(t, errkind.Unsupported, err)
}

func TestASnapshotThatOnlyBeganTrackingIsNobodys(t *testing.T) {
	_, v, m := whole(t, control.Options{})
	vm := m.Add(t, "db")
	at, err := v.inv.VM(t.Context(), string(vm))
	require.NoError(t, err)
	m.Write(t, vm, "2000", 0, []byte("old"))
	// What a process leaves that ends there.
	_, err = v.takeMachine(t.Context(), "a test", at, "s1", onlyBegins, false)
	require.NoError(t, err)
	m.Write(t, vm, "2000", 0, []byte("new"))
	all, err := v.MachineSnapshots(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.MachineSnapshotRef{{VM: vm, ID: "s1"}}, all, "it is found and removed")
	snap, err := v.SnapshotMachine(t.Context(), vm, "s2", false)
	require.NoError(t, err)
	assert.NotEmpty(t, snap.Disks[0].Change)
	assert.Equal(t, "new", string(frozenContent(t, v, vm, "s2", "2000")[:3]))
	assert.Equal(t, []string{"mooring-s2"}, names(t, v, vm))
}

func TestATebibyteThatIsSparseNeedsLittleMemory(t *testing.T) {
	s, v, m := whole(t, control.Options{Capacity: 4 << 40})
	addMachine(t, v, "big", "ds-0", 16*volspec.MiB)
	addDisk(t, v, "big", "ds-0", 1, volspec.TiB, func(*types.VirtualDiskFlatVer2BackingInfo) {})
	vm := s.vm(t, v, "big").ID
	const last = 1<<40 - 1<<20
	m.Write(t, vm, "2001", last, []byte("end"))
	snap, err := v.SnapshotMachine(t.Context(), vm, "s1", false)
	require.NoError(t, err)
	var was, is runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&was)
	img, err := v.OpenMachineDisk(t.Context(), vm, "s1", "2001")
	require.NoError(t, err)
	var n int64
	for e, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		b := make([]byte, e.Length)
		_, err = img.ReadAt(b, e.Offset)
		require.NoError(t, err)
		n += e.Length
	}
	assert.Positive(t, n)
	assert.LessOrEqual(t, n, int64(1<<20))
	b := make([]byte, 8)
	_, err = img.ReadAt(b, 1<<40-4)
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, img.Close())
	_, err = img.ReadAt(b, 0)
	require.Error(t, err)
	runtime.ReadMemStats(&is)
	assert.Less(t, is.TotalAlloc-was.TotalAlloc, uint64(64<<20))
	require.NoError(t, v.DeleteMachineSnapshot(t.Context(), vm, "s1"))
	m.Write(t, vm, "2001", 1<<39, []byte("middle"))
	_, err = v.SnapshotMachine(t.Context(), vm, "s2", false)
	require.NoError(t, err)
	changes, err := changedMachine(t, v, vm, "s2", "2001", snap.Disks[1].Change)
	require.NoError(t, err)
	require.Len(t, changes, 1)
	assert.LessOrEqual(t, changes[0].Offset, int64(1<<39))
}

func TestBackupsOfAVMThatIsWrittenToAreOfOneMoment(t *testing.T) {
	s, v, m := whole(t, control.Options{})
	ctx := t.Context()
	vm := m.Add(t, "busy")
	const size = 16 << 20
	disk, err := os.OpenFile(m.path(t, vm, "2000"), os.O_RDWR, 0) // it stays the running one under any name
	require.NoError(t, err)
	defer disk.Close()
	stop, done := make(chan struct{}), make(chan int)
	go func() {
		block := make([]byte, 4096)
		for n := 0; ; n++ {
			select {
			case <-stop:
				done <- n
				return
			default:
			}
			_, _ = rand.Read(block)
			at := (int64(block[0])<<8 | int64(block[1])) * 4096 % size
			_, _ = disk.WriteAt(block, at)
			time.Sleep(200 * time.Microsecond)
		}
	}()
	var before []byte
	since := ""
	for round := range 4 {
		id := volspec.SnapshotID("s" + strconv.Itoa(round))
		snap, err := v.SnapshotMachine(ctx, vm, id, false)
		require.NoError(t, err)
		now := frozenContent(t, v, vm, id, "2000")
		require.True(t, bytes.Equal(now, frozenContent(t, v, vm, id, "2000")), "it stands still")
		if round > 0 {
			changes, err := changedMachine(t, v, vm, id, "2000", since)
			require.NoError(t, err)
			for _, e := range changes {
				copy(before[e.Offset:e.End()], now[e.Offset:e.End()])
			}
			require.True(t, bytes.Equal(now, before), "the changes are all there is to know")
		}
		before, since = now, snap.Disks[0].Change
		require.NoError(t, v.DeleteMachineSnapshot(ctx, vm, id))
	}
	close(stop)
	assert.Positive(t, <-done)
	require.NoError(t, s.sim.Power(ctx, "busy", false))
}
