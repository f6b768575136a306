package vsphere

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// site is a simulated vCenter with two VMs and two datastores, and how disks
// are kept on it.
type site struct {
	sim  *control.Sim
	disk string
	// transporter is the VM that is one, if any, and bySerial where its disks are.
	transporter, bySerial string
}

// newSite runs a simulator until the test ends.
func newSite(t *testing.T, disk string, o control.Options) *site {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if o.VMs == 0 {
		o.VMs = 2
	}
	sim, err := control.Start(ctx, binary, o)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(sim.Log())
		}
		require.NoError(t, sim.Stop())
	})
	return &site{sim: sim, disk: disk}
}

func (s *site) options(t *testing.T) Options {
	return Options{
		Options: vcenter.Options{URL: s.sim.URL, User: s.sim.User, Password: func() (string, error) { return s.sim.Password, nil }, Thumbprint: s.sim.Thumbprint, UserAgent: "mooring"},
		Disk:    s.disk, Datastores: []string{"ds-0", "ds-1"}, Scratch: t.TempDir(),
		Transporter: s.transporter, bySerial: s.bySerial,
	}
}

// open is a service of its own on the site.
func (s *site) open(t *testing.T) *VSphere {
	t.Helper()
	v, err := New(s.options(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = v.Close(context.WithoutCancel(t.Context())) })
	return v
}

// fixture is the site without disks, all on and online.
func (s *site) fixture(t *testing.T) hypervisortest.Fixture {
	v := s.open(t)
	t.Cleanup(func() { s.clean(t) })
	f := hypervisortest.Fixture{
		Hypervisor: v, Datastore: "ds-0", Other: "ds-1", Blind: true, Guest: guest{s},
		Reopen: func(t *testing.T) hypervisor.Hypervisor { return s.open(t) },
		Corrupt: func(t *testing.T, r hypervisor.Ref) {
			file := filepath.Join(s.sim.Dir, r.Datastore, layout.Folder(r.Group), string(r.Volume)+".vmdk")
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte("this is no descriptor"), 0o644))
		},
		SetPower: func(t *testing.T, vm volspec.VMID, on bool) {
			m, err := v.VM(t.Context(), vm)
			require.NoError(t, err)
			require.NoError(t, s.sim.Power(t.Context(), m.Name, on))
		},
		SetState: func(t *testing.T, datastore string, state hypervisor.DatastoreState) {
			require.NoError(t, s.sim.SetDatastore(t.Context(), datastore, string(state)))
		},
	}
	f.Machines = machines{s, v}
	for i, name := range []string{"vm-0", "vm-1"} {
		f.VMs[i] = s.vm(t, v, name)
	}
	if v.c.About().ApiType == "VirtualCenter" { // an ESXi has no folders but the one of all VMs
		f.Tree = tree{v}
	}
	return f
}

func (s *site) vm(t *testing.T, v *VSphere, name string) hypervisor.VM {
	t.Helper()
	all, err := v.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range all {
		if m.Name == name {
			return m
		}
	}
	require.Fail(t, "VM not listed", name)
	return hypervisor.VM{}
}

// clean takes away what a test has left.
func (s *site) clean(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	require.NoError(t, s.sim.ClearFaults(ctx))
	for _, d := range []string{"ds-0", "ds-1"} {
		require.NoError(t, s.sim.SetDatastore(ctx, d, "online"))
	}
	v, err := New(s.options(t))
	require.NoError(t, err)
	defer func() { _ = v.Close(ctx) }()
	devices, err := v.Attached(ctx)
	require.NoError(t, err)
	for _, d := range devices {
		require.NoError(t, v.Detach(ctx, d.VM, d.Ref))
	}
	for _, d := range []string{"ds-0", "ds-1"} {
		for disk, err := range v.List(ctx, d) {
			if err == nil {
				require.NoError(t, v.Delete(ctx, disk.Ref))
			}
		}
		require.NoError(t, os.RemoveAll(filepath.Join(s.sim.Dir, d, layout.Root)))
	}
	for _, name := range []string{"vm-0", "vm-1"} {
		require.NoError(t, s.sim.Power(ctx, name, true))
	}
	s.clear(ctx, t)
}

// guest is what programs in the VMs do: they reach a disk as long as it is in
// their VM, and the VM is on. What they write to a disk that is read-only does
// not reach it, and the device says so.
type guest struct{ s *site }

var errNoDevice = errors.New("the guest has no such device")

func (g guest) open(dev hypervisor.Device, write bool) (*os.File, error) {
	// A snapshot renames the running file: what was opened by a name is it only
	// if the name is still the running one's, and for a moment there may be none.
	for deadline := time.Now().Add(10 * time.Second); ; {
		d, err := g.disk(dev)
		if err != nil {
			return nil, err
		}
		how := os.O_RDONLY
		if write {
			how = os.O_RDWR
		}
		if write && d.Mode != writableMode {
			return nil, fmt.Errorf("the device is read-only: mode %s", d.Mode)
		}
		f, err := os.OpenFile(d.Path, how, 0)
		if errors.Is(err, os.ErrNotExist) && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if write { // the simulator holds still whose disk it freezes
			err = unix.Flock(int(f.Fd()), unix.LOCK_SH)
		}
		if again, gone := g.disk(dev); err == nil && gone == nil && again.Path == d.Path && same(f, d.Path) {
			return f, nil
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
	}
}

// same reports whether a name is that of an open file.
func same(f *os.File, name string) bool {
	is, err := f.Stat()
	named, err2 := os.Stat(name)
	return err == nil && err2 == nil && os.SameFile(is, named)
}

// disk is the device as the VM has it now.
func (g guest) disk(dev hypervisor.Device) (control.Disk, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	vms, err := g.s.sim.VMs(ctx)
	if err != nil {
		return control.Disk{}, err
	}
	for _, m := range vms {
		if m.InstanceUUID != string(dev.VM) || m.Power != "poweredOn" {
			continue
		}
		for _, d := range m.Disks {
			if serial(d.UUID) == dev.Serial {
				return d, nil
			}
		}
	}
	return control.Disk{}, errNoDevice
}

func (g guest) Write(dev hypervisor.Device, off int64, data []byte) error {
	f, err := g.open(dev, true)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteAt(data, off)
	return err
}

func (g guest) Read(dev hypervisor.Device, off int64, n int) ([]byte, error) {
	f, err := g.open(dev, false)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, n)
	_, err = f.ReadAt(b, off)
	return b, err
}

func (g guest) Size(dev hypervisor.Device) (volspec.Size, error) {
	f, err := g.open(dev, false)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return volspec.Size(st.Size()), nil
}

func (guest) Mount(*testing.T, hypervisor.Device) func() { return func() {} }
