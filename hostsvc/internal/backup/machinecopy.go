package backup

import (
	"context"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// copyNotes are written before the first disk is copied: what is to be removed
// if the copy does not become whole.
type copyNotes struct {
	Made []volspec.PointID `json:"made"`
}

// setCopy is the copy of a VM's point on its way into the second repository.
type setCopy struct {
	writing
	p   pointParams
	n   copyNotes
	id  volspec.PointID
	src repository.Repository
}

// copySet copies the points of all disks of a VM; its configuration goes with
// each. The copy is listed when all of them are there. An attempt that is cut
// off goes on, one that fails is undone.
func (s *Service) copySet(ctx context.Context, t task, p pointParams) error {
	c := &setCopy{writing: writing{s: s, t: t, limit: p.Limit}, p: p}
	if _, err := t.notes(&c.n); err != nil {
		return err
	}
	if err := t.stage(ctx, "repositories"); err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(_ Repo, src repository.Repository) error {
		c.src = src
		return c.makeSet(ctx, p.To, c)
	})
}

// undo implements setMaker.
func (c *setCopy) undo(ctx context.Context) error { return c.forget(ctx, c.n.Made) }

// diskCopy is one disk: its point and what that becomes.
type diskCopy struct {
	from  repository.Point
	to    volspec.PointID
	label string
}

// plan reads the points of the original, in the order of its disks.
func (c *setCopy) plan(ctx context.Context) (disks []diskCopy, err error) {
	for _, id := range c.p.Disks {
		p, err := c.src.Point(ctx, id)
		if err != nil {
			return nil, err
		}
		vm := c.s.foundPoint(Repo{ID: c.p.Repository}, p).meta().VM
		if vm == nil || len(vm.Disks) != len(c.p.Disks) {
			return nil, errkind.New(errkind.Corrupt, "recovery point %s of %s is incomplete: choose another, or restore single disks of it", c.p.Point, c.p.Name)
		}
		c.id = copyID(vm.Origin, c.p.To)
		disks = append(disks, diskCopy{p, diskPoint(c.id, vm.Key), vm.label()})
		c.total += p.Size
	}
	return disks, nil
}

// make copies each disk. Copies that are there already, of this attempt or of
// one before, cost nothing.
func (c *setCopy) make(ctx context.Context) ([]repository.Point, error) {
	if err := c.t.stage(ctx, "plan"); err != nil {
		return nil, err
	}
	disks, err := c.plan(ctx)
	if err != nil {
		return nil, err
	}
	points, err := c.there(ctx, disks)
	if err != nil || points != nil {
		return points, err
	}
	if c.n.Made == nil {
		for _, d := range disks {
			c.n.Made = append(c.n.Made, d.to)
		}
		if err := c.t.save(ctx, c.n); err != nil {
			return nil, err
		}
	}
	crashpoint.Here("backup.vmcopy.noted")
	for _, d := range disks {
		if err := c.t.stage(ctx, "copy "+d.label); err != nil {
			return nil, err
		}
		p, err := c.one(ctx, d)
		if err != nil {
			return nil, errkind.Wrap(errkind.Of(err), err, "%s of %s", d.label, thing(c.p.Name))
		}
		points = append(points, p)
		crashpoint.Here("backup.vmcopy.written")
	}
	if err := c.t.stage(ctx, "check"); err != nil {
		return nil, err
	}
	for _, p := range points {
		if err := c.check(ctx, p, false); err != nil {
			return nil, err
		}
	}
	return points, nil
}

// there are the copies if all of them exist.
func (c *setCopy) there(ctx context.Context, disks []diskCopy) (points []repository.Point, err error) {
	for _, d := range disks {
		p, err := c.repo.Point(ctx, d.to)
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

// one copies one disk.
func (c *setCopy) one(ctx context.Context, d diskCopy) (repository.Point, error) {
	parent, err := c.s.newestIn(ctx, c.row.ID, d.from.Source.Volume)
	if err != nil {
		return repository.Point{}, err
	}
	p, err := c.src.Copy(ctx, d.from.ID, c.repo, d.to, parent, c.limit, func(pr repository.Progress) {
		c.spend.wrote(c.before.Stored + pr.Stored)
		c.t.report(repository.Progress{Done: c.before.Done + pr.Done, Total: c.total, Read: c.before.Read + pr.Read, Stored: c.before.Stored + pr.Stored})
	})
	if err == nil {
		c.before.Done += d.from.Size
		c.before.Read += p.Stats.Read
		c.before.Stored += p.Stats.Stored
	}
	return p, err
}

// keep records the whole copy at once and applies the retention of copies.
func (c *setCopy) keep(ctx context.Context, points []repository.Point) error {
	if err := c.t.stage(ctx, "record"); err != nil {
		return err
	}
	res := copyResult{Point: c.id}
	err := c.s.o.Store.Update(ctx, func(tx Tx) error {
		for _, p := range points {
			if err := putFound(tx, c.s.foundPoint(c.row, p)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	crashpoint.Here("backup.vmcopy.recorded")
	if err := c.t.stage(ctx, "retention"); err != nil {
		return err
	}
	vm := c.s.foundPoint(c.row, points[0]).VMID
	if res.Removed, err = c.s.retainSets(ctx, c.p.Policy, c.row, c.repo, vm); err != nil {
		c.t.warn("old recovery points could not be removed: " + errkind.Text(err))
	}
	if err := c.s.measure(ctx, c.row, c.repo); err != nil {
		c.t.warn("the repository could not be measured: " + errkind.Text(err))
	}
	for _, p := range points {
		st := p.Stats
		res.Stats.Data, res.Stats.Read = res.Stats.Data+st.Data, res.Stats.Read+st.Read
		res.Stats.New, res.Stats.Stored = res.Stats.New+st.New, res.Stats.Stored+st.Stored
	}
	res.Summary = fmt.Sprintf("%s, %s stored in %s", diskCount(len(points)), amount(res.Stats.Stored), c.row.Name)
	c.t.result(res)
	return nil
}

// copyOf is the copy of a point in a repository. That of a VM's is the same
// whichever of the copies of its moment it is made from.
func copyOf(p Point, to volspec.RepositoryID) volspec.PointID {
	if vm := p.meta().VM; vm != nil {
		return copyID(vm.Origin, to)
	}
	return copyID(p.ID, to)
}

// leaveOpen takes out of found, the points of a repository that the catalog
// does not know, those of sets that a job is about to make whole.
func (s *Service) leaveOpen(ctx context.Context, r Repo, there []repository.Point, found map[volspec.PointID]bool) error {
	listed := map[volspec.PointID]bool{}
	for _, p := range there {
		listed[p.ID] = true
	}
	var part []volspec.PointID
	for _, p := range there {
		if !found[p.ID] {
			continue
		}
		vm := s.foundPoint(r, p).meta().VM
		if vm != nil && slices.ContainsFunc(vm.Disks, func(d machineDisk) bool { return !listed[d.Point] }) {
			part = append(part, p.ID)
		}
	}
	if len(part) == 0 {
		return nil
	}
	open, err := s.o.Jobs.List(ctx, job.Query{Group: r.Group, Open: true})
	if err != nil {
		return err
	}
	for _, j := range open {
		p := placesOf(j)
		if j.Kind == kindMachine && p.Repository == r.ID || j.Kind == kindCopy && p.To == r.ID {
			for _, id := range part {
				delete(found, id)
			}
			break
		}
	}
	return nil
}
