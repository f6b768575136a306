package vcenter

import (
	"context"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Folder is a folder of VMs.
type Folder struct {
	Ref  types.ManagedObjectReference
	Path volspec.Folder // absolute
}

// aboveVMs are what a VM lies in, with their names and what they lie in.
var aboveVMs = []types.PropertySpec{
	{Type: "Folder", PathSet: []string{"name", "parent"}},
	{Type: "Datacenter", PathSet: []string{"name", "parent", "vmFolder"}},
	{Type: "VirtualApp", PathSet: []string{"parentFolder", "parentVApp"}},
}

// tree is what VMs lie in.
type tree map[types.ManagedObjectReference]node

type node struct {
	name string
	in   within
	vms  types.ManagedObjectReference // of a datacenter: the folder of all its VMs
}

// within is what something lies in: a folder, or a vApp that lies in one. In the
// root, or where that cannot be seen, both are zero.
type within struct{ folder, app types.ManagedObjectReference }

func (w *within) change(c types.PropertyChange) {
	switch c.Name {
	case "parent", "parentFolder":
		w.folder, _ = c.Val.(types.ManagedObjectReference)
	case "parentVApp":
		w.app, _ = c.Val.(types.ManagedObjectReference)
	}
}

// apply takes in one update.
func (t tree) apply(u types.ObjectUpdate) {
	if u.Kind == types.ObjectUpdateKindLeave {
		delete(t, u.Obj)
		return
	}
	n := t[u.Obj]
	for _, c := range u.ChangeSet {
		n.in.change(c)
		switch c.Name {
		case "name":
			n.name, _ = c.Val.(string)
		case "vmFolder":
			n.vms, _ = c.Val.(types.ManagedObjectReference)
		}
	}
	t[u.Obj] = n
}

// paths are those of a tree that were asked for. A folder of which not every one
// above it can be seen has none.
type paths struct {
	t     tree
	root  types.ManagedObjectReference
	known map[types.ManagedObjectReference]volspec.Folder
}

func (p paths) of(w within) volspec.Folder {
	at := w.folder
	if at.Value == "" {
		at = w.app
	}
	return p.at(at)
}

func (p paths) at(ref types.ManagedObjectReference) volspec.Folder {
	if path, ok := p.known[ref]; ok {
		return path
	}
	p.known[ref] = "" // should what is told be a circle
	n, ok := p.t[ref]
	switch above := n.in.folder; {
	case !ok:
	case ref.Type == "VirtualApp":
		p.known[ref] = p.of(n.in)
	case n.name == "":
	case above == p.root:
		p.known[ref] = volspec.Folder("/" + n.name)
	default:
		if path := p.at(above); path != "" {
			p.known[ref] = path + volspec.Folder("/"+n.name)
		}
	}
	return p.known[ref]
}

// Folder finds a folder of VMs of the datacenter. A relative path begins below
// the folder of all its VMs, which itself is invalid. Unknown: not-found.
func (i *Inventory) Folder(ctx context.Context, f volspec.Folder) (Folder, error) {
	what := "looking for folder " + string(f)
	if err := i.refresh(ctx, what); err != nil {
		return Folder{}, err
	}
	dc, err := i.c.Datacenter(ctx)
	if err != nil {
		return Folder{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	p := i.paths()
	all := p.at(i.has.tree[dc.Reference()].vms)
	if all == "" {
		return Folder{}, errkind.New(errkind.Unavailable, "%s: the folder of all VMs of datacenter %s cannot be seen: give the account of mooringd the right to read it, and what it lies in", what, dc.Name())
	}
	if !f.IsAbs() {
		f = all + "/" + f
	}
	if f == all {
		return Folder{}, errkind.New(errkind.Invalid, "%s is the folder of all VMs of the datacenter: name one below it", f)
	}
	for ref := range i.has.tree {
		if ref.Type == "Folder" && all.Holds(f) && p.at(ref) == f {
			return Folder{ref, f}, nil
		}
	}
	return Folder{}, errkind.New(errkind.NotFound, "no folder %s below %s: see the inventory of vCenter; a slash in a name is written %%2f", strings.TrimPrefix(string(f), string(all)+"/"), all)
}

// paths are those of what is known now. i.mu is held.
func (i *Inventory) paths() paths {
	return paths{i.has.tree, i.has.root, map[types.ManagedObjectReference]volspec.Folder{}}
}
