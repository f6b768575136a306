package driver

import (
	"cmp"
	"context"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// busyPatience is how long a disk may stay busy after its last unmount before
// giving it back is left to reconciliation: the kernel finishes some of an
// unmount later.
const busyPatience = time.Second

// Unmount counts one use of a volume by mount less, and gives the disk back
// after the last. An ID that is not known, or no longer, is a success: Docker
// swallows errors of this call, and sends it for mounts of an earlier life.
// What cannot be done now is done by reconciliation.
func (d *Driver) Unmount(ctx context.Context, name, mount string) error {
	n, err := volspec.ParseName(name)
	if err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	id, known := d.usedBy(n, mount)
	if known {
		known, err = d.o.Ledger.Done(id, mount, d.o.Now())
		d.warn(ctx, err)
	}
	if !known {
		log.G(ctx).WithField("mount", mount).Info("unmount of a use that is not known, nothing to do")
		d.poke()
		return nil
	}
	crashpoint.Here("plugin.unmount.counted")
	if v, _ := d.o.Ledger.Volume(id); v.Count() > 0 {
		return nil
	}
	if err := d.releaseUnused(ctx, id); err != nil {
		log.G(ctx).WithField(log.Kind, string(errkind.Of(err))).WithField(log.Err, err.Error()).
			Warn("volume is unused but cannot be given back yet, it is tried again")
		d.poke()
	}
	return nil
}

// usedBy finds the volume that a mount ID uses: by the ID, which is random,
// and by name only among several.
func (d *Driver) usedBy(n volspec.Name, mount string) (volspec.VolumeID, bool) {
	ids := d.o.Ledger.UsedBy(mount)
	if len(ids) == 1 {
		return ids[0], true
	}
	for _, id := range ids {
		v, _ := d.o.Ledger.Volume(id)
		has, err := volspec.ParseName(v.Name)
		if err == nil && has.Volume == n.Volume && (n.Datastore == "" || n.Datastore == has.Datastore) {
			return id, true
		}
	}
	return "", false
}

func (d *Driver) releaseUnused(ctx context.Context, id volspec.VolumeID) error {
	unlock, err := d.locks.Lock(ctx, id)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "wait for other work on the volume")
	}
	defer unlock()
	v, _ := d.o.Ledger.Volume(id)
	if v.Count() > 0 { // mounted again meanwhile
		return nil
	}
	return d.release(ctx, id, v.Name, v.Epoch, v.Serial)
}

// release unmounts a volume and gives its disk back; the caller holds its
// lock and knows that it has no uses. A disk that anybody in this kernel still
// has mounted is kept: in-use. Repeated after a crash it goes on where it
// stopped. Epoch 0: whichever attachment there is. serial is that of the disk
// as the host service says, "" when it was not asked.
func (d *Driver) release(ctx context.Context, id volspec.VolumeID, name string, epoch int64, serial string) error {
	path, err := d.path(id)
	if err != nil {
		return err
	}
	if err := d.o.Mounts.Unmount(ctx, path); err != nil {
		return err
	}
	crashpoint.Here("plugin.unmount.unmounted")
	dev, err := d.o.Disks.Lookup(Disk{Serial: d.serial(id, serial)})
	if err == nil {
		err = d.unbusy(ctx, dev)
	}
	if err != nil && !errkind.Is(err, errkind.NotFound) {
		return err
	}
	if name == "" {
		name = d.o.Cache.Name(id)
	}
	if err := d.host.saw(d.o.Host.Detach(ctx, name, wire.Detach{Epoch: epoch})); err != nil {
		return err
	}
	crashpoint.Here("plugin.unmount.detached")
	d.warn(ctx, d.o.Ledger.Forget(id))
	log.G(ctx).WithField(log.Volume, name).Info("volume unmounted and its disk given back")
	return nil
}

// serial is what the disk of a volume is found by: what the host service says,
// or said when this guest got it. Plugins before did not note it; their disks
// had serials that follow from the id.
func (d *Driver) serial(id volspec.VolumeID, said string) string {
	v, _ := d.o.Ledger.Volume(id)
	return cmp.Or(said, v.Serial, volspec.Serial(id))
}

// unbusy waits a moment for the device to be free.
func (d *Driver) unbusy(ctx context.Context, dev string) error {
	deadline := time.Now().Add(busyPatience)
	for {
		busy, err := d.o.Disks.Busy(dev)
		if err != nil || !busy {
			return err
		}
		if time.Now().After(deadline) {
			return errkind.New(errkind.InUse, "%s is still mounted by a container or another process of this guest", dev)
		}
		select {
		case <-ctx.Done():
			return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "wait for %s", dev)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
