package backup

import (
	"context"
	"encoding/json"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// enqueue puts a job into the queue. Backups go through enqueueBackups.
func (s *Service) enqueue(ctx context.Context, j job.Job, params any) (job.Job, error) {
	if err := s.mayBegin(ctx, j.Group, j.Kind); err != nil {
		return j, err
	}
	j, err := withParams(j, params)
	if err != nil {
		return j, err
	}
	return s.o.Jobs.Enqueue(ctx, j)
}

func withParams(j job.Job, params any) (job.Job, error) {
	b, err := json.Marshal(params)
	if err != nil {
		return j, errkind.Wrap(errkind.Internal, err, "parameters of a %s job", j.Kind)
	}
	j.Params = b
	if j.Priority == 0 {
		j.Priority = defaultPriority
	}
	return j, nil
}

// newBackup is a backup that is to be enqueued. What of its job is not said
// follows from the object.
type newBackup struct {
	group  volspec.VMGroup
	object Object
	job    job.Job
	params any
}

func ofVolume(v Volume) Object { return Object{Name: v.Name.String(), Volume: v.ID} }

func ofMachine(m Machine) Object { return Object{Name: m.Name, VM: m.ID} }

// label is what people read of an object in the audit log.
func (o Object) label() string {
	if o.VM != "" {
		return machineName(o.Name)
	}
	return o.Name
}

// complete makes the job of a backup.
func (b newBackup) complete() (job.Job, error) {
	j := b.job
	j.Group, j.Kind, j.Object = b.group.ID, kindBackup, string(b.object.Volume)
	if b.object.VM != "" {
		j.Kind, j.Object = kindMachine, string(b.object.VM)
	}
	return withParams(j, b.params)
}

// enqueueBackups puts backups into the queue, in one transaction with the
// decision whether their vmgroups may protect the objects. With skip the jobs
// of those that they may not have failed, and the others are queued; without,
// the first refusal is the answer and nothing is queued.
func (s *Service) enqueueBackups(ctx context.Context, all []newBackup, skip bool) (out []job.Job, err error) {
	jobs := make([]job.Job, len(all))
	for i, b := range all {
		if jobs[i], err = b.complete(); err != nil {
			return nil, err
		}
		if err := s.mayBegin(ctx, b.group.ID, jobs[i].Kind); err != nil {
			return nil, err
		}
	}
	admit := s.o.Allowances.Admission(ctx)
	var fresh []job.Job
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		out, fresh = nil, nil
		for i, b := range all {
			j := jobs[i]
			if err := admit(tx, b.group, b.object); err != nil {
				if !skip || !errkind.Is(err, errkind.Quota) {
					return err
				}
				j = job.Refused(j, err)
			}
			j, added, err := s.o.Jobs.Put(tx, j)
			if err != nil {
				return err
			}
			out = append(out, j)
			if added {
				fresh = append(fresh, j)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.o.Jobs.Wake(ctx, fresh)
	return out, nil
}
