package vsphere

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// relocate moves a VM to a datastore as an administrator or DRS does.
func (s *site) relocate(t *testing.T, v *VSphere, vm, datastore string) {
	t.Helper()
	ds, err := v.inv.Datastore(t.Context(), datastore)
	require.NoError(t, err)
	reconfigure(t, v, vm, func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Relocate(ctx, types.VirtualMachineRelocateSpec{Datastore: &ds.Ref}, types.VirtualMachineMovePriorityDefaultPriority)
	})
}

// besides are the disks in the folder of a VM beyond its own.
func (s *site) besides(t *testing.T, datastore, vm string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.sim.Dir, datastore, vm, vm+"_*.vmdk"))
	require.NoError(t, err)
	return found
}

// fill leaves no room on a datastore until empty is called.
func (s *site) fill(t *testing.T, v *VSphere, datastore string) (empty func()) {
	t.Helper()
	ds, err := v.inv.Datastore(t.Context(), datastore)
	require.NoError(t, err)
	at := "[" + datastore + "] full.vmdk"
	size := volspec.Size(ds.Free-3<<20) &^ (volspec.MiB - 1)
	require.NoError(t, v.createDisk(t.Context(), at, size, volspec.ZeroedThick, nil))
	return func() { require.NoError(t, v.removeDisk(t.Context(), at)) }
}

// strayedWorld is a world whose disk was moved with vm-0, which has it.
func (s *site) strayedWorld(t *testing.T) (*world, hypervisor.Device) {
	t.Helper()
	w := s.world(t)
	return w, w.stray(t)
}

// stray has vSphere move the disk, with vm-0 that has it.
func (w *world) stray(t *testing.T) hypervisor.Device {
	t.Helper()
	w.relocate(t, w.v, "vm-0", "ds-0") // where it may not be any more
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, w.src, false)
	require.NoError(t, err)
	w.holder = dev.VM
	require.NoError(t, w.v.PutMeta(t.Context(), w.src, []byte("record")))
	w.relocate(t, w.v, "vm-0", "ds-1")
	return dev
}

// atHome: the disk lies at its place, and nowhere else.
func (w *world) atHome(t *testing.T) {
	t.Helper()
	d, err := w.v.Stat(t.Context(), w.src)
	require.NoError(t, err)
	assert.Empty(t, d.Moved)
	assert.Equal(t, small, d.Size)
	assert.Empty(t, w.besides(t, "ds-1", "vm-0"))
	notes, err := filepath.Glob(filepath.Join(w.sim.Dir, w.src.Datastore, layout.Folder(w.src.Group), "*.away"))
	require.NoError(t, err)
	assert.Empty(t, notes)
	w.nothingLeft(t)
}

func TestADiskThatMovesWithItsVMIsTheSameDisk(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		t.Run(disk, func(t *testing.T) {
			s := newSite(t, disk, control.Options{})
			w, dev := s.strayedWorld(t)
			ctx := t.Context()
			require.NoError(t, guest{s}.Write(dev, 0, []byte("two")), "the guest goes on")
			for range 2 {
				all, err := w.v.Attached(ctx)
				require.NoError(t, err)
				assert.Equal(t, []hypervisor.Device{dev}, all)
				d, err := w.v.Stat(ctx, w.src)
				require.NoError(t, err)
				assert.Contains(t, d.Moved, "[ds-1] vm-0/vm-0_1.vmdk")
				assert.Contains(t, d.Moved, "vm-0 lets go")
				assert.Equal(t, small, d.Size)
				listed := map[hypervisor.Ref]hypervisor.Disk{}
				for d, err := range w.v.List(ctx, "ds-0") {
					require.NoError(t, err)
					listed[d.Ref] = d
				}
				assert.Equal(t, map[hypervisor.Ref]hypervisor.Disk{w.src: d}, listed)
				w.v = s.open(t) // the same after a restart
			}
			require.NoError(t, w.v.Create(ctx, w.src, small, volspec.Thin), "it is there")
			requireKind(t, errkind.Exists, w.v.Create(ctx, w.src, 2*small, volspec.Thin))
			requireKind(t, errkind.InUse, w.v.Delete(ctx, w.src))
			_, err := w.v.Attach(ctx, w.vm(t, w.v, "vm-1").ID, w.src, false)
			requireKind(t, errkind.InUse, err)
			again, err := w.v.Attach(ctx, dev.VM, w.src, false)
			require.NoError(t, err)
			assert.Equal(t, dev, again)
			assert.Empty(t, w.disks(t), "none was made in its place")

			disks, err := w.v.MachineDisks(ctx, dev.VM)
			require.NoError(t, err)
			require.Len(t, disks, 2)
			assert.Equal(t, w.src.Volume, disks[1].Volume, "it is backed up as the volume, not with the VM")

			require.NoError(t, w.v.Detach(ctx, dev.VM, w.src))
			w.atHome(t)
			w.holds(t, w.src, "two")
		})
	}
}

func TestADiskThatMovedIsTakenBackFromAVMThatIsOff(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		w, dev := s.strayedWorld(t)
		require.NoError(t, s.sim.Power(t.Context(), "vm-0", false))
		require.NoError(t, w.v.Detach(t.Context(), dev.VM, w.src), disk)
		w.atHome(t)
		w.holds(t, w.src, "one")
	}
}

// Where there is no room at home the disk stays, says so, and works; it goes
// home once there is room.
func TestADiskThatMovedStaysWhereThereIsRoom(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		t.Run(disk, func(t *testing.T) {
			s := newSite(t, disk, control.Options{Capacity: 2 << 30})
			w, dev := s.strayedWorld(t)
			ctx := t.Context()
			require.NoError(t, guest{s}.Write(dev, 0, []byte(strings.Repeat("x", int(small)))))
			require.NoError(t, guest{s}.Write(dev, 0, []byte("two")))
			empty := s.fill(t, w.v, "ds-0")
			require.NoError(t, w.v.Detach(ctx, dev.VM, w.src), "that is no reason not to let it go")
			d, err := w.v.Stat(ctx, w.src)
			require.NoError(t, err)
			assert.Contains(t, d.Moved, "[ds-1] vm-0/vm-0_1.vmdk")
			assert.Contains(t, d.Moved, "full")
			assert.Contains(t, d.Moved, "then attach and detach")
			w.holds(t, w.src, "two")
			assert.Empty(t, w.disks(t))
			empty()
			w.holds(t, w.src, "two")
			w.atHome(t)
		})
	}
}

func TestADiskWithSnapshotsStaysAndSaysWhy(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	ctx := t.Context()
	require.NoError(t, w.v.Snapshot(ctx, w.src, "s1"))
	dev, err := w.v.Attach(ctx, w.vm(t, w.v, "vm-0").ID, w.src, false)
	require.NoError(t, err)
	require.NoError(t, guest{s}.Write(dev, 0, []byte("two")))
	s.relocate(t, w.v, "vm-0", "ds-1")
	ids, err := w.v.Snapshots(ctx, w.src)
	require.NoError(t, err)
	assert.Equal(t, []volspec.SnapshotID{"s1"}, ids, "they went along")
	_, err = w.v.OpenSnapshot(ctx, w.src, "s1")
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, errkind.Text(err), "moved back")

	require.NoError(t, w.v.Detach(ctx, dev.VM, w.src))
	d, err := w.v.Stat(ctx, w.src)
	require.NoError(t, err)
	assert.Contains(t, d.Moved, "moves no disk that has snapshots: s1")
	w.holds(t, w.src, "two")
	require.NoError(t, w.v.DeleteSnapshot(ctx, w.src, "s1"))
	w.holds(t, w.src, "two")
	w.atHome(t)
}

// After an in-place restore the old disk lies at home as a snapshot: it is never
// taken for the volume's when that one is elsewhere.
func TestAnOldDiskIsNotTakenForOneThatMoved(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		w := s.world(t)
		ctx := t.Context()
		require.NoError(t, w.v.Build(ctx, w.src, small, volspec.Thin, "s1", word("new")))
		dev, err := w.v.Attach(ctx, w.vm(t, w.v, "vm-0").ID, w.src, false)
		require.NoError(t, err)
		s.relocate(t, w.v, "vm-0", "ds-1")
		d, err := w.v.Stat(ctx, w.src)
		require.NoError(t, err)
		assert.Contains(t, d.Moved, "[ds-1]", disk)
		require.NoError(t, w.v.Detach(ctx, dev.VM, w.src))
		w.atHome(t)
		w.holds(t, w.src, "new")
		w.snapshotHolds(t, "s1", "one")
	}
}

// A first-class disk outlives its VM, and is found although nobody has looked
// since it was moved.
func TestADiskThatMovedOutlivesItsVM(t *testing.T) {
	s := newSite(t, FCD, control.Options{VMs: 3})
	w := s.world(t)
	ctx := t.Context()
	require.NoError(t, w.v.PutMeta(ctx, w.src, []byte("record")))
	_, err := w.v.Attach(ctx, w.vm(t, w.v, "vm-2").ID, w.src, false)
	require.NoError(t, err)
	other, err := New(s.options(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = other.Close(context.WithoutCancel(ctx)) })
	s.relocate(t, other, "vm-2", "ds-1")
	require.NoError(t, s.sim.RemoveVM(ctx, "vm-2"))
	d, err := w.v.Stat(ctx, w.src)
	require.NoError(t, err)
	assert.Contains(t, d.Moved, "[ds-1] vm-2/vm-2_1.vmdk")
	w.holds(t, w.src, "one")
	w.atHome(t)
}

// A copy of a VM has its settings, and no disk of ours.
func TestACopyOfAVMHasNoDisksOfOurs(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w, dev := s.strayedWorld(t)
	_, err := s.sim.CloneVM(t.Context(), "vm-0", "copy")
	require.NoError(t, err)
	all, err := w.v.Attached(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []hypervisor.Device{dev}, all)
}

func TestWhereADiskIsIsForgottenWithTheDisk(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w, dev := s.strayedWorld(t)
	ctx := t.Context()
	require.NoError(t, w.v.Detach(ctx, dev.VM, w.src))
	m, err := w.v.inv.VM(ctx, string(dev.VM))
	require.NoError(t, err)
	now, err := w.v.now(ctx, "a test", m)
	require.NoError(t, err)
	for key := range now.extra {
		assert.False(t, strings.HasPrefix(key, placeKey), key)
	}
}

// A plain disk that an administrator takes out of the VM by hand is found by
// the note; if it is gone from there too, that is said, and nothing is made in
// its place.
func TestAPlainDiskThatWasTakenByHand(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w, dev := s.strayedWorld(t)
	ctx := t.Context()
	_, err := w.v.Attached(ctx)
	require.NoError(t, err)
	s.takeByHand(t, w.v, dev)
	s.clearOfVM(t, w)
	requireKind(t, errkind.Corrupt, errorOf(w.v.Stat(ctx, w.src)))
	requireKind(t, errkind.Corrupt, w.v.Create(ctx, w.src, small, volspec.Thin))
}

func errorOf(_ hypervisor.Disk, err error) error { return err }

// takeByHand takes a disk out of its VM and keeps its files.
func (s *site) takeByHand(t *testing.T, v *VSphere, dev hypervisor.Device) {
	t.Helper()
	m, err := v.inv.VM(t.Context(), string(dev.VM))
	require.NoError(t, err)
	now, err := v.now(t.Context(), "a test", m)
	require.NoError(t, err)
	key := now.has(v, m, dev.Ref).key
	reconfigure(t, v, m.Name, func(ctx context.Context, o *object.VirtualMachine) (*object.Task, error) {
		return o.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: key}},
		}}})
	})
}

// clearOfVM loses the disk that was moved.
func (s *site) clearOfVM(t *testing.T, w *world) {
	t.Helper()
	for _, file := range w.besides(t, "ds-1", "vm-0") {
		require.NoError(t, os.Remove(file))
	}
}
