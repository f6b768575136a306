package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Backup backs volumes and VMs up now, one job each: those named, or those of
// a policy. A job for one that is being backed up waits for the other. When the
// allowance of the vmgroup does not suffice, nothing that was named is backed
// up; of a policy the jobs of what is too much have failed already.
func (s *Service) Backup(ctx context.Context, c volspec.Caller, group string, req wire.RunBackup) ([]wire.Job, error) {
	if (len(req.Volumes)+len(req.VMs) == 0) == (req.Policy == "") {
		return nil, errkind.New(errkind.Invalid, "a backup is of volumes and VMs, or of a policy: name one or the other")
	}
	if !slices.Contains([]string{"", consistencyBest, consistencyCrash, consistencyRequired}, req.Consistency) {
		return nil, errkind.New(errkind.Invalid, "consistency %q is not known: use filesystem, crash or filesystem-required", req.Consistency)
	}
	if err := s.mayProtect(ctx, group); err != nil { // before what it lacks is missed
		s.audit(ctx, c, group, "backup run", strings.Join(slices.Concat(req.Volumes, req.VMs), " "), err)
		return nil, err
	}
	volumes, pol, err := s.chosen(ctx, c, group, req)
	if err != nil {
		return nil, err
	}
	machines, err := s.chosenMachines(ctx, group, req, pol)
	if err != nil {
		return nil, err
	}
	if len(volumes)+len(machines) == 0 {
		return nil, errkind.New(errkind.NotFound, "policy %s matches no volume and no VM of vmgroup %s: see `mooring backup policy preview`", req.Policy, group)
	}
	var all []newBackup
	for _, v := range volumes {
		p, err := s.backupOf(ctx, v, pol, req)
		if err != nil {
			return nil, err
		}
		all = append(all, newBackup{v.Group, ofVolume(v), job.Job{Policy: p.Policy, Priority: urgent}, p})
	}
	for _, m := range machines {
		p, err := s.machineBackupOf(ctx, m, pol, req)
		if err != nil {
			return nil, err
		}
		all = append(all, newBackup{m.Group, ofMachine(m), job.Job{Policy: p.Policy, Priority: urgent}, p})
	}
	jobs, err := s.enqueueBackups(ctx, all, pol != nil)
	var names []string
	for _, b := range all {
		names = append(names, b.object.label())
	}
	s.audit(ctx, c, group, "backup run", strings.Join(names, " "), err)
	if err != nil {
		return nil, err
	}
	var out []wire.Job
	for _, j := range jobs {
		out = append(out, s.presentJob(ctx, j, group))
	}
	return out, nil
}

// chosen are the volumes of a request, each once, and the policy it names.
func (s *Service) chosen(ctx context.Context, c volspec.Caller, group string, req wire.RunBackup) (found []Volume, pol *Policy, err error) {
	if req.Policy == "" {
		seen := map[volspec.VolumeID]bool{}
		for _, name := range req.Volumes {
			v, err := s.o.Volumes.Find(ctx, c, group, name)
			if err != nil {
				return nil, nil, err
			}
			if !seen[v.ID] {
				found = append(found, v)
			}
			seen[v.ID] = true
		}
		return found, nil, nil
	}
	var p Policy
	err = s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		p, err = tx.PolicyByName(g.ID, req.Policy)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	found, err = s.selected(ctx, p)
	return found, &p, err
}

// chosenMachines are the VMs of a request, each once; pol is the policy it
// names.
func (s *Service) chosenMachines(ctx context.Context, group string, req wire.RunBackup, pol *Policy) (found []Machine, err error) {
	if pol != nil {
		return s.selectedMachines(ctx, *pol)
	}
	seen := map[volspec.VMID]bool{}
	for _, name := range req.VMs {
		m, err := s.findMachine(ctx, group, name)
		if err != nil {
			return nil, err
		}
		if !seen[m.ID] {
			found = append(found, m)
		}
		seen[m.ID] = true
	}
	return found, nil
}

// selected are the volumes that a policy protects now.
func (s *Service) selected(ctx context.Context, p Policy) ([]Volume, error) {
	all, err := s.o.Volumes.Volumes(ctx, p.Group)
	return slices.DeleteFunc(all, func(v Volume) bool { return !selects(p, v) }), err
}

// terms are what a backup takes from the request and from a policy.
type terms struct {
	policy      volspec.PolicyID
	policyName  string
	limit       int64
	repository  volspec.RepositoryID
	consistency string
}

// terms completes a request: what it leaves open is that of pol, else of the
// first enabled policy that selects the object, else the only repository of
// the vmgroup.
func (s *Service) terms(ctx context.Context, g volspec.VMGroup, pol *Policy, selects func(Policy) bool, req wire.RunBackup) (terms, error) {
	var out terms
	err := s.o.Store.View(ctx, func(tx Tx) error {
		pol := pol
		if pol == nil {
			all, err := tx.Policies(g.ID)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(p Policy) bool {
				return enabled(p) && selects(p) && (req.Repository == "" || req.Repository == p.Spec.Repository)
			})
			if i >= 0 {
				pol = &all[i]
			}
		}
		out = terms{consistency: req.Consistency}
		name := req.Repository
		if pol != nil {
			out.policy, out.policyName, out.limit = pol.ID, pol.Name, int64(pol.Spec.Limit)
			name = cmp.Or(name, pol.Spec.Repository)
			out.consistency = cmp.Or(out.consistency, pol.Spec.Consistency)
		}
		r, err := onlyRepository(tx, g, name)
		out.repository = r.ID
		return err
	})
	if err == nil {
		return out, nil
	}
	if why := s.mayBegin(ctx, g.ID, kindBackup); why != nil {
		return out, why // it names all that the vmgroup lacks
	}
	return out, err
}

// backupOf completes the parameters of one volume's backup.
func (s *Service) backupOf(ctx context.Context, v Volume, pol *Policy, req wire.RunBackup) (backupParams, error) {
	t, err := s.terms(ctx, v.Group, pol, func(p Policy) bool { return selects(p, v) }, req)
	p := backupParams{
		Volume: v.ID, Name: v.Name.String(), Full: req.Full,
		Policy: t.policy, PolicyName: t.policyName, Limit: t.limit, Repository: t.repository,
	}
	switch t.consistency {
	case consistencyRequired:
		p.Require = volspec.FilesystemConsistent
	case consistencyCrash:
		p.Require = volspec.CrashConsistent
	}
	return p, err
}

// onlyRepository finds a repository by name, or the only one there is.
func onlyRepository(tx Tx, g volspec.VMGroup, name string) (Repo, error) {
	if name != "" {
		return tx.RepositoryByName(g.ID, name)
	}
	all, err := tx.Repositories(g.ID)
	switch {
	case err != nil:
		return Repo{}, err
	case len(all) == 0:
		return Repo{}, errkind.New(errkind.NotFound, "vmgroup %s has no repository: make one with `mooring repository create %s/NAME`", g.Name, g.Name)
	case len(all) > 1:
		return Repo{}, errkind.New(errkind.Invalid, "vmgroup %s has %d repositories: name one with --repository", g.Name, len(all))
	}
	return all[0], nil
}

// Verify looks at a point's blocks as a job.
func (s *Service) Verify(ctx context.Context, c volspec.Caller, group, ref string, req wire.RunVerify) (wire.Job, error) {
	mode := repository.VerifyMode(req.Mode)
	if mode == "" {
		mode = repository.Full
	}
	if err := checkMode(mode, req.Share); err != nil {
		return wire.Job{}, err
	}
	return s.onPoint(ctx, c, group, ref, kindVerify, "backup verify", func(p *pointParams, _ Tx, _ volspec.VMGroup) error {
		p.Mode, p.Share = mode, req.Share
		return nil
	})
}

// Drill restores a point to scratch and proves it, as a job.
func (s *Service) Drill(ctx context.Context, c volspec.Caller, group, ref string) (wire.Job, error) {
	return s.onPoint(ctx, c, group, ref, kindDrill, "backup drill", func(*pointParams, Tx, volspec.VMGroup) error { return nil })
}

// CopyPoint copies a point to another repository of the vmgroup, as a job.
func (s *Service) CopyPoint(ctx context.Context, c volspec.Caller, group, ref string, req wire.RunCopy) (wire.Job, error) {
	return s.onPoint(ctx, c, group, ref, kindCopy, "backup copy", func(p *pointParams, tx Tx, g volspec.VMGroup) error {
		r, err := tx.RepositoryByName(g.ID, req.Repository)
		if err == nil && r.ID == p.Repository {
			err = errkind.New(errkind.Invalid, "recovery point %s is in repository %s already: name another one", p.Point, r.Name)
		}
		p.To = r.ID
		return err
	})
}

// onPoint enqueues a job about one point. Of a VM's point copies and drills are
// of all disks.
func (s *Service) onPoint(ctx context.Context, c volspec.Caller, group, ref, kind, action string, complete func(*pointParams, Tx, volspec.VMGroup) error) (wire.Job, error) {
	t, err := s.lookup(ctx, group, ref)
	if err != nil {
		return wire.Job{}, err
	}
	pt, g, p := t.point, t.group, paramsOf(t.point)
	if kind != kindVerify {
		if err := t.whole(); err != nil {
			return wire.Job{}, err
		}
	}
	if t.set != nil {
		p = paramsOfSet(*t.set)
	}
	if err := s.o.Store.View(ctx, func(tx Tx) error { return complete(&p, tx, g) }); err != nil {
		return wire.Job{}, err
	}
	j, err := s.enqueue(ctx, job.Job{Group: g.ID, Kind: kind, Object: objectOf(p), Priority: urgent}, p)
	if err != nil {
		return wire.Job{}, err
	}
	s.audit(ctx, c, g.Name, action, string(pt.ID), nil)
	return s.presentJob(ctx, j, g.Name), nil
}

func paramsOf(p Point) pointParams {
	name := volspec.Name{Volume: p.Volume, Datastore: p.Datastore}.String()
	if p.Set != "" {
		name = machineName(p.VM)
	}
	return pointParams{Point: p.ID, Repository: p.Repository, Name: name}
}

func paramsOfSet(x set) pointParams {
	p := paramsOf(x.summary())
	for _, d := range x.points {
		p.Disks = append(p.Disks, d.ID)
	}
	return p
}

func objectOf(p pointParams) string {
	if p.To != "" {
		return fmt.Sprintf("%s to %s", p.Point, p.To)
	}
	return string(p.Point)
}

// reverify looks again at the damaged points of a volume after a backup that
// may have healed them.
func (s *Service) reverify(ctx context.Context, r Repo, v volspec.VolumeID) error {
	var damaged []Point
	err := s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Points(PointQuery{Repository: r.ID, VolumeID: v})
		damaged = slices.DeleteFunc(all, func(p Point) bool { return p.State != volspec.Damaged || p.Deleting })
		return err
	})
	if err == nil {
		damaged, err = permitted(ctx, s, false, damaged, func(p Point) volspec.VMGroupID { return p.Group })
	}
	for _, pt := range damaged {
		p := paramsOf(pt)
		p.Mode = repository.Full
		if err == nil {
			_, err = s.enqueue(ctx, job.Job{Group: r.Group, Kind: kindVerify, Object: objectOf(p), Priority: 4}, p)
		}
	}
	return err
}
