package vsphere

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// plain makes a disk that is none of a volume, with a word in it.
func (s *site) plain(t *testing.T, v *VSphere, name, word string) source {
	t.Helper()
	ds, err := v.inv.Datastore(t.Context(), "ds-0")
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(s.sim.Dir, "ds-0/plain")); err != nil {
		require.NoError(t, v.c.Files().MakeFolder(t.Context(), "ds-0", "plain"))
	}
	src := source{what: "disk " + name, ds: ds, file: "plain/" + name + ".vmdk", size: int64(volspec.MiB), ours: true}
	require.NoError(t, v.createDisk(t.Context(), src.at(), volspec.MiB, volspec.Thin, nil))
	f, err := os.OpenFile(filepath.Join(s.sim.Dir, "ds-0/plain", name+"-flat.vmdk"), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(word)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return src
}

func starts(t *testing.T, c content, word string) {
	t.Helper()
	b := make([]byte, len(word))
	_, err := c.readAt(t.Context(), b, 0)
	require.NoError(t, err)
	assert.Equal(t, word, string(b))
}

func TestATransporterThatCannotIsLeftOut(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{VMs: 3})
	v := s.open(t)
	src := s.plain(t, v, "a", "word")
	far, own := src, src
	far.ds.Hosts = nil
	m, err := s.sim.VM(t.Context(), "tp")
	require.NoError(t, err)
	own.ds.Name, own.file, _ = vcenter.SplitPath(m.Disks[0].File)
	nothing := func(*testing.T) {}
	for name, c := range map[string]struct {
		transporter string
		src         source
		make, undo  func(t *testing.T)
		says        string
	}{
		"there is none":                         {"nobody", src, nothing, nothing, `no VM "nobody"`},
		"its host does not reach the datastore": {"tp", far, nothing, nothing, "does not reach datastore ds-0"},
		"the disk is its own":                   {"tp", own, nothing, nothing, "has disk"},
		"it has a snapshot": {"tp", src, func(t *testing.T) { require.NoError(t, s.sim.Snapshot(t.Context(), "tp", "before the update")) },
			func(t *testing.T) { require.NoError(t, s.sim.RemoveSnapshot(t.Context(), "tp", "before the update")) }, "snapshot before the update"},
		"its guest is not told of serials": {"tp", src, func(t *testing.T) { set(t, v, "tp", enableUUID, "FALSE") },
			func(t *testing.T) { set(t, v, "tp", enableUUID, "TRUE") }, enableUUID + " = TRUE"},
		"it is off": {"vm-2", src, func(t *testing.T) { require.NoError(t, s.sim.Power(t.Context(), "vm-2", false)) }, nothing, "is off"},
		"vSphere refuses": {"tp", src, func(t *testing.T) {
			require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Object: m.Moref, Kind: "InvalidDeviceSpec", InTask: true}))
		}, func(t *testing.T) { require.NoError(t, s.sim.ClearFaults(t.Context())) }, "tp"},
	} {
		t.Run(name, func(t *testing.T) {
			c.make(t)
			o := s.options(t)
			o.Transporter = c.transporter
			v, err := New(o)
			require.NoError(t, err)
			defer func() { _ = v.Close(t.Context()) }()
			_, err = overHotAdd{v}.open(t.Context(), c.src)
			assert.Equal(t, errkind.Unsupported, errkind.Of(err))
			require.ErrorContains(t, err, c.says)
			if c.src.file == src.file {
				got, err := v.openDisk(t.Context(), c.src)
				require.NoError(t, err)
				starts(t, got, "word")
				assert.IsType(t, &flatFiles{}, got)
				require.NoError(t, got.Close())
			}
			c.undo(t)
			s.empty(t)
		})
	}
}

func TestWhatWasSentThroughATransporterCanBeReadBackWithoutIt(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	w := s.world(t)
	m, err := s.sim.VM(t.Context(), "tp")
	require.NoError(t, err)
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Object: m.Moref, Kind: "TooManyDevices", InTask: true, Skip: 2}))
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	require.NoError(t, w.v.Build(t.Context(), w.dst, small, volspec.Thin, "", word("new")))
	made, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	assert.Zero(t, made["PUT"])
	assert.Positive(t, made["GET"])
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	w.holds(t, w.dst, "new")
	s.empty(t)
}

func TestTheTransporterIsJudged(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	named := func(name string) (string, error) {
		o := s.options(t)
		o.Transporter = name
		v, err := New(o)
		require.NoError(t, err)
		defer func() { _ = v.Close(t.Context()) }()
		return v.CheckTransporter(t.Context())
	}
	name, err := named("")
	require.NoError(t, err)
	assert.Empty(t, name)
	m, err := s.sim.VM(t.Context(), "tp")
	require.NoError(t, err)
	for _, by := range []string{"tp", m.InstanceUUID, strings.ToUpper(m.InstanceUUID)} {
		name, err = named(by)
		require.NoError(t, err)
		assert.Equal(t, "tp", name)
	}
	name, err = named("nobody")
	assert.Equal(t, "nobody", name)
	require.ErrorContains(t, err, "vsphere.transporter")
	require.NoError(t, s.sim.Snapshot(t.Context(), "tp", "x"))
	_, err = named("tp")
	require.ErrorContains(t, err, "snapshot x")
}

func TestCallsOfATransport(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	v := s.open(t)
	src := s.plain(t, v, "a", "word")
	got, err := v.openDisk(t.Context(), src)
	require.NoError(t, err)
	require.NoError(t, got.Close())

	require.NoError(t, s.sim.ResetCalls(t.Context()))
	got, err = v.openDisk(t.Context(), src)
	require.NoError(t, err)
	starts(t, got, "word")
	require.NoError(t, got.Close())
	made, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, made["ReconfigVM_Task"], "in and out")
	looks := 0
	for method, n := range made {
		if method != "ReconfigVM_Task" {
			looks += n
		}
	}
	// the VMs; it before, after and before again; how far the two changes are
	assert.LessOrEqual(t, looks, 4+2*8, "%v", made)
	assert.Zero(t, made["GET"]+made["PUT"])
}

func TestAFullTransporterIsPassedBy(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	v := s.open(t)
	addMachine(t, v, "narrow", "ds-1", volspec.MiB)
	// one controller with 63 places, of which its own disk has one
	reconfigure(t, v, "narrow", func(ctx context.Context, m *object.VirtualMachine) (*object.Task, error) {
		var spec types.VirtualMachineConfigSpec
		for bus := range int32(3) {
			spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: newController("lsilogic", -1-bus, 1+bus),
			})
		}
		return m.Reconfigure(ctx, spec)
	})
	require.NoError(t, s.sim.Power(t.Context(), "narrow", true))
	dev := t.TempDir()
	require.NoError(t, s.sim.Plug(t.Context(), "narrow", dev))
	s.transporter, s.bySerial = "narrow", filepath.Join(dev, "disk/by-id")
	v = s.open(t)
	const places, disks = 62, 66
	type result struct {
		c   content
		err error
	}
	results := make(chan result)
	var sources []source
	for i := range disks {
		sources = append(sources, s.plain(t, v, "d"+string(rune('0'+i/10))+string(rune('0'+i%10)), "word"))
	}
	for _, src := range sources {
		go func() {
			c, err := v.openDisk(t.Context(), src)
			results <- result{c, err}
		}()
	}
	in := 0
	var open []content
	for range disks {
		r := <-results
		require.NoError(t, r.err)
		starts(t, r.c, "word")
		if _, is := r.c.(*pluggedIn); is {
			in++
		}
		open = append(open, r.c)
	}
	assert.Equal(t, places, in)
	for _, c := range open {
		require.NoError(t, c.Close())
	}
	s.empty(t)
}

func TestAPlugInThatIsGivenUpLeavesNothing(t *testing.T) {
	s := newTransported(t, VMDK, control.Options{})
	v := s.open(t)
	src := s.plain(t, v, "a", "word")
	m, err := s.sim.VM(t.Context(), "tp")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		fault    control.Fault
		bySerial string // "": the real one
	}{
		"before the device is seen": {control.Fault{}, t.TempDir()},
		"before vSphere has begun":  {control.Fault{Method: "ReconfigVM_Task", Object: m.Moref, Delay: 3 * time.Second, Count: 1}, ""},
		"whose answer is lost":      {control.Fault{Method: "ReconfigVM_Task", Object: m.Moref, DropReply: true, Count: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options(t)
			if c.bySerial != "" {
				o.bySerial = c.bySerial
			}
			v, err := New(o)
			require.NoError(t, err)
			defer func() { _ = v.Close(context.WithoutCancel(t.Context())) }()
			_, err = v.findTransporter(t.Context()) // so that it is connected
			require.NoError(t, err)
			if c.fault.Method != "" {
				require.NoError(t, s.sim.Fault(t.Context(), c.fault))
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = v.openDisk(ctx, src)
			assert.Equal(t, errkind.Unavailable, errkind.Of(err))
			require.NoError(t, s.sim.ClearFaults(t.Context()))
			if c.fault.Delay > 0 { // what is on its way is refused when it arrives
				assert.Never(t, func() bool { return len(s.inside(t)) > 0 }, c.fault.Delay+time.Second, 100*time.Millisecond)
			}
			s.empty(t)
		})
	}
}
