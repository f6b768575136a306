package driver

import (
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	// maxFreezes is how many volumes are frozen at a time.
	maxFreezes = 8
	// pollMargin is how much later than it was asked to an answer may come.
	pollMargin = 10 * time.Second
	// Pauses while the host service is away: it is noticed soon, since the
	// service waits some seconds for us, and when it is too old to ask for
	// freezes, until it is replaced.
	firstAway = 200 * time.Millisecond
	lastAway  = 3 * time.Second
	tooOld    = time.Minute
	// settlePause is the time between two looks at an earlier plugin's freezes.
	settlePause = 500 * time.Millisecond
)

// thawOld thaws what an earlier life left frozen and reports whether that is
// all.
func (d *Driver) thawOld(ctx context.Context) (settled bool) {
	if d.o.Freezer == nil {
		return true
	}
	settled, err := d.o.Freezer.Recover(ctx, func(id volspec.VolumeID) string { return d.serial(id, "") })
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Error("it is not certain that no volume is frozen: if writers of one wait, run fsfreeze -u on its mount point")
	}
	return settled
}

// obey asks for orders to freeze volumes and carries them out until ctx ends.
// When it returns nothing is frozen.
func (d *Driver) obey(ctx context.Context, settled bool) {
	if d.o.Orders == nil || d.o.Freezer == nil {
		return
	}
	for !settled {
		if !pause(ctx, settlePause) {
			return
		}
		settled = d.thawOld(ctx)
	}
	var running sync.WaitGroup
	defer running.Wait()
	slots := make(chan struct{}, maxFreezes)
	away := firstAway
	for after := ""; ctx.Err() == nil; {
		begin := time.Now()
		got, err := d.ordered(ctx, after)
		switch {
		case err == nil && len(got.Orders) == 0 && time.Since(begin) < time.Second:
			// The service is stopping, or does not wait.
			if !pause(ctx, time.Second) {
				return
			}
			fallthrough
		case err == nil:
			away, after = firstAway, got.Next
		case errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Unsupported): // it has no such question
			log.G(ctx).WithField(log.Err, err.Error()).Debug("host service gives no orders to freeze")
			if !pause(ctx, tooOld) {
				return
			}
		default: // it is away, or does not let this VM in yet
			log.G(ctx).WithField(log.Err, err.Error()).Debug("host service was not asked for orders to freeze")
			if !pause(ctx, away) {
				return
			}
			away = min(2*away, lastAway)
		}
		for _, o := range got.Orders {
			ctx := log.With(log.WithRequest(ctx, ""), log.Volume, o.Name)
			select {
			case slots <- struct{}{}:
				running.Go(func() { defer func() { <-slots }(); d.carryOutFreeze(ctx, o) })
			default:
				running.Go(func() { d.refuse(ctx, o, "its VM is freezing several other volumes: repeat it in a moment") })
			}
		}
	}
}

func (d *Driver) ordered(ctx context.Context, after string) (wire.FreezeOrders, error) {
	ctx, cancel := context.WithTimeout(log.WithRequest(ctx, ""), wire.MaxFreezeWait+pollMargin)
	defer cancel()
	return d.o.Orders.Freezes(ctx, after, wire.MaxFreezeWait)
}

// pause waits; false when ctx ended.
func pause(ctx context.Context, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
