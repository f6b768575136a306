package backup

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// restoreParams say what a restore job does. InPlace is the name of the
// volume whose content is replaced; otherwise To is made.
type restoreParams struct {
	Point   volspec.PointID   `json:"point"`
	Name    string            `json:"name"` // of the point's volume
	Group   string            `json:"group"`
	Caller  volspec.Caller    `json:"caller"`
	To      wire.CreateVolume `json:"to"`
	InPlace string            `json:"in_place,omitempty"`
	Keep    string            `json:"keep,omitempty"` // name of the snapshot of the old content
}

// restoreNotes tell that an in-place restore was begun, in this attempt or an
// earlier one.
type restoreNotes struct {
	Begun bool `json:"begun"`
}

// restoreResult is what a restore leaves for people.
type restoreResult struct {
	Point   volspec.PointID `json:"point"`
	Volume  string          `json:"volume"`
	Kept    string          `json:"kept_snapshot,omitempty"`
	Summary string          `json:"summary"`
}

// Resolve finds a point for making a volume of it; see volume.Points.
func (s *Service) Resolve(ctx context.Context, g volspec.VMGroupID, name, ref string) (PointInfo, error) {
	var p Point
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		p, err = pointOf(tx, g, name, ref)
		return err
	})
	return info(p), err
}

func info(p Point) PointInfo {
	m := p.meta()
	return PointInfo{
		ID: p.ID, Volume: p.Volume, Created: p.Created, Size: volspec.Size(p.Body.Point.Size),
		Spec: m.Spec, FSUUID: m.FSUUID, FSSize: m.FSSize, Format: m.Format,
	}
}

// restoreWait is less than a plugin waits for an answer, or nobody would hear
// how far a restore is: that waits for 25 seconds, and Docker for 30.
const restoreWait = 20 * time.Second

// RestoreVolume makes a volume with the option restore-from as a job, and
// waits for it, but not longer than restoreWait. Repeated while the job runs: the
// same job. See volume.Points.
func (s *Service) RestoreVolume(ctx context.Context, c volspec.Caller, g volspec.VMGroup, req wire.CreateVolume) error {
	var p Point
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		n, err := volspec.ParseName(req.Name)
		if err != nil {
			return err
		}
		p, err = pointOf(tx, g.ID, n.Volume, req.Options["restore-from"])
		return err
	})
	if err != nil {
		return err
	}
	// The job resolves what was written again: "latest" may be newer by then.
	j, err := s.enqueueRestore(ctx, g, p, restoreParams{Point: p.ID, Name: p.Volume, Group: g.Name, Caller: c, To: req})
	if err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, restoreWait)
	defer cancel()
	j, err = s.o.Jobs.Wait(wait, j.ID)
	switch {
	case err != nil:
		return err
	case !j.Ended():
		return errkind.New(errkind.Unavailable, "volume %s is still being restored (%s): repeat the command, or watch it with `mooring job watch %s/%s`", req.Name, percent(j), g.Name, j.ID)
	}
	return j.Err()
}

// same reports whether two requests ask for the same restore.
func (p restoreParams) same(q restoreParams) bool {
	if p.InPlace != "" || q.InPlace != "" {
		return p.InPlace == q.InPlace && p.Point == q.Point
	}
	return maps.Equal(p.To.Options, q.To.Options)
}

func percent(j job.Job) string {
	if j.Progress.Total <= 0 {
		return "just begun"
	}
	return fmt.Sprintf("%d %%", j.Progress.Done*100/j.Progress.Total)
}

func (s *Service) enqueueRestore(ctx context.Context, g volspec.VMGroup, p Point, params restoreParams) (job.Job, error) {
	target := params.To.Name
	if params.InPlace != "" {
		target = params.InPlace
	}
	object := "restore " + target
	open, err := s.o.Jobs.List(ctx, job.Query{Group: g.ID, Kind: kindRestore, Object: object, Open: true})
	if err != nil {
		return job.Job{}, err
	}
	if len(open) > 0 {
		var have restoreParams
		j := open[0]
		if j.Read(&have) == nil && have.same(params) {
			return j, nil
		}
		return job.Job{}, errkind.New(errkind.InUse, "volume %s is being restored from another recovery point: wait for job %s, or cancel it", target, j.ID)
	}
	return s.enqueue(ctx, job.Job{Group: g.ID, Kind: kindRestore, Object: object, Priority: urgent}, params)
}

// RestorePoint brings a point back as a job: as a new volume by default.
func (s *Service) RestorePoint(ctx context.Context, c volspec.Caller, group, ref string, req wire.RunRestore) (wire.Job, error) {
	t, err := s.lookup(ctx, group, ref)
	if err != nil {
		return wire.Job{}, err
	}
	switch {
	case t.set == nil && t.point.Set != "" && req.InPlace: // one disk of a VM
		d := t.point.meta().VM
		if t, err = s.lookup(ctx, group, string(t.point.Set)); err != nil {
			return wire.Job{}, err
		}
		req.Disk = d.Key
	case t.set == nil && (req.Disk != "" || req.Datastore != "" || req.Host != ""):
		return wire.Job{}, errkind.New(errkind.Invalid, "disk, datastore and host are for the recovery point of a VM: leave them out, a volume's datastore is written behind its name")
	case t.set != nil && req.Disk != "" && !req.InPlace:
		if req.Datastore != "" || req.Host != "" {
			return wire.Job{}, errkind.New(errkind.Invalid, "one disk of a VM is restored as a volume: leave datastore and host out, and write NAME@DATASTORE")
		}
		if _, t.point, err = t.set.disk(req.Disk); err != nil {
			return wire.Job{}, err
		}
		t.set = nil
	}
	if t.set != nil {
		return s.restoreMachine(ctx, c, t, req)
	}
	p, g := t.point, t.group
	if p.State == volspec.Damaged {
		return wire.Job{}, errkind.New(errkind.Corrupt, "recovery point %s is damaged (%s): choose another, see `mooring backup ls`", p.ID, p.Body.Damage)
	}
	params := restoreParams{Point: p.ID, Name: p.Volume, Group: g.Name, Caller: c}
	if req.InPlace {
		if req.Name != "" || len(req.Options) > 0 {
			return wire.Job{}, errkind.New(errkind.Invalid, "a restore in place goes to the volume that the point is of: leave name and options out")
		}
		params.InPlace = volspec.Name{Volume: p.Volume, Datastore: p.Datastore}.String()
		params.Keep = "before-restore-" + now().Format("20060102T150405")
	} else if params.To, err = s.newVolume(ctx, g, p, req); err != nil {
		return wire.Job{}, err
	}
	j, err := s.enqueueRestore(ctx, g, p, params)
	if err != nil {
		return wire.Job{}, err
	}
	s.audit(ctx, c, g.Name, "backup restore", string(p.ID)+" to "+strings.TrimPrefix(j.Object, "restore "), nil)
	return s.presentJob(ctx, j, g.Name), nil
}

// newVolume names the volume of a restore and completes its options.
func (s *Service) newVolume(ctx context.Context, g volspec.VMGroup, p Point, req wire.RunRestore) (wire.CreateVolume, error) {
	to := wire.CreateVolume{Name: req.Name, Options: map[string]string{}}
	maps.Copy(to.Options, req.Options)
	for _, own := range []string{"restore-from", "view-of", "clone-from"} {
		if _, ok := to.Options[own]; ok {
			return to, errkind.New(errkind.Invalid, "option %s does not go with a restore: the point is named already", own)
		}
	}
	to.Options["restore-from"] = string(p.ID)
	if to.Name != "" {
		return to, nil
	}
	have, err := s.o.Volumes.Volumes(ctx, g.ID)
	if err != nil {
		return to, err
	}
	taken := map[string]bool{}
	for _, v := range have {
		taken[v.Name.Volume] = true
	}
	base := p.Volume
	if p.Set != "" { // NAME/LABEL
		base = strings.NewReplacer("/", "-", " ", "-", "@", "-", `\`, "-").Replace(base)
	}
	to.Name = base + "-restored"
	for i := 2; taken[to.Name]; i++ {
		to.Name = fmt.Sprintf("%s-restored-%d", base, i)
	}
	if p.Datastore != "" {
		to.Name += "@" + p.Datastore
	}
	return to, nil
}

// runRestore is the handler of restore jobs.
func (s *Service) runRestore(ctx context.Context, t task) error {
	var p restoreParams
	if err := t.params(&p); err != nil {
		return err
	}
	if err := t.stage(ctx, "restore"); err != nil {
		return err
	}
	ctx = withTask(ctx, t)
	res := restoreResult{Point: p.Point}
	if p.InPlace == "" {
		v, err := s.o.Volumes.Restore(ctx, RestoreTo{Caller: p.Caller, Group: p.Group, Request: p.To})
		if err != nil {
			return err
		}
		res.Volume, res.Summary = v.Name, fmt.Sprintf("volume %s is restored, %s", v.Name, volspec.Size(v.SizeBytes))
		t.result(res)
		return nil
	}
	pt, _, _, err := s.findPoint(ctx, p.Group, string(p.Point))
	if err != nil {
		return err
	}
	again, err := t.notes(new(restoreNotes))
	if err != nil {
		return err
	}
	if err := t.save(ctx, restoreNotes{Begun: true}); err != nil {
		return err
	}
	v, err := s.o.Volumes.Find(ctx, p.Caller, p.Group, p.InPlace)
	if err != nil {
		return err
	}
	if err := s.forgetMoments(ctx, v.ID); err != nil {
		return err
	}
	_, err = s.o.Volumes.RestoreInPlace(ctx, p.Caller, p.Group, p.InPlace, info(pt), p.Keep)
	if errkind.Is(err, errkind.Exists) && again {
		err = nil // an earlier attempt got as far as that: the snapshot is there when all is done
	}
	if err != nil {
		return err
	}
	res.Volume, res.Kept = p.InPlace, p.Keep
	res.Summary = fmt.Sprintf("volume %s has the content of %s again; what it held before is its snapshot %s", p.InPlace, pt.Created.Format(time.RFC3339), p.Keep)
	t.result(res)
	return nil
}

// Fill writes a point's content to a blank target; see volume.Points. Reads
// that fail, and a target that does not hold what was written, fail it.
func (s *Service) Fill(ctx context.Context, id volspec.PointID, _ volspec.VolumeID, to image.Target) error {
	var p Point
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		p, err = tx.Point(id)
		return err
	})
	if err != nil {
		return err
	}
	return s.with(ctx, p.Repository, func(_ Repo, rp repository.Repository) error {
		img, err := rp.Open(ctx, id)
		if err != nil {
			return err
		}
		defer img.Close() //nolint:errcheck // only read
		if to.Size() < img.Size() {
			return errkind.New(errkind.Invalid, "recovery point %s has %s and does not fit into %s: restore it to a larger volume", id, volspec.Size(img.Size()), volspec.Size(to.Size()))
		}
		report := func(done, total int64) {}
		if t, ok := taskOf(ctx); ok {
			report = func(done, total int64) { t.report(repository.Progress{Done: done, Total: total, Read: done}) }
		}
		return image.Copy(ctx, to, img, image.CopyOptions{Streams: s.o.Streams, Report: report})
	})
}

// CheckPolicy is nil when the vmgroup has a policy of that name.
func (s *Service) CheckPolicy(ctx context.Context, g volspec.VMGroupID, name string) error {
	return s.o.Store.View(ctx, func(tx Tx) error {
		_, err := tx.PolicyByName(g, name)
		if errkind.Is(err, errkind.NotFound) {
			err = errkind.New(errkind.NotFound, "backup policy %s does not exist in this vmgroup: see `mooring backup policy ls`", name)
		}
		return err
	})
}

// copySpace is the namespace of the ids of copies.
var copySpace = uuid.MustParse("7b0f5c8e-8f0c-5d7e-9a54-4f8f4f2f4b7a")

func copyID(p volspec.PointID, to volspec.RepositoryID) volspec.PointID {
	return volspec.PointID(uuid.NewSHA1(copySpace, []byte(string(p)+"/"+string(to))).String())
}
