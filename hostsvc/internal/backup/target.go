package backup

import (
	"context"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// target is what a user means by a recovery point: that of a volume, that of
// one disk of a VM, or with set that of a whole VM.
type target struct {
	point Point
	set   *set
	repo  Repo
	group volspec.VMGroup
}

// rows are the points in the catalog that the target is made of.
func (t target) rows() []Point {
	if t.set != nil {
		return t.set.points
	}
	return []Point{t.point}
}

func (t target) present() wire.Point {
	if t.set != nil {
		return presentSet(*t.set, t.group.Name, t.repo.Name)
	}
	return presentPoint(t.point, t.group.Name, t.repo.Name)
}

// lookup resolves what a user wrote for a point: its id, or volume@time,
// volume@latest, vm/NAME@time, vm/NAME@latest. Another vmgroup's and none at all
// are the same not-found.
func (s *Service) lookup(ctx context.Context, group, ref string) (t target, err error) {
	err = s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		t = target{group: g}
		if !strings.HasPrefix(ref, machinePrefix) {
			t.point, err = pointOf(tx, g.ID, "", ref)
		}
		if strings.HasPrefix(ref, machinePrefix) || errkind.Is(err, errkind.NotFound) {
			x, err := setIn(tx, g.ID, ref)
			if err != nil {
				return err
			}
			t.set, t.point = &x, x.summary()
		} else if err != nil {
			return err
		}
		t.repo, err = tx.Repository(t.point.Repository)
		return err
	})
	return t, err
}

// findPoint resolves what a user wrote for the point of one disk.
func (s *Service) findPoint(ctx context.Context, group, ref string) (Point, Repo, volspec.VMGroup, error) {
	t, err := s.lookup(ctx, group, ref)
	if err == nil && t.set != nil {
		err = errkind.New(errkind.Invalid, "recovery point %s is of the whole VM %s: name the point of one of its disks, see `mooring backup inspect`", t.set.id, t.set.vm.Name)
	}
	return t.point, t.repo, t.group, err
}

// part refuses what can only be done to all disks of a VM's point.
func (t target) part() error {
	if t.set == nil && t.point.Set != "" {
		return errkind.New(errkind.Invalid, "recovery point %s is of one disk of VM %s: name the point of the whole VM, %s", t.point.ID, t.point.VM, t.point.Set)
	}
	return nil
}

// whole is part, and refuses a VM's point of which disks are missing.
func (t target) whole() error {
	if t.set == nil {
		return t.part()
	}
	if lacks := t.set.missing(); len(lacks) > 0 {
		return errkind.New(errkind.Corrupt, "recovery point %s of VM %s is incomplete, %s has no point: choose another, or restore single disks of it", t.set.id, t.set.vm.Name, strings.Join(lacks, ", "))
	}
	return nil
}

func noPoint(ref string) error {
	return errkind.New(errkind.NotFound, "Recovery point %s not found: see `mooring backup ls`", ref)
}

// pointOf is findPoint inside a transaction. name is what "latest" alone
// means.
func pointOf(tx Tx, g volspec.VMGroupID, name, ref string) (Point, error) {
	if name != "" && (ref == latest || ref == "") {
		return newestOf(tx, g, name, time.Time{}, name+"@"+latest)
	}
	if i := strings.LastIndexByte(ref, '@'); i > 0 {
		at, err := parseMoment(ref[i+1:])
		if err != nil {
			return Point{}, err
		}
		return newestOf(tx, g, ref[:i], at, ref)
	}
	p, err := tx.Point(volspec.PointID(ref))
	if errkind.Is(err, errkind.NotFound) || err == nil && (p.Group != g || p.Deleting) {
		return Point{}, noPoint(ref)
	}
	return p, err
}

const latest = "latest"

// newestOf is the newest good point of a volume, at or before a moment. A
// name with a datastore means only the volume there.
func newestOf(tx Tx, g volspec.VMGroupID, name string, at time.Time, ref string) (Point, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return Point{}, err
	}
	all, err := tx.Points(PointQuery{Group: g, Volume: n.Volume, Before: at})
	if err != nil {
		return Point{}, err
	}
	for _, p := range all {
		if p.good() && (n.Datastore == "" || n.Datastore == p.Datastore) {
			return p, nil
		}
	}
	return Point{}, noPoint(ref)
}

// moments are the forms in which a user writes a time; without a zone it is
// that of the service.
var moments = []string{time.RFC3339Nano, time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04"}

// parseMoment reads the part behind the @: latest is the zero time, a date
// alone the end of that day.
func parseMoment(s string) (time.Time, error) {
	if s == latest {
		return time.Time{}, nil
	}
	for _, form := range moments {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			if form == "2006-01-02T15:04" || form == "2006-01-02 15:04" {
				t = t.Add(time.Minute - time.Nanosecond)
			}
			return t, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, errkind.New(errkind.Invalid, "%q is not a moment: write volume@latest, or volume@time such as db@2026-11-24, db@2026-11-24T10:00 or db@2026-11-24T10:00:00Z", s)
}
