// Package app is mooringd: it reads the configuration, builds the parts,
// introduces them to each other, and carries them from start to stop.
//
// Start: configuration → lock on the state directory → catalog → hypervisor →
// sockets (they listen, and answer "starting") → recovery → vmgroups → ready.
// Stop is the reverse: no new requests, running ones finish, work of the
// volume service ends, loops stop, the catalog is closed.
package app

import (
	"context"
	"errors"
	"os"
	"time"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/rungroup"
)

// Options are what the process gives.
type Options struct {
	Config  string           // path of the configuration
	Version string           // of this build
	Reload  <-chan os.Signal // each value asks for a reload; nil: never
}

// How long each phase of a stop may take. Their sum stays below the unit's
// TimeoutStopSec (packaging/systemd/mooringd.service).
const (
	drainLimit = 20 * time.Second // requests that are being answered
	workLimit  = 15 * time.Second // operations whose caller is gone
	stopLimit  = 5 * time.Second  // everything else
)

// Run is the whole life of the daemon; it ends when ctx does. What it returns
// is to be shown as it is, and ExitCode says how the process ends.
func Run(ctx context.Context, o Options) (err error) {
	cfg, err := config.Load(o.Config)
	if err != nil {
		return err
	}
	if err := log.Setup(log.Options{Level: cfg.Log.Level, Format: cfg.Log.Format}); err != nil {
		return err
	}
	s, err := openState(cfg)
	if err != nil {
		return err
	}
	defer s.close()
	h, err := newHost(ctx, cfg, o.Version)
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopLimit)
		defer cancel()
		err = errors.Join(err, h.close(ctx))
	}()
	d, err := build(ctx, o, cfg, s, h)
	if err != nil {
		return err
	}
	return d.run(ctx, o.Reload)
}

// run is the daemon's life from its first socket to its last.
func (d *daemon) run(ctx context.Context, reload <-chan os.Signal) (err error) {
	defer func() { err = errors.Join(err, d.catalog.Close()) }()
	if err := d.bind(ctx); err != nil {
		return err
	}
	log.G(ctx).WithField("version", d.version).WithField("config", d.path).Info("mooringd is starting")
	err = rungroup.Run(ctx,
		rungroup.Component{Name: "volume service", Run: d.serve, Within: workLimit + 2*stopLimit},
		rungroup.Component{Name: "operations in progress", Run: d.work, Within: workLimit + time.Second},
		rungroup.Component{Name: "listeners", Run: d.listeners.Run, Within: drainLimit + stopLimit},
		rungroup.Component{Name: "reload", Run: func(ctx context.Context) error { return d.reloads(ctx, reload) }, Within: stopLimit},
	)
	log.G(ctx).Info("mooringd has stopped")
	return err
}

// Check reads the configuration as Run would, and the files it names, and
// starts nothing.
func Check(path string) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if cfg.Catalog.Driver == config.Postgres {
		if _, err := cfg.Catalog.DSN(); err != nil {
			return err
		}
	}
	_, err = adminGroup(cfg)
	return err
}

// lockedError is that of a second daemon on one state directory.
type lockedError struct{ error }

func (e lockedError) Unwrap() error { return e.error }

// ExitCode is what the process exits with after err.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if _, locked := errors.AsType[lockedError](err); locked {
		return 11
	}
	return errkind.Of(err).ExitCode()
}

// serve recovers, applies the configuration, reports ready, and then keeps
// the volume service going.
func (d *daemon) serve(ctx context.Context) error {
	start := time.Now()
	if err := d.prepare(ctx); err != nil {
		return errors.Join(err, d.backups.unmount(ctx))
	}
	d.gate.open()
	sdNotify(ctx, notifyReady)
	log.G(ctx).WithField(log.Dur, time.Since(start).Milliseconds()).Info("mooringd is ready")
	if err := errors.Join(d.announceWeb(ctx), d.announceFirst(ctx)); err != nil {
		return errors.Join(err, d.backups.unmount(ctx))
	}
	return rungroup.Run(ctx,
		rungroup.Component{Name: "volumes", Run: d.volumes.Run, Within: stopLimit},
		rungroup.Component{Name: "enrolment of VMs", Run: d.guests.Run, Within: stopLimit},
		rungroup.Component{Name: "backup", Run: d.backups.run, Within: workLimit + stopLimit},
		rungroup.Component{Name: "copies of the catalog", Run: d.self.Run, Within: stopLimit},
		rungroup.Component{Name: "accounts", Run: d.accounts.Run, Within: stopLimit},
		rungroup.Component{Name: "deleted vmgroups", Run: d.tenants.Run, Within: workLimit + stopLimit},
		rungroup.Component{Name: "remembered answers", Run: d.answers.Run, Within: stopLimit},
		rungroup.Component{Name: "transporter", Run: d.mover.Run, Within: stopLimit},
		rungroup.Component{Name: "declared repositories", Run: d.places, Within: stopLimit},
		rungroup.Component{Name: "isolation", Run: d.prover.run, Within: stopLimit},
	)
}

// placesPause is between two attempts to make declared repositories whose
// place is away.
const placesPause = time.Minute

// places makes the declared repositories, and tries again what is away, until
// ctx ends.
func (d *daemon) places(ctx context.Context) error {
	tick := time.NewTicker(placesPause)
	defer tick.Stop()
	for {
		all, err := declared(d.config())
		if err == nil {
			err = d.backups.service.MakeDeclared(ctx, all)
		}
		if err != nil && ctx.Err() == nil {
			log.G(ctx).WithField(log.Err, err.Error()).Warn("a declared repository is not there yet")
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-d.reloaded:
		}
	}
}

// prepare makes the catalog true before the first request sees it.
func (d *daemon) prepare(ctx context.Context) error {
	if err := d.backups.mount(ctx); err != nil {
		return err
	}
	if err := d.volumes.IdentifyDatastores(ctx); err != nil {
		return err
	}
	if err := d.volumes.Recover(ctx); err != nil {
		return err
	}
	if err := d.mover.Register(ctx); err != nil {
		return err
	}
	if err := d.backups.recover(ctx); err != nil {
		return err
	}
	cfg := d.config()
	if err := d.tenants.EnsureDefault(ctx, cfg.DefaultVMGroup); err != nil {
		return err
	}
	return d.apply(ctx, cfg)
}

// work ends when no operation of the volume service runs any more. New ones
// are refused by then: no listener is left.
func (d *daemon) work(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workLimit)
	defer cancel()
	return d.volumes.Close(ctx)
}
