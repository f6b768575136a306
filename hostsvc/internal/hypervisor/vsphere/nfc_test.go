package vsphere

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// streams is a service with disks on a datastore of its own that keeps objects, and
// a transport over leases.
type streams struct {
	*site
	v  *VSphere
	t  overNFC
	ds vcenter.Datastore
}

// objectSite is a site with datastores that keep objects.
func objectSite(t *testing.T, disk string, o control.Options) *site {
	t.Helper()
	kind := "vsan"
	if o.ESX {
		kind = "VVOL"
	}
	s := newSite(t, disk, o)
	for _, ds := range []string{"ds-0", "ds-1"} {
		require.NoError(t, s.sim.SetDatastoreType(t.Context(), ds, kind))
	}
	return s
}

func newStreams(t *testing.T, o control.Options) *streams {
	t.Helper()
	s := objectSite(t, VMDK, o)
	return s.streams(t)
}

func (s *site) streams(t *testing.T) *streams {
	t.Helper()
	v := s.open(t)
	ds, err := v.inv.Datastore(t.Context(), "ds-0")
	require.NoError(t, err)
	require.NoError(t, v.c.Files().MakeFolder(t.Context(), "ds-0", "place/of"))
	return &streams{s, v, overNFC{v}, ds}
}

// sent sends a disk with content to a place of its own.
func (s *streams) sent(t *testing.T, name string, size volspec.Size, format string, content map[int64][]byte) (source, error) {
	t.Helper()
	n := blank{what: "disk " + name, at: vcenter.Path("ds-0", "place/of/"+name+".vmdk"), size: size, format: format}
	require.NoError(t, s.v.createDisk(t.Context(), n.at, n.size, n.format, nil))
	from, err := newScratch(t.TempDir(), n.what, int64(size))
	require.NoError(t, err)
	defer from.close()
	for off, data := range content {
		_, err := from.WriteAt(data, off)
		require.NoError(t, err)
	}
	err = s.t.send(t.Context(), n, from)
	return source{what: n.what, ds: s.ds, file: "place/of/" + name + ".vmdk", size: int64(size), ours: true}, err
}

func (s *streams) holds(t *testing.T, from source, content map[int64][]byte) {
	t.Helper()
	c, err := s.t.open(t.Context(), from)
	require.NoError(t, err)
	for off, data := range content {
		got := make([]byte, len(data))
		_, err := c.readAt(t.Context(), got, off)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(data, got), "at %d", off)
	}
	require.NoError(t, c.Close())
}

// nothing is left but the disks that were put at their places.
func (s *streams) nothing(t *testing.T, but ...string) {
	t.Helper()
	vms, err := s.sim.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range vms {
		assert.False(t, strings.HasPrefix(m.Name, carrierPrefix), m.Name)
	}
	left, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-0", carrierPrefix+"*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	disks, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-0", "place/of/*"))
	require.NoError(t, err)
	var names []string
	for _, d := range disks {
		if name := filepath.Base(d); !strings.HasSuffix(name, "-flat.vmdk") {
			names = append(names, strings.TrimSuffix(name, ".vmdk"))
		}
	}
	assert.ElementsMatch(t, but, names)
	scratch, err := os.ReadDir(s.v.o.Scratch)
	require.NoError(t, err)
	assert.Empty(t, scratch)
}

func noise(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	_, err := rand.Read(b)
	require.NoError(t, err)
	return b
}

func TestDisksMoveAsStreams(t *testing.T) {
	for name, o := range map[string]control.Options{"vCenter": {}, "ESXi": {ESX: true}} {
		t.Run(name, func(t *testing.T) {
			s := newStreams(t, o)
			for format, size := range map[string]volspec.Size{
				volspec.Thin: 5*volspec.MiB + volspec.KiB, volspec.ZeroedThick: 4 * volspec.MiB, volspec.EagerZeroedThick: 4 * volspec.MiB,
			} {
				content := map[int64][]byte{0: []byte("one"), 70_000: noise(t, 100_000), int64(size) - 5: []byte("last.")}
				at, err := s.sent(t, format, size, format, content)
				require.NoError(t, err, format)
				content[2<<20] = make([]byte, 1<<20)
				s.holds(t, at, content)
				d, err := s.v.descriptor(t.Context(), "ds-0", at.file)
				require.NoError(t, err)
				assert.Equal(t, format == volspec.Thin, d.Thin, format)
			}
			s.nothing(t, volspec.Thin, volspec.ZeroedThick, volspec.EagerZeroedThick)
		})
	}
}

func TestOnlyDataOfALargeDiskMove(t *testing.T) {
	s := newStreams(t, control.Options{Capacity: 4 << 40})
	const size = volspec.TiB
	content := map[int64][]byte{0: noise(t, 64<<10), 600 << 30: noise(t, 128<<10), int64(size) - 64<<10: noise(t, 64<<10)}
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	at, err := s.sent(t, "large", size, volspec.Thin, content)
	require.NoError(t, err)
	moved := func() int {
		calls, err := s.sim.Calls(t.Context())
		require.NoError(t, err)
		return calls["nfc"]
	}
	up := moved()
	assert.Greater(t, up, 256<<10)
	assert.Less(t, up, 1<<20)
	s.holds(t, at, content)
	assert.Less(t, moved()-up, 1<<20)
	s.nothing(t, "large")
}

func TestWhatOthersUseIsNotCarried(t *testing.T) {
	s := newStreams(t, control.Options{})
	_, err := s.t.open(t.Context(), source{what: "disk x", ds: s.ds, file: "place/of/x.vmdk", size: 1 << 20})
	requireKind(t, errkind.Unsupported, err)
	f := &frozenDisk{of: frozenMachine{vm: vcenter.VM{Name: "db"}}}
	_, err = s.t.open(t.Context(), source{ds: vcenter.Datastore{Name: "ds-1", Type: "VMFS"}, frozen: f})
	requireKind(t, errkind.Unsupported, err)
	assert.ErrorContains(t, err, "would hold VM db")
}

func TestStreamsThatBreakOffAreBegunAnew(t *testing.T) {
	content := map[int64][]byte{1 << 20: nil}
	for name, f := range map[string]control.Fault{
		"cut on its way here":  {Method: "GET", Object: "nfc", CutAfter: 500_000},
		"answer lost":          {Method: "GET", Object: "nfc", DropReply: true},
		"cut on its way there": {Method: "POST", Object: "nfc", CutAfter: 500_000},
		"upload lost":          {Method: "POST", Object: "nfc", DropReply: true},
		"URL gone":             {Method: "GET", Object: "nfc", Kind: "404"},
		"lease expired here":   {Method: "HttpNfcLeaseComplete", Kind: "InvalidState"},
		"VM made, answer lost": {Method: "CreateVM_Task", DropReply: true},
		"import answer lost":   {Method: "ImportVApp", DropReply: true},
		"export answer lost":   {Method: "ExportVm", DropReply: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreams(t, control.Options{})
			content[1<<20] = noise(t, 1<<20)
			require.NoError(t, s.sim.SetLeaseTimeout(t.Context(), 2*time.Second)) // of those that nobody ends
			f.Count = 2
			require.NoError(t, s.sim.Fault(t.Context(), f))
			at, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, content)
			require.NoError(t, err)
			s.holds(t, at, content)
			require.NoError(t, s.v.sweepCarriers(t.Context()))
			s.nothing(t, "a")
		})
	}
}

func TestRefusalsAreSaidAndLeaveNothing(t *testing.T) {
	for name, test := range map[string]struct {
		f    control.Fault
		kind errkind.Kind
	}{
		"import refused":          {control.Fault{Method: "ImportVApp", Kind: "NoPermission"}, errkind.Denied},
		"import without room":     {control.Fault{Method: "ImportVApp", Kind: "NoDiskSpace"}, errkind.Quota},
		"unknown there":           {control.Fault{Method: "ImportVApp", Kind: "NotSupported"}, errkind.Unsupported},
		"upload refused":          {control.Fault{Method: "POST", Object: "nfc", Kind: "500"}, errkind.Unavailable},
		"never complete":          {control.Fault{Method: "HttpNfcLeaseComplete", Kind: "InvalidState"}, errkind.Unavailable},
		"blank one held":          {control.Fault{Method: "DeleteVirtualDisk_Task", Kind: "FileLocked", Count: 1}, errkind.InUse},
		"cannot be put in place":  {control.Fault{Method: "MoveVirtualDisk_Task", Kind: "CannotAccessFile", InTask: true}, errkind.Unavailable},
		"cannot be taken off now": {control.Fault{Method: "ReconfigVM_Task", Kind: "GenericVmConfigFault", InTask: true, Count: 1}, errkind.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreams(t, control.Options{})
			require.NoError(t, s.sim.Fault(t.Context(), test.f))
			_, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, map[int64][]byte{0: []byte("one")})
			requireKind(t, test.kind, err)
			require.NoError(t, s.sim.ClearFaults(t.Context()))
			s.v.discard(t.Context(), vcenter.Path("ds-0", "place/of/a.vmdk"))
			s.nothing(t)
		})
	}
}

func TestAnExportThatIsRefusedLeavesTheDisk(t *testing.T) {
	content := map[int64][]byte{0: []byte("one")}
	for name, test := range map[string]struct {
		f    control.Fault
		kind errkind.Kind
	}{
		"refused":         {control.Fault{Method: "ExportVm", Kind: "NoPermission"}, errkind.Denied},
		"unknown there":   {control.Fault{Method: "ExportVm", Kind: "NotSupported"}, errkind.Unsupported},
		"always cut":      {control.Fault{Method: "GET", Object: "nfc", CutAfter: 10}, errkind.Unavailable},
		"VM not made":     {control.Fault{Method: "CreateVM_Task", Kind: "InvalidState", InTask: true}, errkind.InUse},
		"VM not removed":  {control.Fault{Method: "Destroy_Task", Kind: "GenericVmConfigFault", InTask: true, Count: 1}, ""},
		"disk not let go": {control.Fault{Method: "ReconfigVM_Task", Kind: "GenericVmConfigFault", InTask: true, Count: 1}, errkind.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStreams(t, control.Options{})
			at, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, content)
			require.NoError(t, err)
			require.NoError(t, s.sim.Fault(t.Context(), test.f))
			c, err := s.t.open(t.Context(), at)
			if test.kind != "" {
				requireKind(t, test.kind, err)
			} else {
				require.NoError(t, err)
				require.NoError(t, c.Close())
			}
			require.NoError(t, s.sim.ClearFaults(t.Context()))
			s.holds(t, at, content)
			s.nothing(t, "a")
		})
	}
}

func TestScratchWithoutRoom(t *testing.T) {
	require.Zero(t, os.Geteuid(), "this test mounts a filesystem: run it as root")
	s := newStreams(t, control.Options{})
	at, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, map[int64][]byte{0: noise(t, 3<<20)})
	require.NoError(t, err)
	s.v.o.Scratch = filepath.Join(t.TempDir(), "none")
	_, err = s.t.open(t.Context(), at)
	requireKind(t, errkind.Unavailable, err)
	assert.ErrorContains(t, err, "scratch")
	s.v.o.Scratch = t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", s.v.o.Scratch, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(s.v.o.Scratch, 0)) })
	_, err = s.t.open(t.Context(), at)
	requireKind(t, errkind.Unavailable, err)
	assert.ErrorContains(t, err, "has no room")
	s.nothing(t, "a")
}

func TestLeasesAreKeptAliveAndEndWithTheirContext(t *testing.T) {
	s := newStreams(t, control.Options{})
	content := map[int64][]byte{0: []byte("one")}
	at, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, content)
	require.NoError(t, err)
	require.NoError(t, s.sim.SetLeaseTimeout(t.Context(), 4*time.Second))
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "GET", Object: "nfc", Delay: 6 * time.Second, Count: 1}))
	s.holds(t, at, content)
	calls, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	assert.GreaterOrEqual(t, calls["HttpNfcLeaseProgress"], 3)
	require.NoError(t, s.sim.ClearFaults(t.Context()))

	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "GET", Object: "nfc", Delay: time.Hour}))
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.t.open(ctx, at)
		failed <- err
	}()
	require.Eventually(t, func() bool {
		calls, err := s.sim.Calls(t.Context())
		return err == nil && calls["HttpNfcLeaseProgress"] > 3 && calls["ExportVm"] > 1
	}, time.Minute, 50*time.Millisecond)
	cancel()
	err = <-failed
	requireKind(t, errkind.Unavailable, err)
	assert.ErrorContains(t, err, "given up")
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	s.nothing(t, "a")

	// one that vSphere has ended ends what it is for
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "GET", Object: "nfc", Delay: time.Hour, Count: attempts}))
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: "HttpNfcLeaseProgress", Kind: "InvalidState"}))
	_, err = s.t.open(t.Context(), at)
	requireKind(t, errkind.Unavailable, err)
	assert.ErrorContains(t, err, "ended the lease")
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	s.nothing(t, "a")
}

func TestTwoLeasesAtATime(t *testing.T) {
	var l leases
	var ends []func()
	for range leaseLimit {
		end, err := l.begin(t.Context(), "reading")
		require.NoError(t, err)
		ends = append(ends, end)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.begin(ctx, "reading")
	requireKind(t, errkind.Unavailable, err)
	ends[0]()
	end, err := l.begin(t.Context(), "reading")
	require.NoError(t, err)
	end()
	ends[1]()
}
