package driver

import (
	"context"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Create makes a volume, or finds that it exists as asked for: Docker repeats
// it, and also creates what exists when its Get got no answer. The options
// are the host service's to judge.
func (d *Driver) Create(ctx context.Context, name string, opts map[string]string) error {
	n, err := volspec.ParseName(name)
	if err != nil {
		return err
	}
	v, err := d.o.Host.Create(ctx, wire.CreateVolume{Name: name, Options: opts})
	if d.host.saw(err) != nil {
		return err
	}
	crashpoint.Here("plugin.create.made")
	d.o.Cache.Put(n, v)
	return nil
}

// Remove removes a volume. Uses that only the ledger remembers do not stop
// it: the engine, the kernel and the host service decide. Absent: nil.
func (d *Driver) Remove(ctx context.Context, name string) error {
	n, err := volspec.ParseName(name)
	if err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	v, err := d.lookup(ctx, name)
	if err == nil {
		err = d.letGo(ctx, v)
	}
	if err == nil {
		crashpoint.Here("plugin.remove.released")
		err = d.host.saw(d.o.Host.Remove(ctx, name))
	}
	if err == nil || errkind.Is(err, errkind.NotFound) {
		crashpoint.Here("plugin.remove.removed")
		d.o.Cache.Remove(n)
		return nil
	}
	return err
}

// letGo gives back a disk that this guest still holds although no container
// uses it.
func (d *Driver) letGo(ctx context.Context, v wire.Volume) error {
	if _, held := d.o.Ledger.Volume(v.ID); !held {
		return nil
	}
	running, evidence := d.engineUses(ctx)
	unlock, err := d.locks.Lock(ctx, v.ID)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "volume %s is busy: repeat the command", v.Name)
	}
	defer unlock()
	held, _ := d.o.Ledger.Volume(v.ID)
	if n := held.Count(); n > 0 && (!evidence || len(running[v.ID]) > 0) {
		return errkind.New(errkind.InUse, "Remove failure - volume is still mounted.  volume=%s, refcount=%d", v.Name, n)
	}
	for mount, u := range held.Uses {
		log.G(ctx).WithField(log.Volume, v.Name).WithField("mount", mount).Info("use that no container has any more is forgotten")
		d.warn(ctx, d.o.Ledger.Drop(v.ID, mount, u.Last))
	}
	return d.release(ctx, v.ID, v.Name, 0, v.Serial)
}
