package backup

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// set is a recovery point of a VM: the points of its disks at one moment. It is
// complete when every disk that its points name has its point.
type set struct {
	id     volspec.PointID
	points []Point // in the order of the disks
	vm     *machineMeta
}

// setsOf puts points together, newest set first. What belongs to none is left
// out.
func setsOf(points []Point) (out []set) {
	at := map[volspec.PointID]int{}
	for _, p := range points {
		if p.Set == "" {
			continue
		}
		i, known := at[p.Set]
		if !known {
			i = len(out)
			at[p.Set] = i
			m := p.meta().VM
			if m == nil {
				m = &machineMeta{Set: p.Set, VM: p.VMID, Name: p.VM}
			}
			out = append(out, set{id: p.Set, vm: m})
		}
		out[i].points = append(out[i].points, p)
	}
	for _, x := range out {
		order := map[volspec.PointID]int{}
		for i, d := range x.vm.Disks {
			order[d.Point] = i
		}
		slices.SortFunc(x.points, func(a, b Point) int {
			return cmp.Or(cmp.Compare(order[a.ID], order[b.ID]), cmp.Compare(a.ID, b.ID))
		})
	}
	// Of one moment the original comes before its copies.
	slices.SortStableFunc(out, func(a, b set) int {
		x, y := a.head(), b.head()
		return cmp.Or(y.Created.Compare(x.Created), cmp.Compare(x.Body.Point.CopyOf, y.Body.Point.CopyOf))
	})
	return out
}

func (x set) head() Point { return x.points[0] }

// disk is the point of one disk, named by key or label.
func (x set) disk(name string) (machineDisk, Point, error) {
	for _, d := range x.vm.Disks {
		if d.Key != name && d.Label != name {
			continue
		}
		for _, p := range x.points {
			if p.ID == d.Point {
				return d, p, nil
			}
		}
	}
	var have []string
	for _, d := range x.vm.Disks {
		have = append(have, fmt.Sprintf("%s (%q)", d.Key, d.Label))
	}
	for _, l := range x.vm.LeftOut {
		if l.Key == name || l.Label == name {
			return machineDisk{}, Point{}, errkind.New(errkind.NotFound, "%s of VM %s is not in recovery point %s: %s", l.Label, x.vm.Name, x.id, l.Why)
		}
	}
	return machineDisk{}, Point{}, errkind.New(errkind.NotFound, "recovery point %s of VM %s has no disk %q: it has %s", x.id, x.vm.Name, name, strings.Join(have, ", "))
}

// missing are the disks that have no point.
func (x set) missing() (labels []string) {
	for _, d := range x.vm.Disks {
		if !slices.ContainsFunc(x.points, func(p Point) bool { return p.ID == d.Point && !p.Deleting }) {
			labels = append(labels, d.Label)
		}
	}
	return labels
}

// summary is a set as if it were the point of a volume: as good as its worst
// disk, held and verified as all of it is.
func (x set) summary() Point {
	h := x.head()
	p := Point{
		ID: x.id, Group: h.Group, Repository: h.Repository, Created: h.Created, State: volspec.Proven,
		Set: x.id, VMID: h.VMID, VM: h.VM, Volume: machineName(h.VM), Body: PointBody{Point: h.Body.Point, VerifiedAt: h.Body.VerifiedAt, ProvenAt: h.Body.ProvenAt},
	}
	st := repository.Stats{}
	p.Body.Point.Size = 0
	worst := []volspec.PointState{volspec.Damaged, volspec.Completed, volspec.Verified, volspec.Proven}
	for _, d := range x.points {
		if slices.Index(worst, d.State) < slices.Index(worst, p.State) {
			p.State = d.State
		}
		p.Hold, p.Deleting = p.Hold || d.Hold, p.Deleting || d.Deleting
		p.Body.Damage = cmp.Or(p.Body.Damage, d.Body.Damage)
		p.Body.VerifiedAt, p.Body.ProvenAt = earlier(p.Body.VerifiedAt, d.Body.VerifiedAt), earlier(p.Body.ProvenAt, d.Body.ProvenAt)
		p.Body.Point.Size += d.Body.Point.Size
		st.Data, st.Read, st.New, st.Stored = st.Data+d.Body.Point.Stats.Data, st.Read+d.Body.Point.Stats.Read, st.New+d.Body.Point.Stats.New, st.Stored+d.Body.Point.Stats.Stored
	}
	p.Body.Point.Stats = st
	if lacks := x.missing(); len(lacks) > 0 {
		p.State, p.Body.Damage = volspec.Damaged, "it is incomplete: "+strings.Join(lacks, ", ")+" has no point"
	}
	return p
}

// earlier is the earlier of two times; the zero one is before all.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && a.Before(b) {
		return a
	}
	return b
}

// setIn finds a set of a vmgroup by its id, or by vm/NAME and a moment.
func setIn(tx Tx, g volspec.VMGroupID, ref string) (set, error) {
	name, isVM := strings.CutPrefix(ref, machinePrefix)
	if !isVM {
		all, err := tx.Points(PointQuery{Group: g, Set: volspec.PointID(ref)})
		found := setsOf(all)
		if err == nil && (len(found) == 0 || found[0].summary().Deleting) {
			err = noPoint(ref)
		}
		if err != nil {
			return set{}, err
		}
		return found[0], nil
	}
	i := strings.LastIndexByte(name, '@')
	if i <= 0 {
		return set{}, errkind.New(errkind.Invalid, "%q is not a recovery point of a VM: write vm/NAME@latest or vm/NAME@time", ref)
	}
	at, err := parseMoment(name[i+1:])
	if err != nil {
		return set{}, err
	}
	all, err := tx.Points(PointQuery{Group: g, VM: name[:i], Before: at})
	if err != nil {
		return set{}, err
	}
	for _, x := range setsOf(all) {
		if x.summary().good() {
			return x, nil
		}
	}
	return set{}, noPoint(ref)
}

// setsOfMachine are the sets of a VM in a repository, newest first.
func (s *Service) setsOfMachine(ctx context.Context, r volspec.RepositoryID, vm volspec.VMID) (out []set, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		all, err := tx.Points(PointQuery{Repository: r, VMID: vm})
		out = setsOf(all)
		return err
	})
	return out, err
}

// summaries are sets as points.
func summaries(sets []set) []Point {
	out := make([]Point, 0, len(sets))
	for _, x := range sets {
		out = append(out, x.summary())
	}
	return out
}

func presentSet(x set, group, repo string) wire.Point {
	out := presentPoint(x.summary(), group, repo)
	out.Kind, out.VM, out.VMID = kindOfMachine, x.vm.Name, x.vm.VM
	out.VolumeID, out.FSType, out.Tracking = "", "", ""
	if out.CopyOf != "" {
		out.CopyOf = x.vm.Origin
	}
	var ways []string
	for _, d := range x.vm.Disks {
		w := wire.PointDisk{Key: d.Key, Label: d.Label, SizeBytes: int64(d.Size), Datastore: d.Datastore, Point: d.Point, State: stateMissing}
		for _, p := range x.points {
			if p.ID == d.Point {
				w.State, w.Damage, w.Tracking = string(p.State), p.Body.Damage, p.Body.Point.Tracking
				ways = append(ways, d.Label+": "+w.Tracking)
			}
		}
		out.Disks = append(out.Disks, w)
	}
	for _, l := range x.vm.LeftOut {
		out.Disks = append(out.Disks, wire.PointDisk{Key: l.Key, Label: l.Label, State: stateLeftOut, Damage: l.Why})
	}
	out.Tracking = strings.Join(ways, "; ")
	return out
}

// Kinds of points, and states that only disks of a VM's point have.
const (
	kindOfVolume  = "volume"
	kindOfMachine = "vm"
	stateMissing  = "missing"
	stateLeftOut  = "left-out"
)
