package faulty

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/image"
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

type imager struct {
	hypervisor.Hypervisor
	h *Hypervisor
	i hypervisor.Imager
}

func (l imager) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l imager) OpenSnapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (image.Image, error) {
	return l.h.open("OpenSnapshot", r, func() (image.Image, error) { return l.i.OpenSnapshot(ctx, r, id) })
}

func (h *Hypervisor) open(name string, r hypervisor.Ref, fn func() (image.Image, error)) (image.Image, error) {
	var img image.Image
	err := h.do(name, r, func() (err error) { img, err = fn(); return err })
	if err != nil && img != nil {
		_ = img.Close() // its reply was lost: nobody else will
		img = nil
	}
	return img, err
}

// Changed is one call, as a listing is.
func (l imager) Changed(ctx context.Context, r hypervisor.Ref, base, id volspec.SnapshotID) image.Extents {
	return l.h.extents("Changed", r, l.i.Changed(ctx, r, base, id))
}

func (h *Hypervisor) extents(name string, r hypervisor.Ref, inner image.Extents) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		stopped := false
		err := h.do(name, r, func() error {
			for e, err := range inner {
				if err != nil {
					return err
				}
				if !yield(e, nil) {
					stopped = true
					break
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(image.Extent{}, err)
		}
	}
}

// Build is one call. What fill does in it is the caller's.
func (l imager) Build(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, keep volspec.SnapshotID, fill func(context.Context, image.Target) error) error {
	return l.h.do("Build", r, func() error { return l.i.Build(ctx, r, size, format, keep, fill) })
}

type moments struct {
	hypervisor.Hypervisor
	h *Hypervisor
	m hypervisor.Moments
}

func (l moments) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l moments) Moment(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) (string, error) {
	return do1(l.h, "Moment", r, func() (string, error) { return l.m.Moment(ctx, r, id) })
}

// ChangedSince is one call, as a listing is.
func (l moments) ChangedSince(ctx context.Context, r hypervisor.Ref, moment string, id volspec.SnapshotID) image.Extents {
	return l.h.extents("ChangedSince", r, l.m.ChangedSince(ctx, r, moment, id))
}

type frozen struct {
	hypervisor.Hypervisor
	h *Hypervisor
	f hypervisor.FrozenSnapshotter
}

func (l frozen) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l frozen) SnapshotCost(ctx context.Context, r hypervisor.Ref) (volspec.Size, error) {
	return do1(l.h, "SnapshotCost", r, func() (volspec.Size, error) { return l.f.SnapshotCost(ctx, r) })
}

func (l frozen) SnapshotFrozen(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	return l.h.do("SnapshotFrozen", r, func() error { return l.f.SnapshotFrozen(ctx, r, id) })
}

type guestInfo struct {
	hypervisor.Hypervisor
	h *Hypervisor
	g hypervisor.GuestInfo
}

func (l guestInfo) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l guestInfo) PutGuestInfo(ctx context.Context, vm volspec.VMID, key, text string) error {
	return l.h.do("PutGuestInfo", hypervisor.Ref{}, func() error { return l.g.PutGuestInfo(ctx, vm, key, text) })
}

func (l guestInfo) ReadGuestInfo(ctx context.Context, vm volspec.VMID, key string) (string, error) {
	return do1(l.h, "ReadGuestInfo", hypervisor.Ref{}, func() (string, error) { return l.g.ReadGuestInfo(ctx, vm, key) })
}

type machineImager struct {
	hypervisor.Hypervisor
	h *Hypervisor
	m hypervisor.MachineImager
}

func (l machineImager) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l machineImager) MachineDisks(ctx context.Context, vm volspec.VMID) ([]hypervisor.MachineDisk, error) {
	return do1(l.h, "MachineDisks", hypervisor.Ref{}, func() ([]hypervisor.MachineDisk, error) { return l.m.MachineDisks(ctx, vm) })
}

func (l machineImager) SnapshotMachine(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, quiesce bool) (hypervisor.MachineSnapshot, error) {
	return do1(l.h, "SnapshotMachine", hypervisor.Ref{}, func() (hypervisor.MachineSnapshot, error) {
		return l.m.SnapshotMachine(ctx, vm, id, quiesce)
	})
}

func (l machineImager) DeleteMachineSnapshot(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID) error {
	return l.h.do("DeleteMachineSnapshot", hypervisor.Ref{}, func() error { return l.m.DeleteMachineSnapshot(ctx, vm, id) })
}

func (l machineImager) MachineSnapshots(ctx context.Context) ([]hypervisor.MachineSnapshotRef, error) {
	return do1(l.h, "MachineSnapshots", hypervisor.Ref{}, func() ([]hypervisor.MachineSnapshotRef, error) { return l.m.MachineSnapshots(ctx) })
}

func (l machineImager) OpenMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (image.Image, error) {
	return l.h.open("OpenMachineDisk", hypervisor.Ref{}, func() (image.Image, error) { return l.m.OpenMachineDisk(ctx, vm, id, key) })
}

// ChangedMachineDisk is one call, as a listing is.
func (l machineImager) ChangedMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key, since string) image.Extents {
	return l.h.extents("ChangedMachineDisk", hypervisor.Ref{}, l.m.ChangedMachineDisk(ctx, vm, id, key, since))
}

// BuildMachine is one call. What fill does in it is the caller's.
func (l machineImager) BuildMachine(ctx context.Context, b hypervisor.MachineBuild, fill func(context.Context, string, image.Target) error) (volspec.VMID, error) {
	return do1(l.h, "BuildMachine", hypervisor.Ref{}, func() (volspec.VMID, error) { return l.m.BuildMachine(ctx, b, fill) })
}

// BuildMachineDisk is one call, as BuildMachine is.
func (l machineImager) BuildMachineDisk(ctx context.Context, vm volspec.VMID, key string, size volspec.Size, fill func(context.Context, image.Target) error) (string, error) {
	return do1(l.h, "BuildMachineDisk", hypervisor.Ref{}, func() (string, error) { return l.m.BuildMachineDisk(ctx, vm, key, size, fill) })
}

type folders struct {
	hypervisor.Hypervisor
	h *Hypervisor
	f hypervisor.Folders
}

func (l folders) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l folders) FindFolder(ctx context.Context, f volspec.Folder) (volspec.Folder, error) {
	return do1(l.h, "FindFolder", hypervisor.Ref{}, func() (volspec.Folder, error) { return l.f.FindFolder(ctx, f) })
}

type policies struct {
	hypervisor.Hypervisor
	h *Hypervisor
	p hypervisor.StoragePolicies
}

func (l policies) Unwrap() hypervisor.Hypervisor { return l.Hypervisor }

func (l policies) CheckPolicy(ctx context.Context, datastore, policy string) error {
	return l.h.do("CheckPolicy", hypervisor.Ref{Datastore: datastore}, func() error { return l.p.CheckPolicy(ctx, datastore, policy) })
}

func (l policies) CreateWithPolicy(ctx context.Context, r hypervisor.Ref, size volspec.Size, format, policy string) error {
	return l.h.do("CreateWithPolicy", r, func() error { return l.p.CreateWithPolicy(ctx, r, size, format, policy) })
}
