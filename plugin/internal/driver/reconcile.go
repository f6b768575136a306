package driver

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	engineTime = 5 * time.Second
	beatTime   = 5 * time.Second
	// firstTime bounds what the first calls may have to wait for. A starting
	// engine starts its plugins before it answers.
	firstTime = 3 * time.Second
	// soon is the pause between something worth a look and the look: Docker
	// sends Unmount before it calls the container stopped.
	soon = 2 * time.Second
	// flushEvery is how much of the cache a crash may lose.
	flushEvery = 2 * time.Second
	// comingFor is how long a container may be in the making.
	comingFor = time.Hour
)

// Run reconciles, sends heartbeats, freezes what it is ordered to and does the
// work that outlasts its requests, until ctx ends; then it lets work end and
// returns. Mounts stay, and none is frozen.
func (d *Driver) Run(ctx context.Context) error {
	// Before anything touches the mounts: a frozen one would make it wait.
	settled := d.thawOld(ctx)
	worked := make(chan struct{})
	go func() { d.works.serve(ctx); close(worked) }() // ends with ctx, waited for below
	beaten := make(chan struct{})
	go func() { d.beats(ctx); close(beaten) }() // the same
	obeyed := make(chan struct{})
	go func() { d.obey(ctx, settled); close(obeyed) }() // the same
	d.first(ctx)
	d.rounds(ctx)
	<-obeyed
	<-beaten
	<-worked
	return errors.Join(d.o.Cache.Flush(), d.o.Ledger.Flush())
}

// first is the reconciliation for which handlers wait. It is about uses only:
// nothing is given back by it.
func (d *Driver) first(ctx context.Context) {
	defer d.readyOnce.Do(func() { close(d.ready) })
	mounted, err := d.mountedVolumes()
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Error("mount table cannot be read")
		return
	}
	if len(mounted) == 0 {
		return // after a boot: nobody can use anything
	}
	lost := false
	for id := range mounted {
		held, known := d.o.Ledger.Volume(id)
		lost = lost || !known || held.Count() == 0
	}
	if !lost {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstTime)
	defer cancel()
	running, evidence := d.engineUses(ctx)
	if !evidence {
		return
	}
	for id := range mounted {
		d.adopt(ctx, id, running[id])
	}
}

func (d *Driver) rounds(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	next := time.NewTimer(min(d.o.Interval, soon))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-flush.C:
			d.warn(ctx, errors.Join(d.o.Cache.Flush(), d.o.Ledger.Flush()))
		case <-d.wake:
			next.Reset(min(d.o.Interval, soon))
		case <-next.C:
			d.reconcile(log.WithRequest(ctx, ""))
			next.Reset(d.o.Interval)
		}
	}
}

// reconcile makes one pass over everything that is mounted, attached, counted
// or used. Passes do not overlap.
func (d *Driver) reconcile(ctx context.Context) {
	f := facts{grace: d.o.Interval, busy: d.busy}
	var attached []wire.Attachment
	attached, f.hostKnown = d.beat(ctx)
	uses, err := d.uses(ctx)
	if f.evidence = err == nil; !f.evidence {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("engine does not answer, nothing is given back on its account")
	}
	f.running, f.coming = d.byVolume(uses)
	if f.mounted, err = d.mountedVolumes(); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Error("mount table cannot be read")
		return
	}
	f.attached = map[volspec.VolumeID]wire.Attachment{}
	for _, a := range attached {
		f.attached[a.ID] = a
	}
	f.ledger, f.now = d.o.Ledger.All(), d.o.Now()

	d.mu.Lock()
	idle := d.idle
	d.mu.Unlock()
	steps, next := plan(f, idle) // only this function replaces it
	d.mu.Lock()
	d.idle = next
	d.mu.Unlock()
	shadowed := map[volspec.VolumeID]struct{}{}
	for _, s := range steps {
		if s.shadowed {
			shadowed[s.id] = struct{}{}
		}
		d.carryOut(log.With(ctx, log.Volume, s.name), s, f)
	}
	d.alarm(ctx, shadowed)
}

func (d *Driver) carryOut(ctx context.Context, s step, f facts) {
	for mount, last := range s.drop {
		log.G(ctx).WithField("mount", mount).Info("use that no container has any more is forgotten")
		d.warn(ctx, d.o.Ledger.Drop(s.id, mount, last))
	}
	d.adopt(ctx, s.id, s.adopt)
	if !s.release && !s.forget {
		return
	}
	unlock, err := d.locks.Lock(ctx, s.id)
	if err != nil {
		return
	}
	defer unlock()
	if held, _ := d.o.Ledger.Volume(s.id); held.Count() > 0 || d.busy(s.id, s.name) {
		return // used meanwhile
	}
	if s.forget {
		d.warn(ctx, d.o.Ledger.Forget(s.id))
		return
	}
	if err := d.release(ctx, s.id, s.name, s.epoch, f.attached[s.id].Serial); err != nil {
		log.G(ctx).WithField(log.Kind, string(errkind.Of(err))).WithField(log.Err, err.Error()).
			Info("volume is unused but cannot be given back yet, it is tried again")
	}
}

// adopt counts containers that use a volume without our knowing.
func (d *Driver) adopt(ctx context.Context, id volspec.VolumeID, containers []string) {
	if held, _ := d.o.Ledger.Volume(id); held.Count() > 0 {
		return
	}
	for _, c := range containers {
		log.G(ctx).WithField("container", c).Info("container uses a volume that was not counted, it is counted again")
		d.warn(ctx, d.o.Ledger.Add(id, evidentPrefix+c, true, d.o.Now()))
	}
}

// alarm reports, once for each time it begins, that containers run although
// their volume is not attached to this VM.
func (d *Driver) alarm(ctx context.Context, now map[volspec.VolumeID]struct{}) {
	d.mu.Lock()
	before := d.alarmed
	d.alarmed = now
	d.mu.Unlock()
	for id := range now {
		if _, old := before[id]; !old {
			log.G(ctx).WithField(log.Volume, d.o.Cache.Name(id)).WithField("id", id).
				Error("containers run on a volume that is not attached to this VM: stop them, what they write does not reach it")
		}
	}
}

// busy reports whether a volume is being mounted.
func (d *Driver) busy(id volspec.VolumeID, name string) bool {
	if d.works.running(id) {
		return true
	}
	if name == "" {
		name = d.o.Cache.Name(id)
	}
	n, err := volspec.ParseName(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	return err == nil && d.attaching[n.Volume] > 0
}

func (d *Driver) mountedVolumes() (map[volspec.VolumeID]Mounted, error) {
	all, err := d.o.Mounts.Mounted()
	if err != nil {
		return nil, err
	}
	byID := map[volspec.VolumeID]Mounted{}
	for path, m := range all {
		id := volspec.VolumeID(filepath.Base(path))
		if own, err := d.path(id); err == nil && own == path { // others are not ours
			byID[id] = m
		}
	}
	return byID, nil
}

func (d *Driver) uses(ctx context.Context) ([]EngineUse, error) {
	ctx, cancel := context.WithTimeout(ctx, engineTime)
	defer cancel()
	return d.o.Engine.Uses(ctx)
}

// engineUses are the running containers of each volume; evidence is false
// when the engine did not answer.
func (d *Driver) engineUses(ctx context.Context) (running map[volspec.VolumeID][]string, evidence bool) {
	uses, err := d.uses(ctx)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("engine does not answer")
		return nil, false
	}
	running, _ = d.byVolume(uses)
	return running, true
}

// byVolume finds out which volumes containers mean: by the path they mount,
// which ends in the id, else by name. Taking a foreign volume for ours only
// delays giving ours back.
func (d *Driver) byVolume(uses []EngineUse) (running map[volspec.VolumeID][]string, coming map[volspec.VolumeID]bool) {
	running, coming = map[volspec.VolumeID][]string{}, map[volspec.VolumeID]bool{}
	for _, u := range uses {
		id := volspec.VolumeID(filepath.Base(u.Source))
		if _, err := d.path(id); err != nil {
			n, err := volspec.ParseName(u.Volume)
			v, ok := d.o.Cache.Get(n)
			if err != nil || !ok || strings.HasPrefix(u.Driver, "local") {
				continue
			}
			id = v.ID
		}
		switch {
		case !u.Running:
			coming[id] = coming[id] || d.o.Now().Sub(u.Created) < comingFor
		case !slices.Contains(running[id], u.Container):
			running[id] = append(running[id], u.Container)
		}
	}
	return running, coming
}
