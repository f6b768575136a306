package driver

import (
	"context"
	"runtime/debug"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	// freezeLockWait is how long other work on a volume is waited for.
	freezeLockWait = time.Second
	// freezeTime is how long freezing may take: what is dirty is written first.
	freezeTime = 7 * time.Second
	// reportTime is how long a report may take that is answered at once.
	reportTime = 2 * time.Second
)

// carryOutFreeze does what an order asks for: it holds the volume as it is
// from the report "frozen" until its answer, the end of the lease or that of
// ctx. Mounting and unmounting wait meanwhile.
func (d *Driver) carryOutFreeze(ctx context.Context, o wire.FreezeOrder) {
	defer func() {
		if p := recover(); p != nil {
			log.G(ctx).WithField("panic", p).WithField("stack", string(debug.Stack())).Error("freezing a volume panicked")
		}
	}()
	unlock, err := d.tryLock(ctx, o.Volume)
	if err != nil {
		d.refuse(ctx, o, "it is being mounted or unmounted")
		return
	}
	once := sync.OnceFunc(unlock)
	defer once()
	held, detail, err := d.still(ctx, o)
	if err != nil {
		log.G(ctx).WithField(log.Kind, string(errkind.Of(err))).WithField(log.Err, err.Error()).Warn("volume could not be frozen")
		d.refuse(ctx, o, errkind.Text(err))
		return
	}
	defer held.Thaw() // whatever happens
	crashpoint.Here("plugin.freeze.frozen")
	done := d.hold(ctx, o, held, detail)
	t := held.Thaw()
	once()
	log.G(ctx).WithField("stall_ms", t.Stall.Milliseconds()).WithField("held", t.Held && done).WithField("detail", detail).Info("volume was frozen")
	d.report(ctx, o, wire.FreezeReport{State: wire.FreezeThawed, Held: t.Held && done, StallMS: t.Stall.Milliseconds(), Detail: t.Why})
}

func (d *Driver) tryLock(ctx context.Context, id volspec.VolumeID) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, freezeLockWait)
	defer cancel()
	return d.locks.Lock(ctx, id)
}

// still makes sure that nothing is written to a volume. detail tells why
// nothing had to be done for that. The caller holds the volume's lock.
func (d *Driver) still(ctx context.Context, o wire.FreezeOrder) (f Frozen, detail string, err error) {
	lease := time.Duration(o.LeaseMS) * time.Millisecond
	if lease <= 0 || lease > wire.MaxFreezeLease {
		return nil, "", errkind.New(errkind.Invalid, "a lease of %s is not given, it is at most %s", lease, wire.MaxFreezeLease)
	}
	path, err := d.path(o.Volume)
	if err != nil {
		return nil, "", err
	}
	all, err := d.o.Mounts.Mounted()
	if err != nil {
		return nil, "", err
	}
	m, mounted := all[path]
	dev, err := d.o.Disks.Lookup(Disk{Serial: d.serial(o.Volume, "")})
	if err != nil && (mounted || !errkind.Is(err, errkind.NotFound)) {
		return nil, "", err
	}
	if !mounted {
		if err := d.unseen(dev); err != nil {
			return nil, "", err
		}
		return newQuiet(lease), wire.FreezeNotMounted, nil
	}
	has, _ := d.o.Ledger.Volume(o.Volume)
	switch {
	case m.Stale:
		return nil, "", errkind.New(errkind.Unavailable, "its disk is gone from under its mount")
	case has.Epoch != o.Epoch:
		return nil, "", errkind.New(errkind.Unavailable, "it is mounted here by attachment %d, not by %d", has.Epoch, o.Epoch)
	case has.ReadOnly:
		return newQuiet(lease), wire.FreezeReadOnly, nil
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTime)
	defer cancel()
	f, err = d.o.Freezer.Freeze(ctx, dev, path, lease)
	return f, "", err
}

// unseen is an error when a disk that is not mounted here is mounted all the
// same: by containers whose mounts the engine took away here.
func (d *Driver) unseen(dev string) error {
	if dev == "" {
		return nil
	}
	busy, err := d.o.Disks.Busy(dev)
	if err != nil {
		return err
	}
	if busy {
		return errkind.New(errkind.Unavailable, "containers have it mounted where the plugin does not reach it, since the engine crashed or the plugin was disabled by force: start a container with it, or restart those that have it")
	}
	return nil
}

// hold reports that a volume is frozen and waits for what ends that. done: the
// host service has finished its work.
func (d *Driver) hold(ctx context.Context, o wire.FreezeOrder, f Frozen, detail string) (done bool) {
	left := f.Left()
	ctx, cancel := context.WithTimeout(ctx, left)
	var watch sync.WaitGroup
	defer func() { cancel(); watch.Wait() }()
	watch.Go(func() {
		select {
		case <-f.Ended(): // early: the service is told at once
			cancel()
		case <-ctx.Done():
		}
	})
	a, err := d.o.Orders.ReportFreeze(ctx, o.ID, wire.FreezeReport{State: wire.FreezeFrozen, Detail: detail, LeftMS: left.Milliseconds()})
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("freeze ends without an answer")
	}
	return err == nil && a.Done
}

func (d *Driver) refuse(ctx context.Context, o wire.FreezeOrder, why string) {
	d.report(ctx, o, wire.FreezeReport{State: wire.FreezeRefused, Detail: why})
}

// report tells the service, which need not hear it.
func (d *Driver) report(ctx context.Context, o wire.FreezeOrder, r wire.FreezeReport) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), reportTime)
	defer cancel()
	if _, err := d.o.Orders.ReportFreeze(ctx, o.ID, r); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).WithField("state", string(r.State)).Debug("report on a freeze was not taken")
	}
}

// quiet is the freeze of what nobody writes to: it only keeps its time.
type quiet struct {
	until time.Time
	never chan struct{}
}

func newQuiet(lease time.Duration) quiet {
	return quiet{until: time.Now().Add(lease), never: make(chan struct{})}
}

func (q quiet) Left() time.Duration    { return time.Until(q.until) }
func (q quiet) Ended() <-chan struct{} { return q.never }
func (q quiet) Thaw() Thawed           { return Thawed{Held: true} }
