package backup

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// machineRestoreParams say what the restore job of a VM does: Disks, keys, go
// into the VM that they are of; without, a new VM is made.
type machineRestoreParams struct {
	Set        volspec.PointID      `json:"point"`
	Name       string               `json:"name"` // of the new VM, or of the one that is there
	Group      string               `json:"group"`
	Caller     volspec.Caller       `json:"caller"`
	Repository volspec.RepositoryID `json:"repository"`
	Datastore  string               `json:"datastore,omitempty"`
	Host       string               `json:"host,omitempty"`
	Disks      []string             `json:"disks,omitempty"`
}

// machineRestoreNotes are written before the deeds that they name, and tell
// what became of them.
type machineRestoreNotes struct {
	Kept map[string]string `json:"kept,omitempty"` // by key of the disks that are replaced
}

// machineRestoreResult is what the restore of a VM leaves for people.
type machineRestoreResult struct {
	Point   volspec.PointID   `json:"point"`
	VM      volspec.VMID      `json:"vm"`
	Kept    map[string]string `json:"kept,omitempty"`
	Summary string            `json:"summary"`
}

// machineRestore is the restore of a VM on its way.
type machineRestore struct {
	s    *Service
	t    task
	p    machineRestoreParams
	n    machineRestoreNotes
	x    set
	repo repository.Repository
	done atomic.Int64
}

// runMachineRestore is the handler of the restore jobs of VMs.
func (s *Service) runMachineRestore(ctx context.Context, t task) error {
	r := &machineRestore{s: s, t: t}
	if err := t.params(&r.p); err != nil {
		return err
	}
	if _, err := t.notes(&r.n); err != nil {
		return err
	}
	if err := t.stage(ctx, "repository"); err != nil {
		return err
	}
	found, err := s.lookup(ctx, r.p.Group, string(r.p.Set))
	if err != nil {
		return err
	}
	if found.set == nil {
		return noPoint(string(r.p.Set))
	}
	r.x = *found.set
	return s.with(ctx, r.p.Repository, func(_ Repo, rp repository.Repository) error {
		r.repo = rp
		if err := t.stage(ctx, "restore"); err != nil {
			return err
		}
		if len(r.p.Disks) > 0 {
			return r.replace(ctx)
		}
		return r.build(ctx)
	})
}

// build makes a new VM and makes it a member of the vmgroup, unless that may
// protect it because of its folder. The VM knows the job that made it: begun
// again, that goes on with it.
func (r *machineRestore) build(ctx context.Context) error {
	folder, err := r.folder(ctx)
	if err != nil {
		return err
	}
	b := hypervisor.MachineBuild{ID: string(r.t.id()), Name: r.p.Name, Config: r.x.vm.Config, Datastore: r.p.Datastore, Host: r.p.Host, Folder: folder}
	for _, d := range r.x.vm.Disks {
		b.Disks = append(b.Disks, hypervisor.MachineDisk{Key: d.Key, Label: d.Label, Size: d.Size, Datastore: d.Datastore})
	}
	vm, err := r.s.o.Machines.BuildMachine(ctx, b, r.fill)
	if err != nil {
		return err
	}
	crashpoint.Here("backup.vmrestore.built")
	if err := r.t.stage(ctx, "vmgroup"); err != nil {
		return err
	}
	if err := r.s.o.Machines.Adopt(ctx, r.p.Caller, r.p.Group, vm); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "VM %s is restored, but is not in vmgroup %s: add it with `mooring vmgroup vm add`", r.p.Name, r.p.Group)
	}
	for _, l := range r.x.vm.LeftOut {
		r.t.warn(fmt.Sprintf("%s was not in the backup: %s", l.Label, l.Why))
	}
	r.t.result(machineRestoreResult{Point: r.x.id, VM: vm, Summary: fmt.Sprintf("VM %s is restored with %d disks, powered off", r.p.Name, len(b.Disks))})
	return nil
}

// folder is where the new VM is made: where a VM that was no member was, as long as
// that is the vmgroup's.
func (r *machineRestore) folder(ctx context.Context) (volspec.Folder, error) {
	f := r.x.vm.Folder
	if f == "" {
		return "", nil
	}
	granted, err := r.s.o.Machines.Granted(ctx, r.x.head().Group, f)
	if err != nil || !granted {
		return "", err
	}
	return f, nil
}

// replace puts disks back into the VM that they are of. What a hypervisor told
// of changes before is not believed any more.
func (r *machineRestore) replace(ctx context.Context) error {
	if r.n.Kept == nil {
		r.n.Kept = map[string]string{}
	}
	if _, err := r.s.stillIn(ctx, r.x.head().Group, r.x.vm.VM, r.p.Name); err != nil {
		return err
	}
	for _, key := range r.p.Disks {
		if _, done := r.n.Kept[key]; done {
			continue
		}
		d, _, err := r.x.disk(key)
		if err != nil {
			return err
		}
		if err := r.forgetBases(ctx, key); err != nil {
			return err
		}
		kept, err := r.s.o.Machines.BuildMachineDisk(ctx, r.x.vm.VM, key, d.Size, func(ctx context.Context, to image.Target) error { return r.fill(ctx, key, to) })
		if err != nil {
			return err
		}
		crashpoint.Here("backup.vmrestore.replaced")
		r.n.Kept[key] = kept
		if err := r.t.save(ctx, r.n); err != nil {
			return err
		}
	}
	var kept []string
	for _, key := range r.p.Disks {
		d, _, err := r.x.disk(key)
		if err != nil {
			return err
		}
		kept = append(kept, fmt.Sprintf("%s as %s", d.Label, r.n.Kept[key]))
	}
	r.t.result(machineRestoreResult{Point: r.x.id, VM: r.x.vm.VM, Kept: r.n.Kept,
		Summary: fmt.Sprintf("VM %s has the content of the point again; what it held before is kept: %s", r.p.Name, strings.Join(kept, ", "))})
	return nil
}

func (r *machineRestore) forgetBases(ctx context.Context, key string) error {
	id := diskID(r.x.vm.VM, key)
	return r.s.o.Store.Update(ctx, func(tx Tx) error {
		all, err := tx.Bases(id)
		for _, b := range all {
			if err == nil {
				err = tx.DeleteBase(b.Volume, b.Repository)
			}
		}
		return err
	})
}

// fill writes a disk of the point and reads back what was written.
func (r *machineRestore) fill(ctx context.Context, key string, to image.Target) error {
	d, pt, err := r.x.disk(key)
	if err != nil {
		return err
	}
	img, err := r.repo.Open(ctx, pt.ID)
	if err != nil {
		return err
	}
	defer img.Close() //nolint:errcheck // only read
	if to.Size() < img.Size() {
		return errkind.New(errkind.Invalid, "%s has %s in recovery point %s and does not fit into %s", d.Label, volspec.Size(img.Size()), r.x.id, volspec.Size(to.Size()))
	}
	total := int64(0)
	for _, p := range r.x.points {
		total += p.Body.Point.Stats.Data
	}
	before := r.done.Load()
	written := &proved{Target: to}
	err = image.Copy(ctx, written, img, image.CopyOptions{Streams: r.s.o.Streams, Report: func(done, _ int64) {
		r.t.report(repository.Progress{Done: before + done, Total: max(total, before+done), Read: before + done})
		r.done.Store(before + done)
	}})
	if err != nil {
		return err
	}
	return written.readBack(ctx)
}
