package vsphere

import (
	"slices"
	"sync"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/volspec"
)

// root is the folder on a datastore in which our disks are.
const root = layout.Root

// storage is what is remembered of disks. None of it matters after a restart.
type storage struct {
	browsers sync.Map // of datastores, by reference
	registry registry
	built    builds
	open     readers
	leases   leases
	carriers carriers
	names    folderNames
}

// builds are the disks that are being built anew.
type builds struct {
	mu  sync.Mutex // guards now
	now map[hypervisor.Ref]bool
}

// begin marks r until end is called; false: it is marked already.
func (b *builds) begin(r hypervisor.Ref) (end func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now[r] {
		return nil, false
	}
	if b.now == nil {
		b.now = map[hypervisor.Ref]bool{}
	}
	b.now[r] = true
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.now, r)
	}, true
}

func (b *builds) has(r hypervisor.Ref) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now[r]
}

// readers are the images that are open.
type readers struct {
	mu  sync.Mutex // guards all
	all []*opened
}

func (r *readers) add(o *opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, o)
}

func (r *readers) remove(o *opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = slices.DeleteFunc(r.all, func(x *opened) bool { return x == o })
}

// of are the images of a disk's snapshot; "" for all of its snapshots.
func (r *readers) of(ref hypervisor.Ref, id volspec.SnapshotID) (found []*opened) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range r.all {
		if o.ref == ref && (id == "" || o.id == id) {
			found = append(found, o)
		}
	}
	return found
}
