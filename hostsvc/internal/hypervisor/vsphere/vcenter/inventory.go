package vcenter

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// VM is what the inventory knows of one VM.
type VM struct {
	Ref       types.ManagedObjectReference
	ID        string // instance UUID in lower case; "" while vCenter cannot read its configuration
	Name      string
	Host      types.ManagedObjectReference
	Datastore string // where its own files are
	Power     types.VirtualMachinePowerState
	Connected bool // its host answers
	Template  bool
	BootTime  time.Time // of the last power cycle or reset; zero when it is off
	// Version moves when the devices may have changed: with the configuration,
	// with a snapshot taken, removed or reverted to, with a power cycle, with files
	// on another datastore.
	Version string
	Folder  volspec.Folder // the innermost that it is in, absolute; "" when it cannot be seen

	in within
}

// Inventory is what there is in vCenter. Every method asks for what has changed
// since the last one asked, so that its answer is current and its cost is that
// of the changes. After a new session everything is read anew.
type Inventory struct {
	c    *Client
	turn chan struct{} // held by who refreshes; capacity one

	mu      sync.Mutex // guards the rest
	started uint64     // refreshes begun
	done    uint64     // the last one that succeeded
	stream  *stream
	has     stock
}

// stock is what an inventory knows.
type stock struct {
	vms  machines
	tree tree
	root types.ManagedObjectReference
}

// NewInventory reads nothing yet.
func NewInventory(c *Client) *Inventory {
	return &Inventory{c: c, turn: make(chan struct{}, 1), has: stock{vms: machines{}, tree: tree{}}}
}

// VMs are all VMs that are no templates, by name.
func (i *Inventory) VMs(ctx context.Context) ([]VM, error) {
	if err := i.refresh(ctx, "listing the VMs"); err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	all := make([]VM, 0, len(i.has.vms))
	p := i.paths()
	for _, v := range i.has.vms {
		if v.ID != "" && !v.Template {
			all = append(all, v.placed(p))
		}
	}
	slices.SortFunc(all, func(a, b VM) int {
		return strings.Compare(a.Name+"\x00"+a.ID, b.Name+"\x00"+b.ID)
	})
	return all, nil
}

// VM is the VM with an instance UUID. Unknown: not-found. Two that have the
// same: corrupt.
func (i *Inventory) VM(ctx context.Context, id string) (VM, error) {
	if err := i.refresh(ctx, "looking at VM "+id); err != nil {
		return VM{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	var found *VM
	for _, v := range i.has.vms {
		if v.ID != id || v.Template {
			continue
		}
		if found != nil {
			return VM{}, errkind.New(errkind.Corrupt, "VMs %s and %s have the same instance UUID %s: give one of them a new one", found.Name, v.Name, id)
		}
		found = v
	}
	if found == nil {
		return VM{}, errkind.New(errkind.NotFound, "no VM %s: see the list of VMs", id)
	}
	return found.placed(i.paths()), nil
}

func (v *VM) placed(p paths) VM {
	out := *v
	out.Folder = p.of(v.in)
	return out
}

// refresh takes in what has changed. Who comes while somebody refreshes shares
// the next refresh with the others who wait.
func (i *Inventory) refresh(ctx context.Context, what string) error {
	i.mu.Lock()
	mine := i.started + 1
	i.mu.Unlock()
	select {
	case i.turn <- struct{}{}:
		defer func() { <-i.turn }()
	case <-ctx.Done():
		return Translate(context.Cause(ctx), what)
	}
	if ctx.Err() != nil {
		return Translate(context.Cause(ctx), what)
	}
	i.mu.Lock()
	if i.done >= mine {
		i.mu.Unlock()
		return nil
	}
	i.started++
	now := i.started
	i.mu.Unlock()
	err := i.c.again(ctx, func() error {
		return i.c.in(ctx, what, func(ctx context.Context, s *conn) error { return i.update(ctx, s) })
	})
	if err == nil {
		i.mu.Lock()
		i.done = now
		i.mu.Unlock()
	}
	return err
}

// update brings i up to date through s. Only who holds the turn calls it.
func (i *Inventory) update(ctx context.Context, s *conn) error {
	st := i.stream
	if st != nil && st.s != s {
		st = nil
	}
	if st != nil {
		next := i.has.copy()
		err := st.changes(ctx, 0, next.apply)
		if err == nil {
			i.set(st, next)
			return nil
		}
		i.set(nil, i.has)
		if Is[*types.NotAuthenticated](err) {
			return err
		}
		// What was lost on the way is not sent again.
		st.close(ctx)
		if ctx.Err() != nil {
			return err
		}
	}
	i.set(nil, i.has)
	st, err := openStream(ctx, s, append([]types.PropertySpec{ofVMs}, aboveVMs...)...)
	if err != nil {
		return err
	}
	next := stock{machines{}, tree{}, s.vim.ServiceContent.RootFolder}
	if err := st.changes(ctx, 0, next.apply); err != nil {
		st.close(ctx)
		return err
	}
	i.set(st, next)
	return nil
}

func (i *Inventory) set(st *stream, has stock) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.stream, i.has = st, has
}

// copy is what changes are applied to: what is half applied when the connection
// is lost is never seen.
func (s stock) copy() stock { return stock{maps.Clone(s.vms), maps.Clone(s.tree), s.root} }

func (s stock) apply(u types.ObjectUpdate) {
	if u.Obj.Type == ofVMs.Type {
		s.vms.apply(u)
		return
	}
	s.tree.apply(u)
}

// machines are VMs by reference.
type machines map[types.ManagedObjectReference]*VM

// apply takes in one update. An object that enters is one that may be known
// already.
func (m machines) apply(u types.ObjectUpdate) {
	if u.Kind == types.ObjectUpdateKindLeave {
		delete(m, u.Obj)
		return
	}
	v := &VM{Ref: u.Obj}
	if old := m[u.Obj]; old != nil {
		*v = *old
	}
	for _, c := range u.ChangeSet {
		v.change(c)
	}
	m[u.Obj] = v
}

var ofVMs = types.PropertySpec{Type: "VirtualMachine", PathSet: []string{
	"name", "config.instanceUuid", "config.files.vmPathName", "config.template", "config.changeVersion",
	"runtime.powerState", "runtime.connectionState", "runtime.host", "runtime.bootTime", "snapshot.currentSnapshot",
	"parent", "parentVApp", "datastore",
}}

// change takes in one property. A value of nil says that it is not known now,
// as while a host is away.
func (v *VM) change(c types.PropertyChange) {
	switch c.Name {
	case "name":
		v.Name, _ = c.Val.(string)
	case "config.instanceUuid":
		if s, ok := c.Val.(string); ok {
			v.ID = strings.ToLower(s)
		}
	case "config.files.vmPathName":
		if s, ok := c.Val.(string); ok {
			v.Datastore, _, _ = SplitPath(s)
		}
	case "config.template":
		v.Template, _ = c.Val.(bool)
	case "runtime.powerState":
		v.Power, _ = c.Val.(types.VirtualMachinePowerState)
	case "runtime.connectionState":
		state, _ := c.Val.(types.VirtualMachineConnectionState)
		v.Connected = state == types.VirtualMachineConnectionStateConnected
	case "runtime.host":
		v.Host, _ = c.Val.(types.ManagedObjectReference)
	case "runtime.bootTime":
		v.BootTime, _ = c.Val.(time.Time)
	}
	v.in.change(c)
	v.moved(c)
}
