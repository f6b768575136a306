// Package faulty decorates a hypervisor so that one chosen call fails, before
// or after it was carried out, or so that a test learns of every call as it
// begins and ends. The usual test runs a use case with "call i fails" for
// every i until a run comes through without meeting its fault.
package faulty

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// When says at what moment a planned fault strikes.
type When int

// Before: the call is not carried out. After: it is, but its reply is lost.
const (
	Before When = iota
	After
)

// Fault is one planned failure.
type Fault struct {
	Call int // counted from 0 over all methods
	When When
	Err  error // nil: unavailable, naming the call
}

// Call is what a hook is told. Ref is zero where a method is about no disk.
type Call struct {
	Index int
	Name  string // of the method: Create, Attach, ...
	Ref   hypervisor.Ref
	When  When
}

// Plan is what is to happen. The zero plan lets everything through.
type Plan struct {
	Faults []Fault
	// Hook is called as each call begins (Before) and, unless a fault has kept
	// it from being carried out, when it has been carried out (After). A crash
	// test ends the process in it. It runs on the caller's goroutine.
	Hook func(Call)
}

// Hypervisor is the decorator. It counts calls of the methods of the contract
// and of all optional abilities but Watcher; a listing is one call, and so is
// a whole Build. Reading an open snapshot is none. Watch is passed through and
// not counted, since it lasts. It is safe for concurrent use; then the order of
// calls, and with it their numbers, is not determined.
type Hypervisor struct {
	inner hypervisor.Hypervisor
	plan  Plan

	mu    sync.Mutex // guards what follows
	calls []string
	hit   map[int]bool
}

// New decorates inner. The result has the optional abilities that inner has,
// to be asked for with hypervisor.As as always.
func New(inner hypervisor.Hypervisor, plan Plan) *Hypervisor {
	return &Hypervisor{inner: inner, plan: plan, hit: map[int]bool{}}
}

// Calls are the names of the calls so far, in order.
func (h *Hypervisor) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string{}, h.calls...)
}

// VerifyHit is an error that names the planned faults whose call was not made.
func (h *Hypervisor) VerifyHit() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.plan.Faults {
		if !h.hit[f.Call] {
			return fmt.Errorf("the fault planned for call %d was not met: there were %d calls %v", f.Call, len(h.calls), h.calls)
		}
	}
	return nil
}

// Unwrap is for hypervisor.As. It leads to the inner hypervisor past one layer
// for each optional ability that inner has, in which its calls are counted.
func (h *Hypervisor) Unwrap() hypervisor.Hypervisor {
	u := h.inner
	if a, ok := hypervisor.As[hypervisor.Adopter](h.inner); ok {
		u = adopter{u, h, a}
	}
	if s, ok := hypervisor.As[hypervisor.Snapshotter](h.inner); ok {
		u = snapshotter{u, h, s}
	}
	if i, ok := hypervisor.As[hypervisor.Imager](h.inner); ok {
		u = imager{u, h, i}
	}
	if m, ok := hypervisor.As[hypervisor.Moments](h.inner); ok {
		u = moments{u, h, m}
	}
	if f, ok := hypervisor.As[hypervisor.FrozenSnapshotter](h.inner); ok {
		u = frozen{u, h, f}
	}
	if p, ok := hypervisor.As[hypervisor.StoragePolicies](h.inner); ok {
		u = policies{u, h, p}
	}
	if g, ok := hypervisor.As[hypervisor.GuestInfo](h.inner); ok {
		u = guestInfo{u, h, g}
	}
	if m, ok := hypervisor.As[hypervisor.MachineImager](h.inner); ok {
		u = machineImager{u, h, m}
	}
	if f, ok := hypervisor.As[hypervisor.Folders](h.inner); ok {
		u = folders{u, h, f}
	}
	return u
}

func (h *Hypervisor) fault(index int, when When) error {
	for _, f := range h.plan.Faults {
		if f.Call != index || f.When != when {
			continue
		}
		h.mu.Lock()
		h.hit[index] = true
		name := h.calls[index]
		h.mu.Unlock()
		if f.Err != nil {
			return f.Err
		}
		if when == After {
			return errkind.New(errkind.Unavailable, "the reply to %s was lost (planned fault at call %d): repeat it", name, index)
		}
		return errkind.New(errkind.Unavailable, "%s could not be sent (planned fault at call %d): repeat it", name, index)
	}
	return nil
}

// do is one counted call.
func (h *Hypervisor) do(name string, r hypervisor.Ref, call func() error) error {
	h.mu.Lock()
	index := len(h.calls)
	h.calls = append(h.calls, name)
	h.mu.Unlock()
	h.hook(Call{index, name, r, Before})
	if err := h.fault(index, Before); err != nil {
		return err
	}
	err := call()
	h.hook(Call{index, name, r, After})
	if lost := h.fault(index, After); lost != nil {
		return lost
	}
	return err
}

func (h *Hypervisor) hook(c Call) {
	if h.plan.Hook != nil {
		h.plan.Hook(c)
	}
}

func do1[T any](h *Hypervisor, name string, r hypervisor.Ref, call func() (T, error)) (T, error) {
	var got T
	err := h.do(name, r, func() (err error) { got, err = call(); return err })
	if err != nil {
		var zero T
		return zero, err
	}
	return got, nil
}

var _ hypervisor.Hypervisor = (*Hypervisor)(nil)

// Create implements hypervisor.Disks.
func (h *Hypervisor) Create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string) error {
	return h.do("Create", r, func() error { return h.inner.Create(ctx, r, size, format) })
}

// Delete implements hypervisor.Disks.
func (h *Hypervisor) Delete(ctx context.Context, r hypervisor.Ref) error {
	return h.do("Delete", r, func() error { return h.inner.Delete(ctx, r) })
}

// Stat implements hypervisor.Disks.
func (h *Hypervisor) Stat(ctx context.Context, r hypervisor.Ref) (hypervisor.Disk, error) {
	return do1(h, "Stat", r, func() (hypervisor.Disk, error) { return h.inner.Stat(ctx, r) })
}

// List implements hypervisor.Disks.
func (h *Hypervisor) List(ctx context.Context, datastore string) iter.Seq2[hypervisor.Disk, error] {
	return func(yield func(hypervisor.Disk, error) bool) {
		stopped := false
		err := h.do("List", hypervisor.Ref{Datastore: datastore}, func() error {
			for d, err := range h.inner.List(ctx, datastore) {
				if !yield(d, err) {
					stopped = true
					break
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(hypervisor.Disk{}, err)
		}
	}
}

// Grow implements hypervisor.Disks.
func (h *Hypervisor) Grow(ctx context.Context, r hypervisor.Ref, size volspec.Size) error {
	return h.do("Grow", r, func() error { return h.inner.Grow(ctx, r, size) })
}

// Clone implements hypervisor.Disks.
func (h *Hypervisor) Clone(ctx context.Context, src hypervisor.Ref, snap volspec.SnapshotID, dst hypervisor.Ref, format string) error {
	return h.do("Clone", dst, func() error { return h.inner.Clone(ctx, src, snap, dst, format) })
}

// PutMeta implements hypervisor.Metadata.
func (h *Hypervisor) PutMeta(ctx context.Context, r hypervisor.Ref, data []byte) error {
	return h.do("PutMeta", r, func() error { return h.inner.PutMeta(ctx, r, data) })
}

// VMs implements hypervisor.Machines.
func (h *Hypervisor) VMs(ctx context.Context) ([]hypervisor.VM, error) {
	return do1(h, "VMs", hypervisor.Ref{}, func() ([]hypervisor.VM, error) { return h.inner.VMs(ctx) })
}

// VM implements hypervisor.Machines.
func (h *Hypervisor) VM(ctx context.Context, id volspec.VMID) (hypervisor.VM, error) {
	return do1(h, "VM", hypervisor.Ref{}, func() (hypervisor.VM, error) { return h.inner.VM(ctx, id) })
}

// Attach implements hypervisor.Machines.
func (h *Hypervisor) Attach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	return do1(h, "Attach", r, func() (hypervisor.Device, error) { return h.inner.Attach(ctx, vm, r, readOnly) })
}

// Detach implements hypervisor.Machines.
func (h *Hypervisor) Detach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	return h.do("Detach", r, func() error { return h.inner.Detach(ctx, vm, r) })
}

// Fence implements hypervisor.Machines.
func (h *Hypervisor) Fence(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	return h.do("Fence", r, func() error { return h.inner.Fence(ctx, vm, r) })
}

// Attached implements hypervisor.Machines.
func (h *Hypervisor) Attached(ctx context.Context) ([]hypervisor.Device, error) {
	return do1(h, "Attached", hypervisor.Ref{}, func() ([]hypervisor.Device, error) { return h.inner.Attached(ctx) })
}

// Datastores implements hypervisor.Datastores.
func (h *Hypervisor) Datastores(ctx context.Context) ([]hypervisor.Datastore, error) {
	return do1(h, "Datastores", hypervisor.Ref{}, func() ([]hypervisor.Datastore, error) { return h.inner.Datastores(ctx) })
}
