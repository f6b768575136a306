package volume

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Create makes a volume, or a clone. The same name with nothing different
// asked for is a success; with other options it is errkind.Exists.
func (s *Service) Create(ctx context.Context, c volspec.Caller, group string, req wire.CreateVolume) (wire.Volume, error) {
	v, err := s.create(ctx, c, group, req)
	if k := errkind.Of(err); k == errkind.Denied || k == errkind.Quota {
		s.audit(ctx, c, group, "volume create", req.Name, err)
	}
	return v, err
}

func (s *Service) create(ctx context.Context, c volspec.Caller, group string, req wire.CreateVolume) (wire.Volume, error) {
	q, err := s.understand(ctx, c, group, req)
	switch {
	case err != nil:
		return wire.Volume{}, err
	case q.spec.RestoreFrom != "":
		return s.restore(ctx, c, group, req, q)
	}
	return do(ctx, s, "creating volume "+q.name.String(), func(ctx context.Context) (wire.Volume, error) {
		unlock, err := s.lock(ctx, lockKey{key: q.key}, "create")
		if err != nil {
			return wire.Volume{}, err
		}
		defer unlock()
		if q.spec.ViewOf != "" {
			return s.createView(ctx, c, group, q)
		}
		return s.createLocked(ctx, c, group, q)
	})
}

// order is what a request to create was understood as.
type order struct {
	name   volspec.Name
	spec   volspec.Spec
	stores []string
	group  volspec.VMGroup
	key    Key
	have   *Record // the live volume of that name at that time
	point  volspec.PointID
}

// understand reads a request to create. It decides nothing about rights and
// quota.
func (s *Service) understand(ctx context.Context, c volspec.Caller, group string, req wire.CreateVolume) (order, error) {
	name, nameErr := volspec.ParseName(req.Name)
	spec, err := volspec.ParseOptions(req.Options)
	if nameErr != nil || err != nil {
		return order{}, both(nameErr, err)
	}
	if spec.Datastore != "" {
		if name.Datastore != "" && !strings.EqualFold(name.Datastore, spec.Datastore) {
			return order{}, errkind.New(errkind.Invalid, "volume %s asks for datastore %s in its name and for %s in its options: name one", req.Name, name.Datastore, spec.Datastore)
		}
		name.Datastore = spec.Datastore
	}
	q := order{name: name}
	if q.stores, err = s.storeNames(ctx); err != nil {
		return order{}, err
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		t, err := s.locate(tx, c, group, name, q.stores)
		if err != nil {
			return err
		}
		q.group, q.key, q.have = t.rights.Group, t.key, nil
		have, err := tx.VolumeByKey(t.key)
		if err == nil {
			q.have = &have
		} else if !errkind.Is(err, errkind.NotFound) {
			return err
		} else if err := name.CheckNew(); err != nil {
			return err
		}
		if c.Names() {
			return nil
		}
		return s.sameAsWritten(tx, c, req.Name, t, q.stores)
	})
	if err != nil {
		return order{}, err
	}
	if err := s.checkPolicy(ctx, q.key.Datastore, spec); err != nil {
		return order{}, err
	}
	spec.Datastore = ""
	if spec.Size, err = s.rounded(ctx, q.key.Datastore, spec.Size); err != nil {
		return order{}, err
	}
	q.spec = spec
	return q, s.backupOptions(ctx, q)
}

// sameAsWritten refuses a datastore in the options that is not the one which
// the name alone means. Docker uses only the name afterwards: it would not
// find the volume, take the name for a new one and write to a local volume.
func (s *Service) sameAsWritten(tx Tx, c volspec.Caller, written string, t target, stores []string) error {
	name, err := volspec.ParseName(written)
	if err != nil || name.Datastore != "" {
		return err
	}
	if alone, err := s.locate(tx, c, "", name, stores); err == nil && alone.key == t.key {
		return nil
	}
	return errkind.New(errkind.Invalid, "volume %s cannot be on datastore %s, since its name alone means another one: write the name as %s@%s", name.Volume, t.key.Datastore, name.Volume, t.key.Datastore)
}

// both joins two problems of one request into one sentence.
func both(a, b error) error {
	if a == nil || b == nil {
		return joined(a, b)
	}
	return errkind.New(errkind.Invalid, "%s; %s", errkind.Text(a), errkind.Text(b))
}

// source is what a clone is made of.
type source struct {
	rec  Record
	snap volspec.SnapshotID
}

func (s *Service) createLocked(ctx context.Context, c volspec.Caller, group string, q order) (wire.Volume, error) {
	src, unlock, err := s.cloneSource(ctx, c, group, q.name, q.spec, q.stores)
	if err != nil {
		return wire.Volume{}, err
	}
	defer unlock()

	rec := s.newRecord(c, q.spec, OpCreate)
	if src != nil {
		rec.Op.Kind = OpClone
		size, err := s.rounded(ctx, q.key.Datastore, src.rec.Size)
		if err != nil {
			return wire.Volume{}, err
		}
		src.describe(&rec, size)
	}
	// Whoever finds the record before it is ready waits for this lock.
	unlockID, err := s.lock(ctx, lockKey{id: rec.ID}, "create")
	if err != nil {
		return wire.Volume{}, err
	}
	defer unlockID()

	existing, err := s.reserve(ctx, c, group, q, &rec)
	switch {
	case err != nil:
		return wire.Volume{}, err
	case existing != nil:
		return s.present(ctx, *existing)
	}
	crashpoint.Here("volume.create.intent")
	if err := s.makeDisk(ctx, rec, src); err != nil {
		return wire.Volume{}, err
	}
	log.G(log.With(ctx, log.Volume, rec.Name().String(), log.Datastore, rec.Key.Datastore)).Info("volume created")
	rec.State, rec.Op = volspec.Ready, Op{}
	return s.present(ctx, rec)
}

// newRecord is a volume that is about to be made.
func (s *Service) newRecord(c volspec.Caller, spec volspec.Spec, op OpKind) Record {
	rec := Record{
		ID: volspec.VolumeID(uuid.NewString()), State: volspec.Creating, Format: volspec.Blank,
		Spec: spec.Defaulted(), FSUUID: uuid.NewString(), Created: now(), CreatedBy: c.VMName,
		Op: Op{Kind: op, Instance: s.o.Instance, Started: now()},
	}
	rec.Size = rec.Spec.Size
	switch {
	case c.Admin:
		rec.CreatedBy = "admin"
	case c.Names():
		rec.CreatedBy = c.Actor
	}
	return rec
}

// reserve writes the intent, with rights and quota checked in the same
// transaction. An existing volume that satisfies q is returned instead.
func (s *Service) reserve(ctx context.Context, c volspec.Caller, group string, q order, rec *Record) (*Record, error) {
	for {
		var existing *Record
		var leftover volspec.VolumeID
		err := s.o.Store.Update(ctx, func(tx Tx) error {
			existing, leftover = nil, ""
			t, err := s.locate(tx, c, group, q.name, q.stores)
			if err != nil {
				return err
			}
			old, err := tx.VolumeByKey(t.key)
			if err == nil {
				if old.State == volspec.Creating {
					leftover = old.ID
					return nil
				}
				existing = &old
				return satisfies(old, q.spec, q.point)
			}
			if !errkind.Is(err, errkind.NotFound) {
				return err
			}
			room := rec.Size
			if rec.ViewOf != "" {
				room = 0
			}
			if err := s.check(tx, c, t, volspec.DoCreate, room, rec.Size); err != nil {
				return err
			}
			rec.Key = t.key
			if err := tx.AddAudit(s.entry(ctx, c, t.rights.Group.Name, "volume create", rec.Name().String())); err != nil {
				return err
			}
			return tx.PutVolume(*rec)
		})
		if err != nil || leftover == "" {
			if err == nil && existing == nil {
				err = s.onlineOrForget(ctx, *rec)
			}
			return existing, err
		}
		// Its maker died, or its undoing failed: settle it, then try again.
		if err := s.settleLocked(ctx, leftover); err != nil {
			return nil, err
		}
	}
}

// onlineOrForget takes the reservation back when the datastore is away.
func (s *Service) onlineOrForget(ctx context.Context, rec Record) error {
	err := s.online(ctx, rec.ref().Datastore, rec.ViewOf == "")
	if err == nil {
		return nil
	}
	return joined(err, s.o.Store.Update(ctx, func(tx Tx) error { return tx.DeleteVolume(rec.ID) }))
}

// satisfies refuses to take an existing volume for one with other options.
// point is what the wanted one is to be made of, "" where that is not known.
func satisfies(have Record, want volspec.Spec, point volspec.PointID) error {
	not := func(what, from string) error {
		return errkind.New(errkind.Exists, "volume %s already exists and is not %s %s: choose another name", have.Name(), what, from)
	}
	switch {
	case want.CloneFrom != "" && have.CloneFrom != want.CloneFrom:
		return not("a clone of", want.CloneFrom)
	case want.RestoreFrom != "" && !sameRef(have.Spec.RestoreFrom, want.RestoreFrom, point):
		return not("restored from", want.RestoreFrom)
	case want.ViewOf != "" && !sameRef(have.Spec.ViewOf, want.ViewOf, "") && (point == "" || have.ViewOf != point):
		return not("a view of", want.ViewOf)
	}
	want.CloneFrom, want.FromSnapshot, want.RestoreFrom, want.ViewOf = "", "", "", ""
	haveSpec := have.Spec
	haveSpec.Size = have.Size
	if diff := want.Conflicts(haveSpec); len(diff) > 0 {
		return errkind.New(errkind.Exists, "volume %s already exists with other options: %s; remove it first or choose another name", have.Name(), strings.Join(diff, ", "))
	}
	return nil
}

// sameRef reports whether a volume made of the recovery point that was written
// as have is what want asks for. There are always newer points: latest is
// satisfied by any.
func sameRef(have, want string, point volspec.PointID) bool {
	return have != "" && (want == have || want == latest || have == string(point))
}

// makeDisk does the deed of a create or clone and records the result; on
// failure nothing is left.
func (s *Service) makeDisk(ctx context.Context, rec Record, src *source) (err error) {
	u := undo.New()
	defer func() { err = joined(err, u.Run(ctx)) }()
	u.Add("forget the volume", func(ctx context.Context) error { return s.dropDisk(ctx, rec) })

	if err = s.putMeta(ctx, asReady(rec)); err != nil {
		return err
	}
	crashpoint.Here("volume.create.meta")
	if src == nil {
		err = s.newDisk(ctx, rec)
	} else {
		err = s.o.Hypervisor.Clone(ctx, src.rec.ref(), src.snap, rec.ref(), rec.Spec.DiskFormat)
	}
	if err != nil {
		return err
	}
	crashpoint.Here("volume.create.disk")
	used := s.allocated(ctx, rec)
	_, err = s.end(ctx, rec.ID, func(r *Record) { r.State, r.Used = volspec.Ready, used })
	if err != nil {
		return err
	}
	u.Keep()
	crashpoint.Here("volume.create.done")
	return nil
}

func asReady(r Record) Record {
	r.State, r.Op = volspec.Ready, Op{}
	return r
}

// dropDisk deletes a disk and, only when that succeeded, its record. A view
// has none: it ends.
func (s *Service) dropDisk(ctx context.Context, r Record) error {
	drop := s.o.Hypervisor.Delete
	if r.ViewOf != "" {
		drop = func(ctx context.Context, _ hypervisor.Ref) error { return s.closeView(ctx, r) }
	}
	if err := drop(ctx, r.ref()); err != nil {
		return err
	}
	crashpoint.Here("volume.delete.disk")
	return s.o.Store.Update(ctx, func(tx Tx) error { return tx.DeleteVolume(r.ID) })
}
