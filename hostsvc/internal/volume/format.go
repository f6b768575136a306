package volume

import (
	"context"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// SetFormat records a step of a disk's only formatting, for the VM that holds
// it under the epoch named. Formatting is granted once per blank disk: a
// guest that asks again has lost its way and must detach and attach, which
// gives it a new blank disk. A grant that was not used is given back with
// Blank, which keeps the disk. Formatted and Blank can be repeated.
func (s *Service) SetFormat(ctx context.Context, c volspec.Caller, name string, req wire.SetFormat) error {
	_, err := do(ctx, s, "formatting volume "+name, func(ctx context.Context) (struct{}, error) {
		r, found, err := s.heldAs(ctx, c, name)
		if err == nil && !found {
			n, _ := volspec.ParseName(name)
			err = absent(n)
		}
		if err != nil {
			return struct{}{}, err
		}
		unlock, err := s.lock(ctx, lockKey{id: r.ID}, "format")
		if err != nil {
			return struct{}{}, err
		}
		defer unlock()
		return struct{}{}, s.setFormat(ctx, c, r, req)
	})
	return err
}

func (s *Service) setFormat(ctx context.Context, c volspec.Caller, r Record, req wire.SetFormat) error {
	r, err := s.update(ctx, r.ID, func(_ Tx, r *Record) error {
		if r.Holder.VM != c.VM || r.Holder.Epoch != req.Epoch || r.Op.Kind != "" {
			return errkind.New(errkind.InUse, "volume %s: this attachment has ended, attach it again before formatting", r.Name())
		}
		if err := formatStep(*r, req.State); err != nil {
			return err
		}
		if r.Format != req.State {
			r.Format, r.MetaStale = req.State, true
		}
		return nil
	})
	if err != nil || !r.MetaStale {
		return err
	}
	crashpoint.Here("volume.format." + string(req.State))
	err = s.refreshMeta(ctx, r)
	if err != nil && req.State == volspec.Formatted {
		// The record beside the disk says formatting, which is read as: not blank.
		log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("metadata beside the disk is stale, it is written again later")
		return nil
	}
	return err
}

// formatStep is the pure rule of SetFormat.
func formatStep(r Record, to volspec.Format) error {
	switch {
	case to == volspec.Formatting && r.Format == volspec.Blank && !r.Holder.ReadOnly:
		return nil
	case to == volspec.Formatted && r.Format != volspec.Blank:
		return nil
	case to == volspec.Blank && r.Format != volspec.Formatted:
		return nil
	case to != volspec.Formatting && to != volspec.Formatted && to != volspec.Blank:
		return errkind.New(errkind.Invalid, "format state %q is not valid: it is formatting, formatted or blank", to)
	case to == volspec.Formatted:
		return errkind.New(errkind.Invalid, "volume %s was not granted to be formatted", r.Name())
	case r.Format == volspec.Formatting:
		return errkind.New(errkind.InUse, "volume %s: formatting was already granted; detach and attach it to start over with a blank disk", r.Name())
	}
	return errkind.New(errkind.Exists, "volume %s is already formatted and is never formatted again", r.Name())
}
