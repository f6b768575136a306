package volume_test

import (
	"context"
	"maps"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// points are the recovery points of two vmgroups, with content; a restore runs
// at once. Call fail of Fill, OpenView, CloseView and Restore, counted from 1,
// fails.
type points struct {
	w *world

	mu       sync.Mutex // guards what follows
	list     []aPoint
	views    map[volspec.VolumeID]volspec.PointID
	policies map[string]bool
	calls    int
	fail     int
	restores int
	filling  func() // called in Fill
}

type aPoint struct {
	volume.Point
	group   volspec.VMGroupID
	content string
}

func newPoints(w *world) *points {
	return &points{w: w, views: map[volspec.VolumeID]volspec.PointID{}, policies: map[string]bool{}}
}

func pointsDatastore(s hypervisor.DatastoreState) hypervisor.Datastore {
	return hypervisor.Datastore{Name: volspec.PointsDatastore, ID: "memory-points", State: s, Detail: "recovery points are never written to"}
}

// add makes a formatted point of 1 GiB.
func (p *points) add(g volspec.VMGroupID, of, id, content string) volume.Point {
	pt := aPoint{group: g, content: content, Point: volume.Point{
		ID: volspec.PointID(id), Volume: of, Created: time.Now(), Size: volspec.GiB, FSUUID: "aaaaaaaa-0000-4000-8000-000000000001",
		Format: volspec.Formatted, FSSize: volspec.GiB - volspec.MiB, Spec: volspec.Spec{Size: volspec.GiB, FSType: volspec.XFS, MountOpts: []string{"noatime"}}.Defaulted(),
	}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, pt)
	return pt.Point
}

func (p *points) change(id volspec.PointID, fn func(*aPoint)) volume.Point {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		if p.list[i].ID == id {
			fn(&p.list[i])
			return p.list[i].Point
		}
	}
	panic("no point " + id)
}

func (p *points) shown() map[volspec.VolumeID]volspec.PointID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.views)
}

func (p *points) called() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls++
	if p.calls == p.fail {
		return errkind.New(errkind.Unavailable, "the repository is away: repeat it")
	}
	return nil
}

func (p *points) Resolve(_ context.Context, g volspec.VMGroupID, name, ref string) (volume.Point, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		x := p.list[len(p.list)-1-i] // the newest first
		if x.group == g && (ref == string(x.ID) || ref == "latest" && x.Volume == name || ref == x.Volume+"@latest") {
			return x.Point, nil
		}
	}
	return volume.Point{}, errkind.New(errkind.NotFound, "Recovery point %s not found", ref)
}

func (p *points) Restore(ctx context.Context, c volspec.Caller, g volspec.VMGroup, req wire.CreateVolume) error {
	if err := p.called(); err != nil {
		return err
	}
	p.mu.Lock()
	p.restores++
	p.mu.Unlock()
	_, err := p.w.svc.CreateRestored(ctx, c, g.Name, req)
	return err
}

func (p *points) Fill(ctx context.Context, id volspec.PointID, _ volspec.VolumeID, to image.Target) error {
	if err := p.called(); err != nil {
		return err
	}
	p.mu.Lock()
	filling := p.filling
	var content string
	for _, x := range p.list {
		if x.ID == id {
			content = x.content
		}
	}
	p.mu.Unlock()
	_, err := to.WriteAt([]byte(content), 0)
	if filling != nil {
		filling()
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

func (p *points) OpenView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID, id volspec.PointID) error {
	if err := p.called(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.views[v] = id
	p.w.hv.SetDatastore(pointsDatastore(hypervisor.Online))
	defer p.w.hv.SetDatastore(pointsDatastore(hypervisor.ReadOnlyStore))
	return p.w.hv.Create(ctx, p.ref(g, v), volspec.GiB, volspec.Thin)
}

func (p *points) CloseView(ctx context.Context, g volspec.VMGroupID, v volspec.VolumeID) error {
	if err := p.called(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.views, v)
	p.w.hv.SetDatastore(pointsDatastore(hypervisor.Online))
	defer p.w.hv.SetDatastore(pointsDatastore(hypervisor.ReadOnlyStore))
	return p.w.hv.Delete(ctx, p.ref(g, v))
}

func (p *points) ref(g volspec.VMGroupID, v volspec.VolumeID) hypervisor.Ref {
	return hypervisor.Ref{Datastore: volspec.PointsDatastore, Group: g, Volume: v}
}

func (p *points) CheckPolicy(_ context.Context, g volspec.VMGroupID, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.policies[string(g)+"/"+name] {
		return nil
	}
	return errkind.New(errkind.NotFound, "Backup policy %s not found", name)
}

func (p *points) Summary(_ context.Context, _ volspec.VMGroupID, v volspec.VolumeID) (wire.VolumeBackup, error) {
	return wire.VolumeBackup{Policy: "nightly", State: "ok", LastPoint: "of " + string(v)}, p.called()
}

// guests answer freezes all in the same way.
type guests struct {
	held   bool
	stall  time.Duration
	note   string
	err    error                 // with silent: instead of the deed; else after it
	silent bool                  // the deed is not done
	before func()                // called before the guest answers
	lease  func(context.Context) // called within the lease, before the deed
	asked  int
	epoch  int64
	length time.Duration
}

func (g *guests) Freeze(ctx context.Context, _ volspec.VMID, _ volspec.VolumeID, _ string, epoch int64, lease time.Duration, do func(context.Context) error) (bool, time.Duration, string, error) {
	g.asked++
	g.epoch, g.length = epoch, lease
	if g.before != nil {
		g.before()
	}
	if g.silent {
		return false, 0, "", g.err
	}
	ctx, cancel := context.WithTimeout(ctx, lease)
	defer cancel()
	if g.lease != nil {
		g.lease(ctx)
	}
	if err := do(ctx); err != nil {
		return false, g.stall, g.note, err
	}
	return g.held, g.stall, g.note, g.err
}
