package vsphere

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// newTransported is newSite with a transporter: this machine sees what is plugged
// into VM tp.
func newTransported(t *testing.T, disk string, o control.Options) *site {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test attaches loop devices: run it as root")
	s := newSite(t, disk, o)
	_, err := s.sim.AddVM(t.Context(), "tp", "", "ds-1")
	require.NoError(t, err)
	dev := t.TempDir()
	require.NoError(t, s.sim.Plug(t.Context(), "tp", dev))
	s.transporter, s.bySerial = "tp", filepath.Join(dev, "disk/by-id")
	return s
}

// inside are the files of the disks that the transporter has beside its own.
func (s *site) inside(t *testing.T) (files []string) {
	t.Helper()
	m, err := s.sim.VM(context.WithoutCancel(t.Context()), s.transporter)
	require.NoError(t, err)
	for _, d := range m.Disks {
		if d.Controller != 0 || d.Unit != 0 {
			files = append(files, d.File)
		}
	}
	return files
}

// empty: nothing of a transport is left, in the VM and here.
func (s *site) empty(t *testing.T) {
	t.Helper()
	assert.Empty(t, s.inside(t))
	seen, err := os.ReadDir(s.bySerial)
	require.NoError(t, err)
	assert.Empty(t, seen)
	v, err := New(s.options(t))
	require.NoError(t, err)
	ctx := context.WithoutCancel(t.Context())
	defer func() { _ = v.Close(ctx) }()
	m, err := v.findTransporter(ctx)
	require.NoError(t, err)
	now, err := v.now(ctx, "looking", m)
	require.NoError(t, err)
	for key, file := range now.extra {
		if strings.HasPrefix(key, transporting) {
			assert.Empty(t, file, "a record is left")
		}
	}
}

// writeAt writes to a disk that is not attached.
func (w *world) writeAt(t *testing.T, r hypervisor.Ref, pieces map[int64][]byte) {
	t.Helper()
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, r, false)
	require.NoError(t, err)
	for off, b := range pieces {
		require.NoError(t, guest{w.site}.Write(dev, off, b))
	}
	require.NoError(t, w.v.Detach(t.Context(), dev.VM, r))
}

func someBytes(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// all is the content of an image.
func all(t *testing.T, img io.ReaderAt, size volspec.Size) []byte {
	t.Helper()
	b := make([]byte, size)
	_, err := img.ReadAt(b, 0)
	require.NoError(t, err)
	return b
}

// throughTransporter reports whether an image is read there, where it lies.
func throughTransporter(img image.Image) bool {
	o := img.(*opened)
	_, is := o.content.(*pluggedIn)
	return is && o.copy == ""
}

func TestVolumesMoveThroughATransporter(t *testing.T) {
	for name, c := range map[string]struct {
		disk string
		o    control.Options
		kind string // of the datastore
	}{
		"first-class disks": {FCD, control.Options{}, "VMFS"},
		"plain disks":       {VMDK, control.Options{}, "VMFS"},
		"on an ESXi":        {VMDK, control.Options{ESX: true}, "VMFS"},
		"on vSAN":           {FCD, control.Options{}, "vsan"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTransported(t, c.disk, c.o)
			require.NoError(t, s.sim.SetDatastoreType(t.Context(), "ds-0", c.kind))
			w := s.world(t)
			want := make([]byte, small)
			copy(want, "one")
			put := func(pieces map[int64][]byte) {
				w.writeAt(t, w.src, pieces)
				for off, b := range pieces {
					copy(want[off:], b)
				}
			}
			put(map[int64][]byte{512: someBytes(1, 5000), 3<<20 + 512: someBytes(2, 70_000), int64(small) - 512: someBytes(3, 512)})
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
			img, err := w.v.OpenSnapshot(t.Context(), w.src, "s1")
			require.NoError(t, err)
			assert.True(t, throughTransporter(img))
			assert.True(t, bytes.Equal(want, all(t, img, small)), "full")
			for range 200 {
				off := rand.Int64N(int64(small))
				b := make([]byte, 1+rand.Int64N(2<<20))
				n, err := img.ReadAt(b, off)
				if off+int64(len(b)) > int64(small) {
					require.ErrorIs(t, err, io.EOF)
				} else {
					require.NoError(t, err)
				}
				require.True(t, bytes.Equal(want[off:min(off+int64(len(b)), int64(small))], b[:n]), "%d bytes at %d", len(b), off)
			}
			copied := bytes.Clone(want)
			require.NoError(t, img.Close())
			require.NoError(t, img.Close(), "again")
			_, err = img.ReadAt(make([]byte, 1), 0)
			require.Error(t, err)
			s.empty(t)

			// what is read next is the delta of the second snapshot
			put(map[int64][]byte{1 << 20: someBytes(4, 4096)})
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
			img, err = w.v.OpenSnapshot(t.Context(), w.src, "s2")
			require.NoError(t, err)
			assert.True(t, throughTransporter(img))
			if c.disk == FCD {
				for e, err := range w.v.Changed(t.Context(), w.src, "s1", "s2") {
					require.NoError(t, err)
					_, err = img.ReadAt(copied[e.Offset:e.End()], e.Offset)
					require.NoError(t, err)
				}
				assert.True(t, bytes.Equal(want, copied), "incremental")
			}
			require.NoError(t, img.Close())

			require.NoError(t, w.v.Build(t.Context(), w.dst, small, volspec.Thin, "", func(_ context.Context, to image.Target) error {
				for off := int64(0); off < int64(small); off += grain {
					if b := want[off : off+grain]; !bytes.Equal(b, make([]byte, grain)) {
						if _, err := to.WriteAt(b, off); err != nil {
							return err
						}
					}
				}
				return nil
			}))
			s.empty(t)
			files, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-0", "mooring", string(w.dst.Group), "*-flat.vmdk"))
			require.NoError(t, err)
			require.Len(t, files, 1)
			got, err := os.ReadFile(files[0])
			require.NoError(t, err)
			assert.True(t, bytes.Equal(want, got), "restored")
			st, err := os.Stat(files[0])
			require.NoError(t, err)
			assert.LessOrEqual(t, st.Sys().(*syscall.Stat_t).Blocks*512, int64(6*grain), "nothing but data was written")
		})
	}
}

func TestDisksOfVMsMoveThroughATransporter(t *testing.T) {
	for _, kind := range []string{"VMFS", "vsan"} {
		t.Run(kind, func(t *testing.T) { disksOfVMsMoveThroughATransporter(t, kind) })
	}
}

func disksOfVMsMoveThroughATransporter(t *testing.T, kind string) {
	s := newTransported(t, FCD, control.Options{})
	require.NoError(t, s.sim.SetDatastoreType(t.Context(), "ds-0", kind))
	v := s.open(t)
	m := machines{s, v}
	vm := m.Add(t, "whole")
	m.Write(t, vm, "2000", 1<<20, []byte("one"))
	m.Foreign(t, vm, "of somebody else")
	m.Write(t, vm, "2000", 1<<20, []byte("two"))
	// with a snapshot of others below it is a delta
	_, err := v.SnapshotMachine(t.Context(), vm, "s1", false)
	require.NoError(t, err)
	m.Write(t, vm, "2000", 1<<20, []byte("new"))
	img, err := v.OpenMachineDisk(t.Context(), vm, "s1", "2000")
	require.NoError(t, err)
	assert.IsType(t, &pluggedIn{}, img.(*machineImage).content)
	assert.Empty(t, img.(*machineImage).copy, "a delta needs no copy")
	assert.Equal(t, "two", string(all(t, img, 16*volspec.MiB)[1<<20:1<<20+3]))
	require.NoError(t, img.Close())
	s.empty(t)
	require.NoError(t, v.DeleteMachineSnapshot(t.Context(), vm, "s1"))
	assert.Equal(t, "new", string(m.Read(t, vm, "2000", 1<<20, 3)))

	require.NoError(t, s.sim.RemoveSnapshot(t.Context(), string(vm), "of somebody else"))
	require.NoError(t, s.sim.Power(t.Context(), string(vm), false))
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	_, err = v.BuildMachineDisk(t.Context(), vm, "2000", 16*volspec.MiB, word("back"))
	require.NoError(t, err)
	made, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	assert.Zero(t, made["PUT"])
	assert.Equal(t, "back", string(m.Read(t, vm, "2000", 0, 4)))
	s.empty(t)
}

func TestASnapshotThatIsReadInTheTransporterCanGo(t *testing.T) {
	s := newTransported(t, FCD, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	img, err := w.v.OpenSnapshot(t.Context(), w.src, "s1")
	require.NoError(t, err)
	before := s.inside(t)
	require.Len(t, before, 1)
	require.NoError(t, w.v.DeleteSnapshot(t.Context(), w.src, "s1"))
	after := s.inside(t)
	require.Len(t, after, 1)
	assert.NotEqual(t, before, after, "a copy is read now")
	assert.Equal(t, "one", string(all(t, img, small)[:3]))
	require.NoError(t, img.Close())
	s.empty(t)
	assert.Empty(t, w.copies(t))
	w.size(t, w.src, small)
}

func TestOnlyOneOfTwoDisksWithOneSerialIsInTheTransporter(t *testing.T) {
	s := newTransported(t, FCD, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	w.write(t, w.src, "two")
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
	for _, second := range []volspec.SnapshotID{"s1", "s2"} {
		one, err := w.v.OpenSnapshot(t.Context(), w.src, "s1")
		require.NoError(t, err)
		two, err := w.v.OpenSnapshot(t.Context(), w.src, second)
		require.NoError(t, err)
		assert.True(t, throughTransporter(one))
		assert.False(t, throughTransporter(two))
		assert.Equal(t, "one", string(all(t, one, small)[:3]))
		assert.Equal(t, map[volspec.SnapshotID]string{"s1": "one", "s2": "two"}[second], string(all(t, two, small)[:3]))
		require.NoError(t, one.Close())
		require.NoError(t, two.Close())
		s.empty(t)
	}
}

func TestDisksInTheTransporterAreAttachedToNobody(t *testing.T) {
	s := newTransported(t, FCD, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	img, err := w.v.OpenSnapshot(t.Context(), w.src, "s1")
	require.NoError(t, err)
	devices, err := w.v.Attached(t.Context())
	require.NoError(t, err)
	assert.Empty(t, devices)
	w.write(t, w.src, "two")
	_, err = w.v.Attach(t.Context(), w.vm(t, w.v, "tp").ID, w.src, false)
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
	assert.ErrorContains(t, err, "tp")
	assert.Equal(t, "one", string(all(t, img, small)[:3]))
	require.NoError(t, img.Close())
}

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
