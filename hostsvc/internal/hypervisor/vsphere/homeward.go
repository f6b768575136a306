package vsphere

import (
	"context"
	"fmt"
	"time"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// homeward is how long a call waits for a disk that goes back to its place. It
// goes on without anybody who waits; the next call finds it where it is then.
const homeward = 15 * time.Second

// keptThere is noted when vSphere moves a disk back to its datastore, but to a
// place that it chooses: no further try would change that.
const keptThere = "vSphere keeps it there"

// beingRemoved is noted of a plain disk that is removed where it lies: that it is
// gone is no surprise then.
const beingRemoved = "it is being removed"

// takeHome is goHome for a disk that a VM has let go: that it is somewhere else
// is no reason not to let it go.
func (v *VSphere) takeHome(ctx context.Context, r hypervisor.Ref) {
	f, err := v.at(ctx, r, true)
	if err == nil {
		err = v.goHome(ctx, &f)
	}
	if err != nil {
		log.G(ctx).WithField(log.Volume, string(r.Volume)).WithField(log.Err, err.Error()).Warn("a disk that vSphere has moved is not back at its place yet")
	}
}

// goHome moves a disk that is not at its place back, unless a VM has it. Where
// vSphere refuses, the disk stays, and the reason is noted. When nobody knows
// whether it is on its way: unavailable.
func (v *VSphere) goHome(ctx context.Context, f *family) error {
	a := f.away
	if a == nil {
		return v.forgetAway(ctx, f)
	}
	if a.vm != nil || a.why == keptThere {
		return nil
	}
	if err := v.noteAway(ctx, f.r, a.away, a.why); err != nil {
		return err
	}
	crashpoint.Here("vsphere.home.noted")
	move := v.carry
	if a.fcd != "" {
		move = v.relocate
	}
	limited, cancel := context.WithTimeout(ctx, homeward)
	defer cancel()
	err := move(limited, *f)
	switch {
	case err == nil:
		crashpoint.Here("vsphere.home.moved")
		return v.arrived(ctx, f, a.name)
	case vcenter.Lost(err) || errkind.Is(err, errkind.Unavailable):
		return errkind.Wrap(errkind.Unavailable, err, "disk %s is on its way from %s back to datastore %s: wait for it and repeat", f.r.Volume, a.at, f.r.Datastore)
	}
	a.why = errkind.Text(err)
	return v.noteAway(ctx, f.r, a.away, a.why)
}

// forgetAway removes the note about a disk that is back.
func (v *VSphere) forgetAway(ctx context.Context, f *family) error {
	n, here := f.here()
	if !here || !f.has(noteOf(n)) {
		return nil
	}
	return v.arrived(ctx, f, n)
}

// arrived forgets that a disk was elsewhere.
func (v *VSphere) arrived(ctx context.Context, f *family, n layout.Name) error {
	if err := v.c.Files().Delete(ctx, f.r.Datastore, f.file(noteOf(n))); err != nil {
		return err
	}
	now, err := v.look(ctx, f.ds, f.r)
	if err == nil {
		*f = now
	}
	return err
}

// relocate moves a first-class disk back. One that has come to its datastore,
// but not to its place, is noted.
func (v *VSphere) relocate(ctx context.Context, f family) error {
	id := types.ID{Id: f.away.fcd}
	d, err := v.retrieve(ctx, id)
	if err != nil || d.base == f.place(f.away.name) {
		return err
	}
	what := fmt.Sprintf("moving disk %s back from %s", f.r.Volume, d.base)
	failed := v.globalTask(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.Relocate(ctx, id, types.VslmRelocateSpec{VslmMigrateSpec: types.VslmMigrateSpec{
			BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
				VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: f.ds.Ref, Path: f.file(f.away.name)},
				ProvisioningType:          d.kind,
			},
		}})
	})
	if errkind.Is(failed, errkind.InUse) {
		if snaps, err := v.snapshotsOf(ctx, d); err == nil && len(snaps) > 0 {
			return errkind.Wrap(errkind.InUse, failed, "vSphere moves no disk that has snapshots: %s", inWordsOf(snaps))
		}
	}
	if failed != nil && (!vcenter.Lost(failed) || ctx.Err() != nil) {
		return failed
	}
	now, err := v.retrieve(ctx, id)
	switch {
	case err != nil:
		return err
	case now.base == f.place(f.away.name):
		v.registry.put(now.base, id)
		return nil
	case failed != nil:
		return failed
	}
	f.away.at, f.away.running = now.base, now.running
	return errkind.New(errkind.Unsupported, "%s", keptThere)
}

// carry moves a plain disk back: to a temporary name first, from which it is
// known that what lies there is whole once nothing is left where it was.
func (v *VSphere) carry(ctx context.Context, f family) error {
	a, temp := f.away, f.away.name.Temp()
	if f.has(temp) { // it began to arrive, and is still where it was
		if err := v.removeDisk(ctx, f.place(temp)); err != nil {
			return err
		}
	}
	d, err := v.describe(ctx, f, a.name)
	if err != nil {
		return err
	}
	if a.serial != "" && d.UUID != "" && d.UUID != a.serial {
		return errkind.New(errkind.Corrupt, "another disk lies at %s now", a.at)
	}
	err = v.moveDisk(ctx, a.at, f.place(temp))
	if vcenter.Lost(err) && ctx.Err() == nil {
		if there, again := v.exists(ctx, a.at); again == nil && !there {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	crashpoint.Here("vsphere.home.carried")
	return v.name(ctx, f, a.name)
}

// removeStray removes a disk where it lies.
func (v *VSphere) removeStray(ctx context.Context, f family) error {
	a := f.away
	if a.fcd != "" {
		d, err := v.retrieve(ctx, types.ID{Id: a.fcd})
		if err == nil {
			err = v.removeFirstClass(ctx, d)
		}
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		return err
	}
	d, err := v.describe(ctx, f, a.name)
	if err != nil {
		return err
	}
	if a.serial != "" && d.UUID != "" && d.UUID != a.serial {
		return errkind.New(errkind.Corrupt, "disk %s was moved to %s by vSphere, and another disk lies there now: find it, and move it to %s", f.r.Volume, a.at, f.place(a.name))
	}
	if err := v.noteAway(ctx, f.r, a.away, beingRemoved); err != nil {
		return err
	}
	return v.removeDisk(ctx, a.at)
}
