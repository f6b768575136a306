package vsphere

import (
	"context"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// transports are deeds that move content.
func transports() []deed {
	snapshot := func(t *testing.T, w *world) { require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1")) }
	read := func(ctx context.Context, w *world) error {
		img, err := w.v.OpenSnapshot(ctx, w.src, "s1")
		if err != nil {
			return err
		}
		return img.Close()
	}
	return []deed{
		{name: "read", prepare: snapshot, do: read, check: func(t *testing.T, w *world) { w.snapshotHolds(t, "s1", "one") }},
		{
			name: "read a delta", prepare: func(t *testing.T, w *world) {
				require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s0"))
				w.write(t, w.src, "two")
				snapshot(t, w)
			}, do: read, check: func(t *testing.T, w *world) { w.snapshotHolds(t, "s1", "two") },
		},
		{name: "read a snapshot that goes", prepare: snapshot, do: func(ctx context.Context, w *world) error {
			img, err := w.v.OpenSnapshot(ctx, w.src, "s1")
			if errkind.Is(err, errkind.NotFound) { // it has gone
				return nil
			}
			if err != nil {
				return err
			}
			if err := w.v.DeleteSnapshot(ctx, w.src, "s1"); err != nil {
				return err
			}
			return img.Close()
		}, check: func(t *testing.T, w *world) {
			w.holds(t, w.src, "one")
			for _, f := range w.copies(t) { // which go when they are old
				at := vcenter.Path(w.src.Datastore, path.Join(layout.Folder(w.src.Group), strings.TrimSuffix(filepath.Base(f), "-flat.vmdk")+".vmdk"))
				require.NoError(t, w.v.removeDisk(t.Context(), at))
			}
		}},
		{name: "build", once: true, do: func(ctx context.Context, w *world) error {
			return w.v.Build(ctx, w.dst, small, volspec.Thin, "", word("new"))
		}, check: func(t *testing.T, w *world) { w.holds(t, w.dst, "new") }},
	}
}

func TestATransportThatWasKilledIsTakenOut(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newTransported(t, disk, control.Options{})
		met := map[string]bool{}
		for _, d := range transports() {
			t.Run(disk+": "+d.name, func(t *testing.T) {
				t.Cleanup(func() { s.clean(t) })
				for _, point := range s.passed(t, d) {
					if !strings.HasPrefix(point, "vsphere.hotadd.") || met[d.name+point] {
						continue
					}
					met[d.name+point], met[point] = true, true
					s.killedAt(t, d, point)
					s.empty(t)
				}
			})
		}
		for _, point := range []string{"vsphere.hotadd.in", "vsphere.hotadd.written", "vsphere.hotadd.closed"} {
			assert.True(t, met[point], "%s: nothing was killed at %s", disk, point)
		}
	}
}

// What the next process does first takes out what is left, and nothing else.
func TestOnlyWhatIsLeftIsTakenOut(t *testing.T) {
	s := newTransported(t, FCD, control.Options{})
	w := s.world(t)
	foreign, left := s.plain(t, w.v, "foreign", "theirs"), s.plain(t, w.v, "left", "ours")
	unit := int32(9)
	reconfigure(t, w.v, "tp", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		return m.Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device: &types.VirtualDisk{VirtualDevice: types.VirtualDevice{
				Key: -1, ControllerKey: 1000, UnitNumber: &unit,
				Backing: &types.VirtualDiskFlatVer2BackingInfo{
					VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: foreign.at()},
					DiskMode:                     string(types.VirtualDiskModeIndependent_nonpersistent),
				},
			}},
		}}})
	})
	_, dead := until("vsphere.hotadd.in", func() error { _, err := w.v.openDisk(t.Context(), left); return err })
	require.True(t, dead)
	require.ElementsMatch(t, []string{foreign.at(), left.at()}, s.inside(t))
	for name, first := range map[string]func(v *VSphere) error{
		"the start":        func(v *VSphere) error { _, err := v.Attached(t.Context()); return err },
		"a disk that goes": func(v *VSphere) error { return v.removeDisk(t.Context(), left.at()) },
	} {
		t.Run(name, func(t *testing.T) {
			if len(s.inside(t)) == 1 {
				left = s.plain(t, w.v, "left-"+t.Name()[len(t.Name())-4:], "ours")
				_, dead := until("vsphere.hotadd.in", func() error { _, err := w.v.openDisk(t.Context(), left); return err })
				require.True(t, dead)
			}
			require.NoError(t, first(s.open(t)))
			assert.Equal(t, []string{foreign.at()}, s.inside(t))
		})
	}
}

// A disk that cannot be taken out when it is closed goes later.
func TestWhatCannotBeTakenOutIsTakenOutLater(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	v := s.open(t)
	src, other := s.plain(t, v, "a", "word"), s.plain(t, v, "b", "other")
	c, err := v.openDisk(t.Context(), src)
	require.NoError(t, err)
	m, err := s.sim.VM(t.Context(), "tp")
	require.NoError(t, err)
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Object: m.Moref, Kind: "GenericVmConfigFault", InTask: true}))
	require.Error(t, c.Close())
	_, err = c.readAt(t.Context(), make([]byte, 4), 0)
	require.Error(t, err, "it is closed all the same")
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	require.Len(t, s.inside(t), 1)
	again, err := v.openDisk(t.Context(), other)
	require.NoError(t, err)
	assert.Equal(t, []string{other.at()}, s.inside(t))
	require.NoError(t, c.Close(), "repeated")
	starts(t, again, "other")
	require.NoError(t, again.Close())
	s.empty(t)
}

func TestATransporterThatSeesNothingIsNotWaitedForAgain(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	o := s.options(t)
	o.bySerial, o.appearing = t.TempDir(), 100*time.Millisecond
	v, err := New(o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close(context.WithoutCancel(t.Context())) })
	src := s.plain(t, v, "a", "word")
	for i := range 2 {
		require.NoError(t, s.sim.ResetCalls(t.Context()))
		c, err := v.openDisk(t.Context(), src)
		require.NoError(t, err)
		assert.IsType(t, &flatFiles{}, c)
		starts(t, c, "word")
		made, err := s.sim.Calls(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []int{2, 0}[i], made["ReconfigVM_Task"])
	}
	_, err = v.CheckTransporter(t.Context())
	require.ErrorContains(t, err, "see that mooringd runs in that VM")
	s.empty(t)
}

func TestTheRealDirectoryIsTheDefault(t *testing.T) {
	assert.Equal(t, "/dev/disk/by-id/wwn-0x6000c298595bf4575739e9105b2c0c2d", (&VSphere{}).link("6000C298-595b-f457-5739-e9105b2c0c2d"))
}
