package backup

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// machineParams say what the backup job of a VM does.
type machineParams struct {
	VM         volspec.VMID         `json:"vm"`
	Name       string               `json:"name"` // vm/NAME
	Repository volspec.RepositoryID `json:"repository"`
	Policy     volspec.PolicyID     `json:"policy,omitempty"`
	PolicyName string               `json:"policy_name,omitempty"`
	Quiesce    string               `json:"quiesce,omitempty"` // word of consistency
	Full       bool                 `json:"full,omitempty"`
	Limit      int64                `json:"limit,omitempty"`
}

// machineNotes are written before the deeds that they name.
type machineNotes struct {
	Set      volspec.PointID             `json:"set"`
	Snapshot volspec.SnapshotID          `json:"snapshot"`
	Taken    *hypervisor.MachineSnapshot `json:"taken,omitempty"`
	// Stale are points of a moment that was lost with its snapshot: another set
	// was begun, and they belong to none.
	Stale []volspec.PointID `json:"stale,omitempty"`
}

// machineResult is what the backup job of a VM leaves for people.
type machineResult struct {
	Point       volspec.PointID     `json:"point"`
	Consistency volspec.Consistency `json:"consistency"`
	Disks       []machineDiskResult `json:"disks"`
	LeftOut     []leftOut           `json:"left_out"`
	Removed     int                 `json:"points_removed"`
	Summary     string              `json:"summary"`
}

type machineDiskResult struct {
	Label    string           `json:"label"`
	Point    volspec.PointID  `json:"point"`
	Tracking string           `json:"tracking"`
	Stats    repository.Stats `json:"stats"`
}

// machineRun is the backup of one VM on its way.
type machineRun struct {
	writing
	p       machineParams
	n       machineNotes
	group   volspec.VMGroup
	folder  volspec.Folder           // see Machine
	disks   []hypervisor.MachineDisk // of which there are images
	left    []leftOut                // the others, with a reason
	refused error                    // those that should have been backed up
	dropped bool                     // the snapshot is gone
}

// runMachine is the handler of the backup jobs of VMs. Ids are noted before the
// things they name are made. However it ends, the snapshot goes with it; only
// when the service stops it stays for the rest of the job.
func (s *Service) runMachine(ctx context.Context, t task) error {
	r := &machineRun{writing: writing{s: s, t: t}}
	if err := t.params(&r.p); err != nil {
		return err
	}
	if s.o.Machines == nil {
		return noMachines
	}
	r.limit = r.p.Limit
	found, err := t.notes(&r.n)
	if err != nil {
		return err
	}
	if !found {
		if err := t.stage(ctx, "prepare"); err != nil {
			return err
		}
		sign, err := s.signature(ctx)
		if err != nil {
			return err
		}
		r.n = machineNotes{Set: volspec.PointID(uuid.NewString()), Snapshot: volspec.SnapshotID(sign + uuid.NewString())}
		if err := t.save(ctx, r.n); err != nil {
			return err
		}
	}
	crashpoint.Here("backup.vm.noted")
	err = r.makeSet(ctx, r.p.Repository, r)
	if t.stopping(ctx) {
		return err
	}
	clean, cancel := briefly(ctx)
	defer cancel()
	if r.dropped {
		return err
	}
	if derr := r.drop(clean); derr != nil {
		if err != nil {
			return joined(err, derr)
		}
		t.warn("the snapshot of this backup could not be removed yet: " + errkind.Text(derr))
	}
	return err
}

func (r *machineRun) drop(ctx context.Context) error {
	err := r.s.o.Machines.DeleteMachineSnapshot(ctx, r.p.VM, r.n.Snapshot)
	r.dropped = err == nil
	return err
}

// make takes the snapshot and stores each disk of it. What an earlier attempt
// stored of the same moment is stored.
func (r *machineRun) make(ctx context.Context) ([]repository.Point, error) {
	if err := r.t.stage(ctx, "plan"); err != nil {
		return nil, err
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	if points, err := r.stored(ctx); err != nil || points != nil {
		return points, err
	}
	if err := r.t.stage(ctx, "snapshot"); err != nil {
		return nil, err
	}
	if err := r.freeze(ctx); err != nil {
		return nil, err
	}
	crashpoint.Here("backup.vm.snapshot")
	var points []repository.Point
	full := make([]bool, len(r.disks))
	for i, d := range r.disks {
		if err := r.t.stage(ctx, "copy "+d.Label); err != nil {
			return nil, err
		}
		p, all, err := r.one(ctx, d)
		if err != nil {
			return nil, errkind.Wrap(errkind.Of(err), err, "%s of VM %s", d.Label, r.name())
		}
		points, full[i] = append(points, p), all
		crashpoint.Here("backup.vm.written")
	}
	if err := r.t.stage(ctx, "check"); err != nil {
		return nil, err
	}
	for i, p := range points {
		if err := r.check(ctx, p, full[i]); err != nil {
			return nil, err
		}
	}
	return points, nil
}

// name is what the VM is called in sentences.
func (r *machineRun) name() string { return strings.TrimPrefix(r.p.Name, machinePrefix) }

// look sorts the disks, of the snapshot if there is one, and refuses a VM of
// which nothing could be stored before it is made to wait for a snapshot.
func (r *machineRun) look(ctx context.Context) error {
	m, err := r.s.stillIn(ctx, r.row.Group, r.p.VM, r.name())
	if err != nil {
		return err
	}
	r.folder = m.Folder
	all, err := r.s.o.Machines.MachineDisks(ctx, r.p.VM)
	if err != nil && r.n.Taken == nil {
		return err
	}
	if r.n.Taken != nil {
		all = r.n.Taken.Disks
	}
	if err := r.s.o.Store.View(ctx, func(tx Tx) error {
		groups, err := tx.Groups()
		for _, g := range groups {
			if g.ID == r.row.Group {
				r.group = g
			}
		}
		return err
	}); err != nil {
		return err
	}
	return r.sort(ctx, all)
}

// sort tells the disks that are stored from those that are left out.
func (r *machineRun) sort(ctx context.Context, all []hypervisor.MachineDisk) error {
	r.disks, r.left, r.refused, r.total = nil, nil, nil, 0
	name := r.name()
	for _, d := range all {
		switch {
		case d.Volume != "":
			why, err := r.s.ofVolume(ctx, d.Volume)
			if err != nil {
				return err
			}
			r.left = append(r.left, leftOut{Key: d.Key, Label: d.Label, Volume: d.Volume, Why: why})
		case d.Refusal != "":
			r.left = append(r.left, leftOut{Key: d.Key, Label: d.Label, Why: d.Refusal})
			r.refused = joined(r.refused, errkind.New(errkind.Unsupported, "%s of VM %s was not backed up: %s", d.Label, name, d.Refusal))
		default:
			r.disks = append(r.disks, d)
			r.total += int64(d.Size)
		}
	}
	switch {
	case len(r.disks) > 0:
		return nil
	case r.refused != nil:
		return r.refused
	}
	return errkind.New(errkind.Unsupported, "VM %s has no disk of its own: protect its volumes instead", name)
}

// stored are the points of an earlier attempt if it stored all of them.
func (r *machineRun) stored(ctx context.Context) (points []repository.Point, err error) {
	if r.n.Taken == nil {
		return nil, nil
	}
	for _, d := range r.disks {
		p, err := r.repo.Point(ctx, diskPoint(r.n.Set, d.Key))
		if errkind.Is(err, errkind.NotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		points = append(points, p)
	}
	return points, nil
}

// freeze takes the snapshot, or finds the one of an earlier attempt. Where that
// is gone the moment is another one, and so is the set.
func (r *machineRun) freeze(ctx context.Context) error {
	taken, err := r.s.o.Machines.SnapshotMachine(ctx, r.p.VM, r.n.Snapshot, r.p.Quiesce != consistencyCrash)
	if err != nil {
		return err
	}
	if old := r.n.Taken; old == nil || !old.At.Equal(taken.At) {
		if old != nil {
			for _, d := range old.Disks {
				r.n.Stale = append(r.n.Stale, diskPoint(r.n.Set, d.Key))
			}
			r.n.Set = volspec.PointID(uuid.NewString())
		}
		r.n.Taken = &taken
		if err := r.t.save(ctx, r.n); err != nil {
			return err
		}
	}
	name := r.name()
	if !taken.Quiesced && r.p.Quiesce == consistencyRequired {
		return errkind.New(errkind.Unavailable, "VM %s could not be quiesced, and nothing less is wanted: %s; start its guest tools, or let the policy take what is there", name, taken.Note)
	}
	if taken.Note != "" {
		r.t.warn(taken.Note)
	}
	return r.sort(ctx, taken.Disks)
}

// one stores one disk.
func (r *machineRun) one(ctx context.Context, d hypervisor.MachineDisk) (repository.Point, bool, error) {
	r.label = d.Label
	f, err := r.facts(ctx, diskID(r.p.VM, d.Key))
	if err != nil {
		return repository.Point{}, false, err
	}
	f.full, f.size = r.p.Full, d.Size
	return r.store(ctx, source{
		size: int64(d.Size),
		open: func(ctx context.Context) (image.Image, error) {
			return r.s.o.Machines.OpenMachineDisk(ctx, r.p.VM, r.n.Snapshot, d.Key)
		},
		changed: func(ctx context.Context, dec decision) image.Extents {
			return r.s.o.Machines.ChangedMachineDisk(ctx, r.p.VM, r.n.Snapshot, d.Key, dec.change)
		},
		describe: func(dec decision) (repository.Point, error) { return r.describe(d, dec) },
	}, plan(f))
}
