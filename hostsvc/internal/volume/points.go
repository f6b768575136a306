package volume

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// latest is the reference to the newest recovery point, see Points.Resolve.
const latest = "latest"

// backupOptions refuses options about backup that cannot be had. A policy is
// looked for only when the volume is still to be made: for one that exists the
// question is whether it has that policy.
func (s *Service) backupOptions(ctx context.Context, q order) error {
	for option, v := range map[string]string{"restore-from": q.spec.RestoreFrom, "view-of": q.spec.ViewOf, "backup-policy": q.spec.BackupPolicy} {
		if v != "" && s.o.Points == nil {
			return noBackup(option)
		}
	}
	if q.spec.BackupPolicy == "" || q.have != nil {
		return nil
	}
	return s.o.Points.CheckPolicy(ctx, q.key.Group, q.spec.BackupPolicy)
}

func noBackup(option string) error {
	return errkind.New(errkind.Unsupported, "option %s cannot be used: backup is not configured, ask the administrator to set it up in the configuration of mooringd", option)
}

func (s *Service) imager() (hypervisor.Imager, error) {
	if im, ok := hypervisor.As[hypervisor.Imager](s.o.Hypervisor); ok {
		return im, nil
	}
	return nil, errkind.New(errkind.Unsupported, "this hypervisor does not give access to the content of volumes: they cannot be backed up or restored")
}

// describe makes rec a copy of the point with that size, not smaller than the
// point's. As for a clone the filesystem's UUID is the new volume's own, and
// the guest renews it before the first mount.
func (p Point) describe(rec *Record, size volspec.Size) {
	rec.Size, rec.FSSize, rec.FSNote = size, p.FSSize, ""
	rec.Format = volspec.Formatted
	if p.Format == volspec.Blank {
		rec.Format, rec.FSSize = volspec.Blank, 0
	}
	if rec.Format == volspec.Formatted && size > p.Size {
		rec.FSNote = noteAtMount
	}
	from, to := p.Spec.Defaulted(), &rec.Spec
	to.Size, to.FSType, to.MkfsOpts = size, from.FSType, from.MkfsOpts
	if to.MountOpts == nil {
		to.MountOpts = from.MountOpts
	}
	if to.UID == nil {
		to.UID = from.UID
	}
	if to.GID == nil {
		to.GID = from.GID
	}
	if to.Mode == nil {
		to.Mode = from.Mode
	}
}

// resolve finds the point that q asks for.
func (s *Service) resolve(ctx context.Context, q *order) (Point, error) {
	ref := q.spec.RestoreFrom
	if q.spec.ViewOf != "" {
		ref = q.spec.ViewOf
	}
	p, err := s.o.Points.Resolve(ctx, q.key.Group, q.name.Volume, ref)
	q.point = p.ID
	return p, err
}

// asBefore presents a volume that is there already, if it is what q asks for.
// A point is looked up only if the words alone do not tell.
func (s *Service) asBefore(ctx context.Context, q order) (wire.Volume, error) {
	err := satisfies(*q.have, q.spec, "")
	if err != nil {
		if _, e := s.resolve(ctx, &q); e != nil {
			return wire.Volume{}, err
		}
		err = satisfies(*q.have, q.spec, q.point)
	}
	if err != nil {
		return wire.Volume{}, err
	}
	return s.present(ctx, *q.have)
}

// summary is what a volume shows of its backups; nil where that cannot be
// said: a look at a volume does not fail for it.
func (s *Service) summary(ctx context.Context, r Record) *wire.VolumeBackup {
	if s.o.Points == nil || r.ViewOf != "" || r.State != volspec.Ready {
		return nil
	}
	b, err := s.o.Points.Summary(ctx, r.Key.Group, r.ID)
	if err != nil {
		log.G(ctx).WithError(err).WithField(log.Volume, r.Name().String()).Warn("what is known of a volume's backups cannot be shown")
		return nil
	}
	return &b
}
