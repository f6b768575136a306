// Package local is the hypervisor that is this machine: disks are sparse
// image files in folders, and attaching one gives a VM a loop device. A VM is
// a container or namespace with a process that stands for its power, or this
// machine itself.
//
// Below a datastore's path:
//
//	.mooring-datastore                         the mark, see Adopt
//	dockvols/<vmgroup>/<volume>.img            a disk, exactly its size
//	dockvols/<vmgroup>/<volume>.json           the metadata beside it
//	dockvols/<vmgroup>/<volume>.<id>.snap      a snapshot
//	dockvols/<vmgroup>/<any of these>.tmp      being made: no reader sees it
//
// A snapshot's name that is a second one of the image itself is no snapshot
// but what a crash left, see Build.
//
// An attached disk is a loop device whose name says for whom: "m:", serial,
// ":", VM id. The kernel keeps it, so nothing is lost when the service ends.
// A loop device whose name begins with "f:" was cut off by Fence and lives
// only until the last user in the guest closes it.
//
// Between processes, and between goroutines, a disk is guarded by flock on
// its image; the kernel itself would put one file on two loop devices.
package local

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Options say what there is on this machine.
type Options struct {
	Datastores []Datastore
	VMs        []VM
	// Settle is how long detaching from a VM that is off waits for the kernel
	// to let go of what the VM had open, before it is cut off; 0: ten seconds.
	Settle time.Duration
	// Poll is how often Watch looks at the VMs; 0: once a second.
	Poll time.Duration
	// Ready is asked before a datastore is adopted, and whenever one does not
	// open: it brings the datastore of that name to its path, or says why it is
	// not there; nil says that nothing stands in the way. nil: nobody is asked.
	Ready func(ctx context.Context, datastore string) error
}

// Datastore is a folder for disks.
type Datastore struct{ Name, Path string }

// VM is something on this machine that is given disks.
type VM struct {
	Name      string
	Datastore string // where it lives itself
	// DevDir is the folder that the VM sees as its /dev; "": /dev.
	DevDir string
	// InitPIDFile holds the pid of the process that stands for the VM: it is
	// on as long as that process lives. "": the VM is this machine.
	InitPIDFile string
	Socket      string // see hypervisor.VM
}

// namespace of the ids that VMID makes.
var namespace = uuid.MustParse("c3a1f1de-6a3e-5b0c-9a51-0d6a8f4c7b11")

// VMID is the id of the VM of that name, on every machine and for ever.
func VMID(name string) volspec.VMID {
	return volspec.VMID(uuid.NewSHA1(namespace, []byte(name)).String())
}

// Local implements hypervisor.Hypervisor, Snapshotter, Imager,
// FrozenSnapshotter, Watcher and Adopter.
type Local struct {
	conf   atomic.Pointer[conf]
	powers powers
	stores knowledge
}

var (
	_ hypervisor.Hypervisor  = (*Local)(nil)
	_ hypervisor.Snapshotter = (*Local)(nil)
	_ hypervisor.Watcher     = (*Local)(nil)
	_ hypervisor.Adopter     = (*Local)(nil)
)

// conf is Options made ready; it never changes.
type conf struct {
	stores       map[string]Datastore
	vms          map[volspec.VMID]VM
	settle, poll time.Duration
	ready        func(context.Context, string) error
}

// New checks o. It touches nothing on the machine.
func New(o Options) (*Local, error) {
	c, err := o.conf()
	if err != nil {
		return nil, err
	}
	l := &Local{}
	l.conf.Store(c)
	return l, nil
}

func (o Options) conf() (*conf, error) {
	c := &conf{stores: map[string]Datastore{}, vms: map[volspec.VMID]VM{}, settle: o.Settle, poll: o.Poll, ready: o.Ready}
	if c.ready == nil {
		c.ready = func(context.Context, string) error { return nil }
	}
	if c.settle == 0 {
		c.settle = 10 * time.Second
	}
	if c.poll == 0 {
		c.poll = time.Second
	}
	paths := map[string]string{}
	for _, d := range o.Datastores {
		d.Path = filepath.Clean(d.Path)
		if err := volspec.CheckDatastoreName(d.Name); err != nil && d.Name != volspec.PointsDatastore { // which the service adds by itself
			return nil, err
		}
		if !filepath.IsAbs(d.Path) {
			return nil, errkind.New(errkind.Invalid, "path %q of datastore %s is not absolute: write it from / on", d.Path, d.Name)
		}
		if _, ok := c.stores[d.Name]; ok {
			return nil, errkind.New(errkind.Invalid, "datastore %s is there twice: give each its own name", d.Name)
		}
		if other, ok := paths[d.Path]; ok {
			return nil, errkind.New(errkind.Invalid, "datastores %s and %s have the same path %s: give each its own", other, d.Name, d.Path)
		}
		paths[d.Path] = d.Name
		c.stores[d.Name] = d
	}
	for _, v := range o.VMs {
		if err := volspec.CheckVMName(v.Name); err != nil {
			return nil, err
		}
		if v.DevDir == "" {
			v.DevDir = "/dev"
		}
		if !filepath.IsAbs(v.DevDir) || (v.InitPIDFile != "" && !filepath.IsAbs(v.InitPIDFile)) {
			return nil, errkind.New(errkind.Invalid, "a path of VM %s is not absolute: write it from / on", v.Name)
		}
		if _, ok := c.stores[v.Datastore]; v.Datastore != "" && !ok {
			return nil, errkind.New(errkind.Invalid, "VM %s lives on datastore %s, which there is not: name one that there is", v.Name, v.Datastore)
		}
		id := VMID(v.Name)
		if _, ok := c.vms[id]; ok {
			return nil, errkind.New(errkind.Invalid, "VM %s is there twice: give each its own name", v.Name)
		}
		c.vms[id] = v
	}
	return c, nil
}

// Reload replaces the options, all or nothing. A VM or datastore that has
// attachments can neither vanish nor move: in-use.
func (l *Local) Reload(o Options) error {
	next, err := o.conf()
	if err != nil {
		return err
	}
	have := l.conf.Load()
	all, err := have.attachments("")
	if err != nil {
		return err
	}
	for _, a := range all {
		if old := have.stores[a.Datastore]; next.stores[a.Datastore] != old {
			return errkind.New(errkind.InUse, "datastore %s cannot be removed or moved: disk %s on it is attached to VM %s; detach it first", a.Datastore, a.Volume, have.vmName(a.VM))
		}
		old, ok := have.vms[a.VM]
		if ok && (next.vms[a.VM].DevDir != old.DevDir || next.vms[a.VM].InitPIDFile != old.InitPIDFile) {
			return errkind.New(errkind.InUse, "VM %s cannot be removed or moved: disk %s is attached to it; detach it first", old.Name, a.Volume)
		}
	}
	l.conf.Store(next)
	return nil
}

// vmName is the name of a VM for a sentence.
func (c *conf) vmName(id volspec.VMID) string {
	if v, ok := c.vms[id]; ok {
		return v.Name
	}
	return string(id)
}
