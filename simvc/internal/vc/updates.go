package vc

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// updatesAPI answers WaitForUpdatesEx for filters over views of everything. The
// simulator collects all objects anew for each change of any object; this one
// reads those that have changed, as a vCenter does. Filters of another form are
// left to the simulator.
type updatesAPI struct {
	api
	mu      sync.Mutex // guards watches
	watches map[types.ManagedObjectReference]*watch
}

// lookEvery is how long changes are gathered.
const lookEvery = 5 * time.Millisecond

// watch is what a collector has not told yet.
type watch struct {
	self  types.ManagedObjectReference
	kinds map[string]bool

	mu      sync.Mutex // guards the rest
	changed map[types.ManagedObjectReference]bool
	told    map[types.ManagedObjectReference]bool
	version int
	cancel  context.CancelFunc // of who waits
}

// Reference names the watch among the registry's listeners.
func (w *watch) Reference() types.ManagedObjectReference { return w.self }

// PutObject is called for a new object.
func (w *watch) PutObject(_ *simulator.Context, o mo.Reference) { w.note(o.Reference()) }

// UpdateObject is called for one that has changed.
func (w *watch) UpdateObject(_ *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	w.note(o.Reference())
}

// RemoveObject is called for one that is gone.
func (w *watch) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) { w.note(ref) }

func (w *watch) note(ref types.ManagedObjectReference) {
	if !w.kinds[ref.Type] {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.changed[ref] = true
}

// overAll reports whether all filters of a collector are over views, and of
// which kinds of objects.
func overAll(ctx *simulator.Context, pc *simulator.PropertyCollector) (specs []types.PropertyFilterSpec, kinds map[string]bool, ok bool) {
	kinds = map[string]bool{}
	for _, ref := range pc.Filter {
		f, is := ctx.Session.Get(ref).(*simulator.PropertyFilter)
		if !is || len(f.Spec.ObjectSet) != 1 || f.Spec.ObjectSet[0].Obj.Type != "ContainerView" {
			return nil, nil, false
		}
		specs = append(specs, f.Spec)
		for _, p := range f.Spec.PropSet {
			kinds[p.Type] = true
		}
	}
	return specs, kinds, len(specs) == 1
}

// WaitForUpdatesEx is the SOAP method.
func (a *updatesAPI) WaitForUpdatesEx(ctx *simulator.Context, r *types.WaitForUpdatesEx) soap.HasFault {
	body := &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{}}
	pc, ok := ctx.Session.Get(r.This).(*simulator.PropertyCollector)
	if !ok {
		body.Res, body.Fault_ = nil, simulator.Fault("", &types.ManagedObjectNotFound{Obj: r.This})
		return body
	}
	specs, kinds, ok := overAll(ctx, pc)
	if !ok {
		return pc.WaitForUpdatesEx(ctx, r)
	}
	w := a.watch(ctx, r, kinds)
	if r.Version != "" && !w.wait(ctx, r.Options) {
		return body
	}
	updates := w.collect(ctx, pc, specs[0], r.Version == "")
	if len(updates) == 0 && r.Version != "" {
		return body
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.version++
	body.Res.Returnval = &types.UpdateSet{
		Version:   strconv.Itoa(w.version),
		FilterSet: []types.PropertyFilterUpdate{{Filter: pc.Filter[0], ObjectSet: updates}},
	}
	return body
}

// watch is that of the collector; a first question begins anew.
func (a *updatesAPI) watch(ctx *simulator.Context, r *types.WaitForUpdatesEx, kinds map[string]bool) *watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.watches[r.This]
	if w != nil && r.Version != "" {
		return w
	}
	if w != nil {
		ctx.Map.RemoveHandler(w)
	}
	w = &watch{
		self:  types.ManagedObjectReference{Type: "SimvcWatch", Value: r.This.Value},
		kinds: kinds, changed: map[types.ManagedObjectReference]bool{}, told: map[types.ManagedObjectReference]bool{},
	}
	a.watches[r.This] = w
	ctx.Map.AddHandler(w)
	return w
}

// wait is false when nothing has changed in the time that was given.
func (w *watch) wait(ctx *simulator.Context, o *types.WaitOptions) bool {
	limit := 30 * time.Minute
	if o != nil && o.MaxWaitSeconds != nil {
		limit = time.Duration(*o.MaxWaitSeconds) * time.Second
	}
	within, cancel := context.WithTimeout(ctx.Context, limit)
	defer cancel()
	w.mu.Lock()
	w.cancel = cancel
	w.mu.Unlock()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		w.mu.Lock()
		some := len(w.changed) > 0
		w.mu.Unlock()
		if some || limit == 0 {
			return some
		}
		select {
		case <-look.C:
		case <-within.Done():
			return false
		}
	}
}

// collect reads what has changed, or all.
func (w *watch) collect(ctx *simulator.Context, pc *simulator.PropertyCollector, spec types.PropertyFilterSpec, all bool) (out []types.ObjectUpdate) {
	w.mu.Lock()
	changed := slices.SortedFunc(maps.Keys(w.changed), func(a, b types.ManagedObjectReference) int { return strings.Compare(a.Value, b.Value) })
	w.changed = map[types.ManagedObjectReference]bool{}
	w.mu.Unlock()
	if !all {
		spec.ObjectSet = nil
		for _, ref := range changed {
			if ctx.Map.Get(ref) != nil {
				spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
			} else if w.told[ref] {
				delete(w.told, ref)
				out = append(out, types.ObjectUpdate{Kind: types.ObjectUpdateKindLeave, Obj: ref})
			}
		}
		if len(spec.ObjectSet) == 0 {
			return out
		}
	}
	res, ok := pc.RetrieveProperties(ctx, &types.RetrieveProperties{This: pc.Self, SpecSet: []types.PropertyFilterSpec{spec}}).(*methods.RetrievePropertiesBody)
	if !ok || res.Res == nil { // one of them went meanwhile
		for _, ref := range changed {
			w.note(ref)
		}
		return out
	}
	for _, o := range res.Res.Returnval {
		u := types.ObjectUpdate{Kind: types.ObjectUpdateKindModify, Obj: o.Obj, MissingSet: o.MissingSet}
		if !w.told[o.Obj] {
			w.told[o.Obj], u.Kind = true, types.ObjectUpdateKindEnter
		}
		there := map[string]bool{}
		for _, p := range o.PropSet {
			there[p.Name] = true
			u.ChangeSet = append(u.ChangeSet, types.PropertyChange{Op: types.PropertyChangeOpAssign, Name: p.Name, Val: p.Val})
		}
		of := slices.IndexFunc(spec.PropSet, func(p types.PropertySpec) bool { return p.Type == o.Obj.Type })
		for _, name := range spec.PropSet[of].PathSet { // what is not there any more
			if u.Kind == types.ObjectUpdateKindModify && !there[name] {
				u.ChangeSet = append(u.ChangeSet, types.PropertyChange{Op: types.PropertyChangeOpRemove, Name: name})
			}
		}
		out = append(out, u)
	}
	return out
}

// CancelWaitForUpdates is the SOAP method.
func (a *updatesAPI) CancelWaitForUpdates(ctx *simulator.Context, r *types.CancelWaitForUpdates) soap.HasFault {
	a.mu.Lock()
	w := a.watches[r.This]
	a.mu.Unlock()
	if w == nil {
		if pc, ok := ctx.Session.Get(r.This).(*simulator.PropertyCollector); ok {
			return pc.CancelWaitForUpdates(r)
		}
	} else {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.cancel != nil {
			w.cancel()
		}
	}
	return &methods.CancelWaitForUpdatesBody{Res: new(types.CancelWaitForUpdatesResponse)}
}

// DestroyPropertyCollector is the SOAP method.
func (a *updatesAPI) DestroyPropertyCollector(ctx *simulator.Context, r *types.DestroyPropertyCollector) soap.HasFault {
	a.mu.Lock()
	if w := a.watches[r.This]; w != nil {
		ctx.Map.RemoveHandler(w)
		delete(a.watches, r.This)
	}
	a.mu.Unlock()
	pc, ok := ctx.Session.Get(r.This).(*simulator.PropertyCollector)
	if !ok {
		return &methods.DestroyPropertyCollectorBody{Fault_: simulator.Fault("", &types.ManagedObjectNotFound{Obj: r.This})}
	}
	return pc.DestroyPropertyCollector(ctx, r)
}
