package volume

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// restore is Create with restore-from: a job makes the volume, and this waits
// for it in the caller's time. What can be refused is refused before.
func (s *Service) restore(ctx context.Context, c volspec.Caller, group string, req wire.CreateVolume, q order) (wire.Volume, error) {
	if q.have != nil && q.have.State == volspec.Ready {
		return s.asBefore(ctx, q)
	}
	p, err := s.resolve(ctx, &q)
	if err != nil {
		return wire.Volume{}, err
	}
	size, err := s.restoredSize(ctx, q, p)
	if err != nil {
		return wire.Volume{}, err
	}
	if _, err := s.imager(); err != nil {
		return wire.Volume{}, err
	}
	err = s.o.Store.View(ctx, func(tx Tx) error {
		t, err := s.locate(tx, c, group, q.name, q.stores)
		if err != nil {
			return err
		}
		if q.have != nil { // its job is at work: it counts in the usage already
			return satisfies(*q.have, q.spec, q.point)
		}
		return s.check(tx, c, t, volspec.DoCreate, size, size)
	})
	if err != nil {
		return wire.Volume{}, err
	}
	if err := s.o.Points.Restore(ctx, c, q.group, req); err != nil {
		return wire.Volume{}, err
	}
	var r Record
	err = s.o.Store.View(ctx, func(tx Tx) error {
		r, err = tx.VolumeByKey(q.key)
		return err
	})
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.Unavailable, "volume %s was restored and removed again meanwhile: repeat the command", q.name)
	}
	if err != nil {
		return wire.Volume{}, err
	}
	return s.present(ctx, r)
}

// restoredSize is the size of the volume that q makes of p.
func (s *Service) restoredSize(ctx context.Context, q order, p Point) (volspec.Size, error) {
	if q.spec.Size != 0 && q.spec.Size < p.Size {
		return 0, errkind.New(errkind.Invalid, "volume %s cannot be %s: the recovery point has %s; ask for that or more, or leave the size out", q.name, q.spec.Size, p.Size)
	}
	return s.rounded(ctx, q.key.Datastore, max(q.spec.Size, p.Size))
}

// CreateRestored makes a volume of a recovery point; it is what the job of
// Points.Restore calls. The request is that of Create, with restore-from. It
// takes as long as it takes and ends with ctx; then, after a failure and after
// a crash nothing is left. Repeated when the volume is there: a success.
func (s *Service) CreateRestored(ctx context.Context, c volspec.Caller, group string, req wire.CreateVolume) (wire.Volume, error) {
	leave, err := s.enter("restoring volume " + req.Name)
	if err != nil {
		return wire.Volume{}, err
	}
	defer leave()
	q, err := s.understand(ctx, c, group, req)
	switch {
	case err != nil:
		return wire.Volume{}, err
	case q.spec.RestoreFrom == "":
		return wire.Volume{}, errkind.New(errkind.Invalid, "volume %s cannot be restored: the request names no recovery point in restore-from", q.name)
	case q.have != nil && q.have.State == volspec.Ready:
		return s.asBefore(ctx, q)
	}
	im, err := s.imager()
	if err != nil {
		return wire.Volume{}, err
	}
	p, err := s.resolve(ctx, &q)
	if err != nil {
		return wire.Volume{}, err
	}
	size, err := s.restoredSize(ctx, q, p)
	if err != nil {
		return wire.Volume{}, err
	}
	rec := s.newRecord(c, q.spec, OpRestore)
	p.describe(&rec, size)

	unlock, err := s.lock(ctx, lockKey{id: rec.ID}, "restore")
	if err != nil {
		return wire.Volume{}, err
	}
	existing, err := s.reserveName(ctx, c, group, q, &rec)
	if err != nil || existing != nil {
		unlock()
		if err != nil {
			return wire.Volume{}, err
		}
		return s.present(ctx, *existing)
	}
	crashpoint.Here("volume.restore.intent")
	return s.makeRestored(ctx, im, rec, p, unlock)
}

// reserveName is reserve under the lock of the name, which a restore does not
// keep: whoever wants the name meanwhile is told at once what is going on.
func (s *Service) reserveName(ctx context.Context, c volspec.Caller, group string, q order, rec *Record) (*Record, error) {
	unlock, err := s.lock(ctx, lockKey{key: q.key}, "restore")
	if err != nil {
		return nil, err
	}
	defer unlock()
	return s.reserve(ctx, c, group, q, rec)
}

// makeRestored is deed and record of a restore to a new volume, whose lock it
// is given.
func (s *Service) makeRestored(ctx context.Context, im hypervisor.Imager, rec Record, p Point, unlock func()) (v wire.Volume, err error) {
	u := undo.New()
	defer func() {
		err = joined(err, u.Run(ctx))
		if unlock != nil {
			unlock()
		}
	}()
	u.Add("forget the volume", func(ctx context.Context) error { return s.dropDisk(ctx, rec) })
	err = s.apart(ctx, rec.ID, &unlock, func() error {
		if err := s.putMeta(ctx, asReady(rec)); err != nil {
			return err
		}
		crashpoint.Here("volume.restore.meta")
		return im.Build(ctx, rec.ref(), rec.Size, rec.Spec.DiskFormat, "", s.fill(rec, p))
	})
	if unlock == nil {
		u.Keep() // without the lock: see apart
	}
	if err != nil {
		return v, err
	}
	crashpoint.Here("volume.restore.disk")
	used := s.allocated(ctx, rec)
	rec, err = s.end(ctx, rec.ID, func(r *Record) { r.State, r.Used = volspec.Ready, used })
	if err != nil {
		return v, err
	}
	u.Keep()
	crashpoint.Here("volume.restore.done")
	log.G(log.With(ctx, log.Volume, rec.Name().String(), log.Datastore, rec.Key.Datastore)).Info("volume restored from a recovery point")
	return s.present(ctx, rec)
}

func (s *Service) fill(rec Record, p Point) func(context.Context, image.Target) error {
	return func(ctx context.Context, to image.Target) error { return s.o.Points.Fill(ctx, p.ID, rec.ID, to) }
}
