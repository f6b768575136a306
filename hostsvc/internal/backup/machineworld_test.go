package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const vmDisk = 2 << 20

// vms are the VMs of a world.
type vms struct {
	*memory.Memory
	members   map[volspec.VMID]volspec.VMGroup
	granted   map[volspec.Folder]volspec.VMGroup
	forgetful bool // what is written to the disks of a new VM is lost
}

// sieve is a target that keeps nothing.
type sieve struct{ image.Target }

func (sieve) WriteAt(b []byte, _ int64) (int, error) { return len(b), nil }

func newVMs() *vms {
	return &vms{
		Memory:  memory.New(memory.Options{Datastores: []hypervisor.Datastore{{Name: "one"}, {Name: "two"}}}),
		members: map[volspec.VMID]volspec.VMGroup{}, granted: map[volspec.Folder]volspec.VMGroup{},
	}
}

// addVM makes a VM of a vmgroup with two disks of its own; a third has the
// refusal why if it is not "".
func (w *world) addVM(g volspec.VMGroup, name, why string) volspec.VMID {
	v := hypervisor.VM{ID: volspec.VMID(uuid.NewString()), Name: name, Datastore: "one"}
	w.vms.AddVM(v)
	w.vms.members[v.ID] = g
	for i := range 2 {
		key := fmt.Sprint(2000 + i)
		w.vms.AddMachineDisk(v.ID, hypervisor.MachineDisk{Key: key, Label: fmt.Sprintf("Hard disk %d", i+1), Size: vmDisk, Datastore: "one"})
		w.vms.WriteMachineDisk(v.ID, key, 4096, noise(uint64(i+1), 300<<10))
	}
	if why != "" {
		w.vms.AddMachineDisk(v.ID, hypervisor.MachineDisk{Key: "2002", Label: "Hard disk 3", Size: vmDisk, Datastore: "one", Refusal: why})
	}
	return v.ID
}

// disksOf is what a VM has on its own disks, by key.
func (w *world) disksOf(t testing.TB, vm volspec.VMID) map[string][]byte {
	out := map[string][]byte{}
	all, err := w.vms.MachineDisks(context.Background(), vm)
	require.NoError(t, err)
	for _, d := range all {
		if d.Refusal == "" && d.Volume == "" {
			out[d.Key] = w.vms.ReadMachineDisk(vm, d.Key, 0, int(d.Size))
		}
	}
	return out
}

func (w *world) vmSnapshots(t testing.TB) int {
	all, err := w.vms.MachineSnapshots(context.Background())
	require.NoError(t, err)
	return len(all)
}

// machines are the VMs as one process sees them.
type machines struct {
	*vms
	p *plug
}

func (m machines) Machines(ctx context.Context, g volspec.VMGroupID) (out []backup.Machine, err error) {
	err = m.p.do("Machines", func() error {
		all, err := m.VMs(ctx)
		for _, v := range all {
			found := backup.Machine{ID: v.ID, Group: m.members[v.ID], Name: v.Name}
			for f, by := range m.granted {
				if _, member := m.members[v.ID]; !member && f.Holds(v.Folder) {
					found.Group, found.Folder = by, v.Folder
				}
			}
			if g == "" || found.Group.ID == g {
				out = append(out, found)
			}
		}
		return err
	})
	return out, err
}

func (m machines) Granted(ctx context.Context, g volspec.VMGroupID, f volspec.Folder) (is bool, err error) {
	err = m.p.do("Granted", func() error {
		_, err := m.FindFolder(ctx, f)
		for have, by := range m.granted {
			is = is || err == nil && by.ID == g && have.Holds(f)
		}
		return nil
	})
	return is, err
}

func (m machines) Adopt(ctx context.Context, _ volspec.Caller, group string, vm volspec.VMID) error {
	return m.p.do("Adopt", func() error {
		v, err := m.VM(ctx, vm)
		if err != nil {
			return err
		}
		for f, by := range m.granted {
			if by.Name == group && f.Holds(v.Folder) {
				return nil
			}
		}
		m.members[vm] = volspec.VMGroup{ID: "", Name: group}
		for _, g := range m.members {
			if g.Name == group && g.ID != "" {
				m.members[vm] = g
			}
		}
		return nil
	})
}

func (m machines) MachineDisks(ctx context.Context, vm volspec.VMID) (out []hypervisor.MachineDisk, err error) {
	err = m.p.do("MachineDisks", func() error { out, err = m.Memory.MachineDisks(ctx, vm); return err })
	return out, err
}

func (m machines) SnapshotMachine(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, quiesce bool) (out hypervisor.MachineSnapshot, err error) {
	err = m.p.do("SnapshotMachine", func() error { out, err = m.Memory.SnapshotMachine(ctx, vm, id, quiesce); return err })
	return out, err
}

func (m machines) DeleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error {
	return m.p.do("DeleteMachineSnapshot", func() error { return m.Memory.DeleteMachineSnapshot(ctx, vm, id) })
}

func (m machines) MachineSnapshots(ctx context.Context) (out []hypervisor.MachineSnapshotRef, err error) {
	err = m.p.do("MachineSnapshots", func() error { out, err = m.Memory.MachineSnapshots(ctx); return err })
	return out, err
}

func (m machines) OpenMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (img image.Image, err error) {
	err = m.p.do("OpenMachineDisk", func() error {
		inner, err := m.Memory.OpenMachineDisk(ctx, vm, id, key)
		if err != nil {
			return err
		}
		all := make([]byte, inner.Size())
		if _, err := inner.ReadAt(all, 0); err != nil {
			return err
		}
		img = &memImage{Reader: bytes.NewReader(all), p: m.p}
		return nil
	})
	if err != nil {
		img = nil
	}
	return img, err
}

func (m machines) BuildMachine(ctx context.Context, b hypervisor.MachineBuild, fill func(context.Context, string, image.Target) error) (id volspec.VMID, err error) {
	err = m.p.do("BuildMachine", func() error {
		id, err = m.Memory.BuildMachine(ctx, b, func(ctx context.Context, key string, to image.Target) error {
			if m.forgetful {
				to = sieve{to}
			}
			return fill(ctx, key, to)
		})
		return err
	})
	return id, err
}

func (m machines) BuildMachineDisk(ctx context.Context, vm volspec.VMID, key string, size volspec.Size, fill func(context.Context, image.Target) error) (kept string, err error) {
	err = m.p.do("BuildMachineDisk", func() error { kept, err = m.Memory.BuildMachineDisk(ctx, vm, key, size, fill); return err })
	return kept, err
}

// runVM backs a VM up and waits for the end.
func (p *process) runVM(t testing.TB, name string) job.Job {
	t.Helper()
	jobs, err := p.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{name}, Repository: "main"})
	require.NoError(t, err)
	require.Len(t, jobs, 1)
	return p.finish(t, jobs[0].ID)
}

// restoreVM makes a new VM of a point and gives what it has on its disks.
func (p *process) restoreVM(t testing.TB, ref, as string) (volspec.VMID, map[string][]byte) {
	t.Helper()
	wj, err := p.RestorePoint(t.Context(), admin, "Dev", ref, wire.RunRestore{Name: as})
	require.NoError(t, err)
	j := p.finish(t, wj.ID)
	require.Equal(t, job.Done, j.State, j.Error)
	all, err := p.w.vms.VMs(t.Context())
	require.NoError(t, err)
	for _, v := range all {
		if v.Name == as {
			return v.ID, p.w.disksOf(t, v.ID)
		}
	}
	require.Fail(t, "there is no such VM", as)
	return "", nil
}
