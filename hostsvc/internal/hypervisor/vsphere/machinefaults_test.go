package vsphere

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// machineWorld is a site with a VM that has one disk with a word on it, and the
// configuration to make another of.
type machineWorld struct {
	*site
	machines
	v     *VSphere
	vm    volspec.VMID
	name  string
	build hypervisor.MachineBuild
	disks []string
}

func (s *site) machineWorld(t *testing.T) *machineWorld {
	t.Helper()
	v := s.open(t)
	w := &machineWorld{site: s, v: v, machines: machines{s, v}, name: fmt.Sprintf("m%d", serials())}
	w.vm = addMachine(t, v, w.name, "ds-0", 8*volspec.MiB)
	w.Write(t, w.vm, "2000", 0, []byte("old"))
	w.build = hollow(t, "ds-0", 8*volspec.MiB, 4*volspec.MiB)
	w.build.Name = w.name + "-copy"
	return w
}

// machineDeed is a call that changes VMs.
type machineDeed struct {
	name    string
	prepare func(t *testing.T, w *machineWorld)
	do      func(ctx context.Context, w *machineWorld) error
	check   func(t *testing.T, w *machineWorld)
	// undone checks that an error has left everything as it was; nil where a
	// repeat completes it.
	undone func(t *testing.T, w *machineWorld)
}

func (w *machineWorld) snap(ctx context.Context) error {
	_, err := w.v.SnapshotMachine(ctx, w.vm, "s1", false)
	return err
}

func (w *machineWorld) on(t *testing.T) {
	require.NoError(t, w.s.sim.Power(t.Context(), w.name, true))
}

func (w *machineWorld) records(t *testing.T) []string {
	left, err := filepath.Glob(filepath.Join(w.s.sim.Dir, "ds-*", buildRecords, "*"))
	require.NoError(t, err)
	return left
}

func (w *machineWorld) copies(t *testing.T) (n int) {
	all, err := w.v.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range all {
		if m.Name == w.build.Name {
			n++
		}
	}
	return n
}

func machineDeeds() []machineDeed {
	return []machineDeed{
		{name: "snapshot", prepare: func(t *testing.T, w *machineWorld) { w.on(t) },
			do: func(ctx context.Context, w *machineWorld) error { return w.snap(ctx) },
			check: func(t *testing.T, w *machineWorld) {
				assert.Equal(t, []string{"mooring-s1"}, names(t, w.v, w.vm))
				assert.Equal(t, "old", string(frozenContent(t, w.v, w.vm, "s1", "2000")[:3]))
			}},
		{name: "delete snapshot", prepare: func(t *testing.T, w *machineWorld) {
			w.on(t)
			require.NoError(t, w.snap(t.Context()))
			w.Foreign(t, w.vm, "foreign")
			w.Write(t, w.vm, "2000", 0, []byte("new"))
		}, do: func(ctx context.Context, w *machineWorld) error {
			return w.v.DeleteMachineSnapshot(ctx, w.vm, "s1")
		}, check: func(t *testing.T, w *machineWorld) {
			assert.Equal(t, []string{"foreign"}, names(t, w.v, w.vm))
			assert.Equal(t, "new", string(w.Read(t, w.vm, "2000", 0, 3)))
		}},
		{name: "build", do: func(ctx context.Context, w *machineWorld) error {
			_, err := w.v.BuildMachine(ctx, w.build, func(ctx context.Context, key string, to image.Target) error { return word(key)(ctx, to) })
			return err
		}, check: func(t *testing.T, w *machineWorld) {
			require.Equal(t, 1, w.copies(t))
			for _, key := range []string{"2000", "2001"} {
				assert.Equal(t, key, string(w.Read(t, volspec.VMID(w.build.Name), key, 0, 4)))
			}
			assert.Len(t, w.disksIn(t), len(w.disks)+2)
			assert.Empty(t, w.records(t))
		}, undone: func(t *testing.T, w *machineWorld) {
			assert.Zero(t, w.copies(t))
			assert.Equal(t, w.disks, w.disksIn(t))
			folders, err := filepath.Glob(filepath.Join(w.s.sim.Dir, "ds-*", w.build.Name+"*"))
			require.NoError(t, err)
			assert.Empty(t, folders)
			assert.Empty(t, w.records(t))
		}},
		{name: "replace", do: func(ctx context.Context, w *machineWorld) error {
			_, err := w.v.BuildMachineDisk(ctx, w.vm, "2000", 8*volspec.MiB, word("new"))
			return err
		}, check: func(t *testing.T, w *machineWorld) {
			assert.Equal(t, "new", string(w.Read(t, w.vm, "2000", 0, 3)))
			assert.Len(t, w.disksIn(t), len(w.disks)+1, "the old content stays")
			assert.Empty(t, w.intended(t))
		}, undone: func(t *testing.T, w *machineWorld) {
			assert.Equal(t, "old", string(w.Read(t, w.vm, "2000", 0, 3)))
			assert.Equal(t, w.disks, w.disksIn(t))
		}},
	}
}

func (w *machineWorld) intended(t *testing.T) string {
	m, err := w.v.inv.VM(t.Context(), string(w.vm))
	require.NoError(t, err)
	now, err := w.v.now(t.Context(), "a test", m)
	require.NoError(t, err)
	return now.extra[replacing+"2000"]
}

func (s *site) ready(t *testing.T, d machineDeed) *machineWorld {
	w := s.machineWorld(t)
	if d.prepare != nil {
		d.prepare(t, w)
	}
	w.disks = w.disksIn(t)
	return w
}

// machineCalls are the calls of a deed that change something.
func (s *site) machineCalls(t *testing.T, d machineDeed) map[string]int {
	w := s.ready(t, d)
	_, err := w.v.VMs(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	require.NoError(t, d.do(t.Context(), w))
	made, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	maps.DeleteFunc(made, func(method string, _ int) bool {
		return asks(method) || method == "GET" || strings.HasPrefix(method, "FindBy")
	})
	require.NotEmpty(t, made)
	d.check(t, w)
	return made
}

// TestEachCallForAVMCanFailOrLoseItsReply lets one call of a deed fail, or its
// reply be lost after vSphere has carried it out: one in each run.
func TestEachCallForAVMCanFailOrLoseItsReply(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	for _, d := range machineDeeds() {
		t.Run(d.name, func(t *testing.T) {
			t.Cleanup(func() { s.clean(t) })
			for method, times := range s.machineCalls(t, d) {
				for i := range times {
					refused := "SystemError"
					if method == "PUT" {
						refused = "500"
					}
					s.failing(t, d, control.Fault{Method: method, Skip: i, Count: 1, DropReply: true})
					s.failing(t, d, control.Fault{Method: method, Skip: i, Count: 1, Kind: refused, InTask: true})
				}
			}
		})
	}
}

func (s *site) failing(t *testing.T, d machineDeed, f control.Fault) {
	t.Helper()
	w := s.ready(t, d)
	_, err := w.v.VMs(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.sim.Fault(t.Context(), f))
	err = d.do(t.Context(), w)
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	if err != nil {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%+v: %v", f, err)
		if d.undone != nil {
			d.undone(t, w)
		}
		err = d.do(t.Context(), w)
	}
	require.NoError(t, err, "%+v", f)
	d.check(t, w)
	if t.Failed() {
		t.Logf("%+v", f)
	}
}

func TestAVMThatWasHalfMadeIsRemovedByARepeat(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	met := map[string]bool{}
	for _, d := range machineDeeds() {
		var points []string
		w := s.ready(t, d)
		crashpoint.Set(func(p string) { points = append(points, p) })
		err := d.do(t.Context(), w)
		crashpoint.Set(nil)
		require.NoError(t, err)
		for _, point := range points {
			met[point] = true
			t.Run(d.name+" killed at "+point, func(t *testing.T) {
				w := s.ready(t, d)
				_, dead := until(point, func() error { return d.do(t.Context(), w) })
				require.True(t, dead)
				w.v = s.open(t) // the service is started again
				require.NoError(t, d.do(t.Context(), w))
				d.check(t, w)
			})
		}
	}
	assert.Subset(t, slices.Collect(maps.Keys(met)), []string{"vsphere.machine.filled", "vsphere.machine.created", "vsphere.replace.filled"})
}

func TestAHalfMadeVMThatSomebodyUsesStays(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w := s.machineWorld(t)
	ctx := t.Context()
	build := func() error {
		_, err := w.v.BuildMachine(ctx, w.build, func(ctx context.Context, key string, to image.Target) error { return word(key)(ctx, to) })
		return err
	}
	_, dead := until("vsphere.machine.created", build)
	require.True(t, dead)
	require.NoError(t, s.sim.Power(ctx, w.build.Name, true))
	w.v = s.open(t)
	requireKind(t, errkind.Exists, build())
	assert.Equal(t, 1, w.copies(t))
	assert.Equal(t, "2000", string(w.Read(t, volspec.VMID(w.build.Name), "2000", 0, 4)))
	assert.Empty(t, w.records(t))
}

func TestAVMIsNotMadeTwiceAtATime(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w := s.machineWorld(t)
	_, err := w.v.BuildMachine(t.Context(), w.build, func(ctx context.Context, key string, _ image.Target) error {
		_, err := w.v.BuildMachine(ctx, w.build, nil)
		requireKind(t, errkind.InUse, err)
		return nil
	})
	require.NoError(t, err)
	_, err = w.v.BuildMachineDisk(t.Context(), w.vm, "2000", small, func(ctx context.Context, _ image.Target) error {
		_, err := w.v.BuildMachineDisk(ctx, w.vm, "2000", small, nil)
		requireKind(t, errkind.InUse, err)
		return nil
	})
	require.NoError(t, err)
}

func TestADiskOfAVMThatWasPoweredOnMeanwhileStays(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w := s.machineWorld(t)
	w.disks = w.disksIn(t)
	_, err := w.v.BuildMachineDisk(t.Context(), w.vm, "2000", small, func(ctx context.Context, to image.Target) error {
		w.on(t)
		return word("new")(ctx, to)
	})
	requireKind(t, errkind.InUse, err)
	assert.Equal(t, "old", string(w.Read(t, w.vm, "2000", 0, 3)))
	assert.Equal(t, w.disks, w.disksIn(t))

	ended, cancel := context.WithCancel(t.Context())
	_, err = w.v.BuildMachine(ended, w.build, func(context.Context, string, image.Target) error { cancel(); return nil })
	requireKind(t, errkind.Unavailable, err)
	assert.Zero(t, w.copies(t))
	assert.Equal(t, w.disks, w.disksIn(t))
	assert.Empty(t, w.records(t))
}
