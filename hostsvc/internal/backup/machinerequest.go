package backup

import (
	"context"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// restoreMachine brings the point of a VM, or one disk of it, back as a job.
func (s *Service) restoreMachine(ctx context.Context, c volspec.Caller, t target, req wire.RunRestore) (wire.Job, error) {
	x := *t.set
	if s.o.Machines == nil {
		return wire.Job{}, noMachines
	}
	if len(req.Options) > 0 {
		return wire.Job{}, errkind.New(errkind.Invalid, "options are those of a volume: name one disk of the VM with disk to restore it as a volume")
	}
	if (req.Datastore != "" || req.Host != "") && !c.Admin {
		return wire.Job{}, errkind.New(errkind.Denied, "the administrator chooses datastore and host of a VM: leave them out, then each disk goes where it was")
	}
	p := machineRestoreParams{Set: x.id, Name: req.Name, Group: t.group.Name, Caller: c, Repository: t.repo.ID, Datastore: req.Datastore, Host: req.Host}
	machines, err := s.machines(ctx, "")
	if err != nil {
		return wire.Job{}, err
	}
	if req.InPlace {
		err = p.inPlace(x, t.group, machines, req)
	} else {
		err = p.asNew(x, machines)
	}
	if err != nil {
		return wire.Job{}, err
	}
	object := "restore " + machineName(p.Name)
	open, err := s.o.Jobs.List(ctx, job.Query{Group: t.group.ID, Kind: kindMachineRestore, Object: object, Open: true})
	if err != nil {
		return wire.Job{}, err
	}
	if len(open) > 0 {
		return wire.Job{}, errkind.New(errkind.InUse, "VM %s is being restored already: wait for job %s, or cancel it", p.Name, open[0].ID)
	}
	j, err := s.enqueue(ctx, job.Job{Group: t.group.ID, Kind: kindMachineRestore, Object: object, Priority: urgent}, p)
	if err != nil {
		return wire.Job{}, err
	}
	s.audit(ctx, c, t.group.Name, "backup restore", string(x.id)+" to "+machineName(p.Name), nil)
	return s.presentJob(ctx, j, t.group.Name), nil
}

// asNew completes a restore as a new VM.
func (p *machineRestoreParams) asNew(x set, machines []Machine) error {
	if damage := x.summary().Body.Damage; damage != "" {
		return errkind.New(errkind.Corrupt, "recovery point %s of VM %s is damaged (%s): choose another, or restore single disks of it", x.id, x.vm.Name, damage)
	}
	taken := func(name string) bool {
		return slices.ContainsFunc(machines, func(m Machine) bool { return m.Name == name })
	}
	if p.Name == "" {
		p.Name = x.vm.Name + "-restored"
		for i := 2; taken(p.Name); i++ {
			p.Name = fmt.Sprintf("%s-restored-%d", x.vm.Name, i)
		}
	}
	if taken(p.Name) {
		return errkind.New(errkind.Exists, "a VM %s exists already: choose another name for the restored one", p.Name)
	}
	return nil
}

// inPlace completes a restore into the VM that the point is of.
func (p *machineRestoreParams) inPlace(x set, g volspec.VMGroup, machines []Machine, req wire.RunRestore) error {
	if req.Name != "" || req.Datastore != "" || req.Host != "" {
		return errkind.New(errkind.Invalid, "a restore in place goes to the VM that the point is of: leave name, datastore and host out")
	}
	i := slices.IndexFunc(machines, func(m Machine) bool { return m.ID == x.vm.VM })
	if i < 0 || machines[i].Group.ID != g.ID {
		return errkind.New(errkind.NotFound, "VM %s of recovery point %s is not in vmgroup %s any more, nor in a folder of it: restore it as a new VM", x.vm.Name, x.id, g.Name)
	}
	p.Name = machines[i].Name
	wanted := x.vm.Disks
	if req.Disk != "" {
		d, _, err := x.disk(req.Disk)
		if err != nil {
			return err
		}
		wanted = []machineDisk{d}
	}
	for _, d := range wanted {
		_, pt, err := x.disk(d.Key)
		if err != nil {
			return err
		}
		if pt.State == volspec.Damaged {
			return errkind.New(errkind.Corrupt, "%s in recovery point %s is damaged (%s): choose another point", d.Label, x.id, pt.Body.Damage)
		}
		p.Disks = append(p.Disks, d.Key)
	}
	return nil
}
