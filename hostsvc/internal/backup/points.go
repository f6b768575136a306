package backup

import (
	"cmp"
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// PointFilter selects recovery points; zero fields select everything. Volume
// is also vm/NAME.
type PointFilter struct {
	Volume, Repository, After string
	Limit                     int
}

const (
	defaultPage = 200
	maxPage     = 1000
)

func pageSize(n int) int {
	if n <= 0 {
		return defaultPage
	}
	return min(n, maxPage)
}

// Points is one page of a vmgroup's points, newest first.
func (s *Service) Points(ctx context.Context, group string, f PointFilter) (wire.PointList, error) {
	q := PointQuery{Limit: pageSize(f.Limit) + 1, Heads: true}
	if name, isVM := strings.CutPrefix(f.Volume, machinePrefix); isVM {
		q.VM = name
	} else if f.Volume != "" {
		n, err := volspec.ParseName(f.Volume)
		if err != nil {
			return wire.PointList{}, err
		}
		q.Volume = n.Volume
	}
	if f.After != "" {
		var err error
		if q.Before, q.BeforeID, err = parseCursor(f.After); err != nil {
			return wire.PointList{}, err
		}
	}
	var page []Point
	sets := map[volspec.PointID]set{}
	repos := map[volspec.RepositoryID]string{}
	err := s.inGroup(ctx, group, func(tx Tx, g volspec.VMGroup) error {
		q.Group = g.ID
		all, err := tx.Repositories(g.ID)
		if err != nil {
			return err
		}
		for _, r := range all {
			repos[r.ID] = r.Name
		}
		if f.Repository != "" {
			r, err := tx.RepositoryByName(g.ID, f.Repository)
			if err != nil {
				return err
			}
			q.Repository = r.ID
		}
		if page, err = tx.Points(q); err != nil {
			return err
		}
		for _, p := range page {
			if p.Set == "" {
				continue
			}
			all, err := tx.Points(PointQuery{Group: g.ID, Set: p.Set})
			if err != nil {
				return err
			}
			sets[p.Set] = setsOf(all)[0]
		}
		return nil
	})
	out := wire.PointList{Points: []wire.Point{}}
	for i, p := range page {
		if i == pageSize(f.Limit) {
			last := page[i-1]
			out.Next = cursor(last.Created, string(last.ID))
			break
		}
		if p.Set != "" {
			out.Points = append(out.Points, presentSet(sets[p.Set], group, repos[p.Repository]))
			continue
		}
		out.Points = append(out.Points, presentPoint(p, group, repos[p.Repository]))
	}
	return out, err
}

// cursor is the place of a row ordered by time and id.
func cursor(t time.Time, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(t.UnixNano(), 10) + " " + id))
}

func parseCursor(s string) (time.Time, volspec.PointID, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	at, id, ok := strings.Cut(string(b), " ")
	ns, nerr := strconv.ParseInt(at, 10, 64)
	if err != nil || nerr != nil || !ok || uuid.Validate(id) != nil {
		return time.Time{}, "", errkind.New(errkind.Invalid, "the cursor %.40q is not valid: use the next of the page before", s)
	}
	return time.Unix(0, ns).UTC(), volspec.PointID(id), nil
}

func presentPoint(p Point, group, repo string) wire.Point {
	m, st := p.meta(), p.Body.Point.Stats
	name := volspec.Name{Volume: p.Volume, Datastore: p.Datastore}
	return wire.Point{
		ID: p.ID, Kind: kindOfVolume, VM: p.VM, VMID: p.VMID, VMGroup: group, Repository: repo, Volume: name.String(), VolumeID: p.VolumeID,
		Created: p.Created, State: p.State, Consistency: p.Body.Point.Consistency, Hold: p.Hold,
		SizeBytes: p.Body.Point.Size, DataBytes: st.Data, ReadBytes: st.Read, NewBytes: st.New, StoredBytes: st.Stored,
		Tracking: p.Body.Point.Tracking, StallMS: m.StallMS, FSType: m.Spec.FSType, CopyOf: p.Body.Point.CopyOf,
		VerifiedAt: p.Body.VerifiedAt, ProvenAt: p.Body.ProvenAt, Damage: p.Body.Damage, Policy: m.Policy,
	}
}

// Point describes one.
func (s *Service) Point(ctx context.Context, group, ref string) (wire.Point, error) {
	t, err := s.lookup(ctx, group, ref)
	if err != nil {
		return wire.Point{}, err
	}
	return t.present(), nil
}

// SetPoint sets or ends a hold: a held point is removed by nobody.
func (s *Service) SetPoint(ctx context.Context, c volspec.Caller, group, ref string, req wire.SetPoint) (wire.Point, error) {
	t, err := s.lookup(ctx, group, ref)
	if err == nil {
		err = t.part()
	}
	if err != nil {
		return wire.Point{}, err
	}
	if req.Hold == nil {
		return wire.Point{}, errkind.New(errkind.Invalid, "nothing to change on recovery point %s: hold can be set", t.point.ID)
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		rows := t.rows()
		for i := range rows {
			if rows[i], err = tx.Point(rows[i].ID); err != nil || rows[i].Deleting {
				return noPoint(ref)
			}
			rows[i].Hold = *req.Hold
			if err := tx.PutPoint(rows[i]); err != nil {
				return err
			}
		}
		action := "point release"
		if *req.Hold {
			action = "point hold"
		}
		return tx.AddAudit(entry(ctx, c, t.group.Name, action, string(t.point.ID)))
	})
	t.point.Hold = *req.Hold
	return t.present(), err
}

// DeletePoint removes a point for good. A held one, or one that a volume
// shows, is in-use.
func (s *Service) DeletePoint(ctx context.Context, c volspec.Caller, group, ref string) error {
	t, err := s.lookup(ctx, group, ref)
	if err == nil {
		err = t.part()
	}
	if err != nil {
		return err
	}
	return s.with(ctx, t.repo.ID, func(_ Repo, rp repository.Repository) error {
		return s.dropPoints(ctx, rp, t.rows(), func(tx Tx) error {
			return tx.AddAudit(entry(ctx, c, t.group.Name, "point rm", string(t.point.ID)))
		})
	})
}

// dropPoint is dropPoints of one.
func (s *Service) dropPoint(ctx context.Context, rp repository.Repository, p Point, also func(Tx) error) error {
	return s.dropPoints(ctx, rp, []Point{p}, also)
}

// dropPoints records the intent for all of them, deletes the points in the
// repository and forgets them. also runs with the intent.
func (s *Service) dropPoints(ctx context.Context, rp repository.Repository, points []Point, also func(Tx) error) error {
	for _, p := range points {
		views, err := s.o.Volumes.ViewsOf(ctx, p.ID)
		if err != nil {
			return err
		}
		if len(views) > 0 {
			return errkind.New(errkind.InUse, "recovery point %s is shown by volume %s: remove that volume first", p.ID, strings.Join(views, ", "))
		}
	}
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		for _, p := range points {
			have, err := tx.Point(p.ID)
			if errkind.Is(err, errkind.NotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if have.Hold {
				return errkind.New(errkind.InUse, "recovery point %s is held: release it first with `mooring backup release`", cmp.Or(p.Set, p.ID))
			}
			have.Deleting = true
			if err := tx.PutPoint(have); err != nil {
				return err
			}
		}
		return also(tx)
	})
	if err != nil {
		return err
	}
	crashpoint.Here("backup.point.intent")
	for _, p := range points {
		s.sessions.dropPoint(ctx, p.ID)
		if err := rp.Delete(ctx, p.ID); err != nil {
			return err
		}
		crashpoint.Here("backup.point.deleted")
		if err := s.o.Store.Update(ctx, func(tx Tx) error { return tx.DeletePoint(p.ID) }); err != nil {
			return err
		}
		log.G(ctx).WithField("point", string(p.ID)).Info("recovery point removed")
		if err := s.clear(ctx, p.Group, alarmDamage, string(p.ID), ""); err != nil {
			return err
		}
	}
	return nil
}

// finishDeletes completes the removals that a crash interrupted.
func (s *Service) finishDeletes(ctx context.Context, r Repo, rp repository.Repository) error {
	var open []Point
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		open, err = tx.Points(PointQuery{Repository: r.ID, Deleting: true})
		return err
	})
	for _, p := range open {
		if err == nil {
			err = s.dropPoint(ctx, rp, p, func(Tx) error { return nil })
		}
	}
	return err
}
