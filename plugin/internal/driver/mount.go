package driver

import (
	"context"
	"errors"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
	"mooring.dev/mooring/plugin/internal/ledger"
)

const (
	// rounds bounds how often Mount starts over because the volume was
	// unmounted, or replaced by another of the same name, under its hands.
	rounds = 4
	// margin is how much earlier than its caller the wait for another VM ends,
	// so that the host service's own words arrive.
	margin = 3 * time.Second
	// undoTime bounds giving back a disk after a failure.
	undoTime = 15 * time.Second
)

// errOther: the name belongs to another volume than the cache said.
var errOther = errors.New("the name belongs to another volume now")

// Mount makes a volume available at the path it returns, which really is a
// mount, and counts one use by mount. All names of one volume share one
// mount. Work that outlasts ctx goes on, and the repeated call joins it; a
// mount nobody came back for is given back by reconciliation.
func (d *Driver) Mount(ctx context.Context, name, mount string) (string, error) {
	n, err := volspec.ParseName(name)
	if err != nil {
		return "", err
	}
	if mount == "" {
		return "", errkind.New(errkind.Invalid, "mount of volume %s without an ID: Docker always sends one", name)
	}
	if err := d.waitReady(ctx); err != nil {
		return "", err
	}
	for range rounds {
		id, err := d.identify(ctx, n)
		if err != nil {
			return "", err
		}
		wait := attachWait(ctx)
		err = d.works.Do(ctx, id, func(ctx context.Context) error {
			return d.bring(log.With(ctx, log.Volume, name), id, name, wait)
		})
		if errors.Is(err, errOther) {
			d.o.Cache.Remove(n)
			continue
		}
		if err != nil {
			return "", err
		}
		if path, ok, err := d.count(ctx, id, mount); ok || err != nil {
			return path, err
		}
	}
	return "", errkind.New(errkind.Unavailable, "volume %s was taken away while it was being mounted: repeat the command", name)
}

func (d *Driver) identify(ctx context.Context, n volspec.Name) (volspec.VolumeID, error) {
	if v, ok := d.o.Cache.Get(n); ok {
		return v.ID, nil
	}
	v, err := d.lookup(ctx, n.String())
	return v.ID, err
}

func attachWait(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return time.Minute
	}
	return max(0, time.Until(deadline)-margin)
}

// count adds a use if the volume is mounted.
func (d *Driver) count(ctx context.Context, id volspec.VolumeID, mount string) (path string, ok bool, err error) {
	unlock, err := d.locks.Lock(ctx, id)
	if err != nil {
		return "", false, errkind.Wrap(errkind.Unavailable, err, "the volume is busy: repeat the command")
	}
	defer unlock()
	if path, err = d.path(id); err != nil {
		return "", false, err
	}
	all, err := d.o.Mounts.Mounted()
	if err != nil {
		return "", false, err
	}
	if m, mounted := all[path]; !mounted || m.Stale {
		return "", false, nil
	}
	d.warn(ctx, d.o.Ledger.Add(id, mount, false, d.o.Now()))
	crashpoint.Here("plugin.mount.counted")
	return path, true, nil
}

// bring attaches, formats once, and mounts. It does nothing for a volume that
// is mounted already. Repeated after a crash between any two of its steps it
// ends in the same state.
func (d *Driver) bring(ctx context.Context, id volspec.VolumeID, name string, wait time.Duration) (err error) {
	unlock, err := d.locks.Lock(ctx, id)
	if err != nil {
		return err
	}
	defer unlock()
	path, err := d.path(id)
	if err != nil {
		return err
	}
	all, err := d.o.Mounts.Mounted()
	if err != nil {
		return err
	}
	here, mounted := all[path]
	mounted = mounted && !here.Stale
	held, known := d.o.Ledger.Volume(id)

	a, err := d.attach(ctx, name, wait)
	if errkind.Is(err, errkind.Unavailable) && mounted && known {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("volume is mounted here already and shared without asking the host service, which is away")
		return nil
	}
	if err != nil {
		return err
	}
	if a.ID != id {
		return errOther
	}
	crashpoint.Here("plugin.mount.attached")
	if mounted && (held.Epoch == a.Epoch || held.Epoch == 0) { // 0: the ledger was lost
		d.setAttached(ctx, a, Space{Bytes: held.FSBytes, Note: held.FSNote})
		return nil
	}
	defer func() {
		if err != nil {
			d.giveBack(ctx, id)
		}
	}()
	// What is mounted belongs to an attachment that has ended.
	if err := d.o.Mounts.Unmount(ctx, path); err != nil {
		return errkind.Wrap(errkind.Of(err), err, "volume %s was detached while this guest used it: stop the containers that use it, then repeat the command", name)
	}
	d.setAttached(ctx, a, Space{})
	crashpoint.Here("plugin.mount.recorded")
	return d.mountDisk(ctx, a, path)
}

// mountDisk finds the disk of a and mounts it.
func (d *Driver) mountDisk(ctx context.Context, a wire.Attachment, path string) error {
	dev, err := d.find(ctx, a)
	if err != nil {
		return err
	}
	busy, err := d.o.Disks.Busy(dev)
	if err != nil {
		return err
	}
	if a.Format != volspec.Formatted {
		if err := d.format(ctx, a, dev, busy); err != nil {
			return err
		}
		a.Format = volspec.Formatted
	}
	if a.Spec.Access == volspec.ReadOnly && !a.ReadOnly && !busy {
		if a, dev, err = d.reattach(ctx, a); err != nil {
			return err
		}
	}
	fs := filesystem(a)
	if busy {
		// Running containers keep the filesystem mounted where this process does
		// not see it: after the plugin was disabled by force or the engine
		// crashed. The kernel mounts one disk once: mounting it again shares that
		// mount, it does not add a second one. If it is something else that has
		// the disk open, the kernel refuses.
		log.G(ctx).Info("disk is still mounted by running containers, its mount is shared again")
	} else if err := d.o.Disks.Ready(ctx, dev, fs); err != nil {
		return err
	}
	if err := d.o.Mounts.Mount(ctx, dev, path, fs); err != nil {
		return err
	}
	crashpoint.Here("plugin.mount.mounted")
	space, err := d.o.Mounts.Grow(ctx, path, dev, fs.ReadOnly)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("size of the filesystem could not be found")
	}
	d.setAttached(ctx, a, space)
	log.G(ctx).WithField("device", dev).WithField("filesystem", fs.Type).Info("volume mounted")
	return nil
}

func (d *Driver) find(ctx context.Context, a wire.Attachment) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d.o.FindDisk)
	defer cancel()
	return d.o.Disks.Find(ctx, Disk{Serial: a.Serial, Size: a.Size, ReadOnly: a.ReadOnly})
}

// attach asks for the disk and keeps reconciliation from taking it away
// before it is recorded.
func (d *Driver) attach(ctx context.Context, name string, wait time.Duration) (wire.Attachment, error) {
	done := d.inFlight(name)
	defer done()
	ctx, cancel := context.WithTimeout(ctx, wait+undoTime)
	defer cancel()
	a, err := d.o.Host.Attach(ctx, name, wire.Attach{BootID: d.o.BootID, WaitMS: wait.Milliseconds()})
	return a, d.host.saw(err)
}

func (d *Driver) inFlight(name string) (done func()) {
	n, _ := volspec.ParseName(name) // parsed before
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attaching[n.Volume]++
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.attaching[n.Volume]--; d.attaching[n.Volume] == 0 {
			delete(d.attaching, n.Volume)
		}
	}
}

func (d *Driver) setAttached(ctx context.Context, a wire.Attachment, s Space) {
	d.warn(ctx, d.o.Ledger.SetAttached(a.ID, ledger.Attached{
		Name: a.Name, Serial: a.Serial, Epoch: a.Epoch, Size: a.Size,
		ReadOnly: filesystem(a).ReadOnly, FSBytes: s.Bytes, FSNote: s.Note,
	}))
}

// giveBack undoes a mount that failed. What it cannot finish reconciliation
// does later.
func (d *Driver) giveBack(ctx context.Context, id volspec.VolumeID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	v, _ := d.o.Ledger.Volume(id)
	if v.Count() > 0 { // containers run on a hidden mount of it
		return
	}
	if err := d.release(ctx, id, v.Name, v.Epoch, v.Serial); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Info("disk of a volume that could not be mounted is given back later")
		d.poke()
	}
}
