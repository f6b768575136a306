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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
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
