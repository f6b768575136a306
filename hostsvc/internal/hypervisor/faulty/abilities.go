package faulty

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

type snapshotter struct {
	hypervisor.Hypervisor // the next layer
	h                     *Hypervisor
	s                     hypervisor.Snapshotter
}

func (l snapshotter) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l snapshotter) Snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return l.h.do("Snapshot", r, func() error { return l.s.Snapshot(ctx, r, id) })
}

func (l snapshotter) DeleteSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return l.h.do("DeleteSnapshot", r, func() error { return l.s.DeleteSnapshot(ctx, r, id) })
}

func (l snapshotter) Snapshots(ctx context.Context, r hypervisor.Ref) ([]volspec.SnapshotID, error) {
	return do1(l.h, "Snapshots", r, func() ([]volspec.SnapshotID, error) { return l.s.Snapshots(ctx, r) })
}

type adopter struct {
	hypervisor.Hypervisor
	h *Hypervisor
	a hypervisor.Adopter
}

func (l adopter) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l adopter) Adopt(ctx context.Context, datastore string) (string, error) {
	return do1(l.h, "Adopt", hypervisor.Ref{Datastore: datastore}, func() (string, error) { return l.a.Adopt(ctx, datastore) })
}
