package memory

import (
	"context"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Moments = (*Memory)(nil)

// remember gives the moment at which a disk holds c a name.
func (d *disk) remember(c content) string {
	if d.moments == nil {
		d.moments = map[string]content{}
	}
	name := uuid.NewString()
	d.moments[name] = c
	return name
}

// Moment implements hypervisor.Moments.
func (m *Memory) Moment(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (string, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	s, err := m.snapshot(r, id)
	return s.moment, err
}

// ChangedSince implements hypervisor.Moments.
func (m *Memory) ChangedSince(ctx context.Context, r hypervisor.Ref, moment string, id volspec.SnapshotID) image.Extents {
	return yieldFound(ctx, func() ([]image.Extent, error) { return m.changedSinceMoment(ctx, r, moment, id) })
}

func (m *Memory) changedSinceMoment(ctx context.Context, r hypervisor.Ref, moment string, id volspec.SnapshotID) ([]image.Extent, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	s, err := m.snapshot(r, id)
	if err != nil {
		return nil, err
	}
	was, ok := m.disks[r].moments[moment]
	if !ok {
		return nil, errkind.New(errkind.Unsupported, "what changed on disk %s since the last backup cannot be told: changes were not tracked all the time", r.Volume)
	}
	return extents(differences(was, s.content), int64(s.size)), nil
}
