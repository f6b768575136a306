package backup

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// describe is what the repository keeps of the VM with the point of a disk.
func (r *machineRun) describe(d hypervisor.MachineDisk, dec decision) (repository.Point, error) {
	name := r.name()
	vm := machineMeta{
		Set: r.n.Set, VM: r.p.VM, Name: name, Folder: r.folder, Config: r.n.Taken.Config, Key: d.Key, Change: d.Change, LeftOut: r.left,
	}
	for _, x := range r.disks {
		vm.Disks = append(vm.Disks, machineDisk{Key: x.Key, Label: x.Label, Size: x.Size, Datastore: x.Datastore, Point: diskPoint(r.n.Set, x.Key)})
	}
	meta, err := json.Marshal(pointMeta{
		Spec: volspec.Spec{Size: d.Size}, Format: volspec.Formatted, Note: r.n.Taken.Note, Policy: r.p.PolicyName, VM: &vm,
	})
	return repository.Point{
		ID: diskPoint(r.n.Set, d.Key),
		Source: repository.Source{
			Tenant: string(r.group.ID), TenantName: r.group.Name, Volume: diskID(r.p.VM, d.Key), Name: name + "/" + d.Label,
		},
		Created: r.n.Taken.At, Consistency: r.consistency(), Tracking: dec.why, Meta: meta,
	}, errkind.Wrap(errkind.Internal, err, "describe VM %s", name)
}

func (r *machineRun) consistency() volspec.Consistency {
	if r.n.Taken.Quiesced {
		return volspec.FilesystemConsistent
	}
	return volspec.CrashConsistent
}

// undo removes what was stored of a set that will not become whole.
func (r *machineRun) undo(ctx context.Context) error {
	ids := slices.Clone(r.n.Stale)
	if r.n.Taken != nil {
		for _, d := range r.n.Taken.Disks {
			ids = append(ids, diskPoint(r.n.Set, d.Key))
		}
	}
	return r.forget(ctx, ids)
}

// keep records the points with what the next increments start from, lets go of
// the snapshot and applies the policy's retention. What was refused makes the
// result a part.
func (r *machineRun) keep(ctx context.Context, points []repository.Point) error {
	if err := r.t.stage(ctx, "record"); err != nil {
		return err
	}
	if err := r.record(ctx, points); err != nil {
		return err
	}
	crashpoint.Here("backup.vm.recorded")
	if err := r.t.stage(ctx, "release"); err != nil {
		return err
	}
	_ = r.drop(ctx) // tried again when the job ends
	if err := r.forget(ctx, r.n.Stale); err != nil {
		r.t.warn("what an interrupted attempt had stored could not be removed yet: " + errkind.Text(err))
	}
	if err := r.t.stage(ctx, "retention"); err != nil {
		return err
	}
	removed, err := r.s.retainSets(ctx, r.p.Policy, r.row, r.repo, r.p.VM)
	if err != nil {
		r.t.warn("old recovery points could not be removed: " + errkind.Text(err))
	}
	if err := r.s.measure(ctx, r.row, r.repo); err != nil {
		r.t.warn("the repository could not be measured: " + errkind.Text(err))
	}
	for _, d := range r.disks {
		if err := r.s.reverify(ctx, r.row, diskID(r.p.VM, d.Key)); err != nil {
			r.t.warn("damaged recovery points could not be looked at again yet: " + errkind.Text(err))
			break
		}
	}
	r.t.result(r.result(points, removed))
	return job.PartialError(r.refused)
}

func (r *machineRun) result(points []repository.Point, removed int) machineResult {
	res := machineResult{Point: r.n.Set, Consistency: r.consistency(), LeftOut: r.left, Removed: removed}
	var read, stored int64
	for i, p := range points {
		res.Disks = append(res.Disks, machineDiskResult{Label: r.disks[i].Label, Point: p.ID, Tracking: p.Tracking, Stats: p.Stats})
		read, stored = read+p.Stats.Read, stored+p.Stats.Stored
	}
	res.Summary = fmt.Sprintf("%s, %s read, %s stored", diskCount(len(points)), amount(read), amount(stored))
	for _, l := range r.left {
		res.Summary += fmt.Sprintf("; %s is left out: %s", l.Label, l.Why)
	}
	return res
}

func diskCount(n int) string {
	if n == 1 {
		return "1 disk"
	}
	return fmt.Sprintf("%d disks", n)
}

// record writes the whole set, with the moments that next increments start
// from, in one transaction.
func (r *machineRun) record(ctx context.Context, points []repository.Point) error {
	return r.s.o.Store.Update(ctx, func(tx Tx) error {
		for i, p := range points {
			if err := putFound(tx, r.s.foundPoint(r.row, p)); err != nil {
				return err
			}
			d := r.disks[i]
			if d.Change == "" {
				continue
			}
			err := tx.PutBase(Base{Volume: diskID(r.p.VM, d.Key), Repository: r.row.ID, Point: p.ID, Size: d.Size, Change: d.Change})
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// machineBackupOf completes the parameters of a VM's backup.
func (s *Service) machineBackupOf(ctx context.Context, m Machine, pol *Policy, req wire.RunBackup) (machineParams, error) {
	t, err := s.terms(ctx, m.Group, pol, func(p Policy) bool { return selectsMachine(p, m) }, req)
	return machineParams{
		VM: m.ID, Name: machineName(m.Name), Full: req.Full, Quiesce: t.consistency,
		Policy: t.policy, PolicyName: t.policyName, Limit: t.limit, Repository: t.repository,
	}, err
}
