// Package vsphere is the hypervisor contract on a vCenter, or on one ESXi host
// without it. Volumes are first-class disks or plain VMDKs at a place that
// follows from their reference; VMs are known by their instance UUIDs.
package vsphere

import (
	"context"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/volspec"
)

// How disks are kept.
const (
	FCD  = "fcd"  // first-class disks: an identity, snapshots and changed blocks of their own
	VMDK = "vmdk" // files that VMs use
)

// Options says which vCenter to use, and how.
type Options struct {
	vcenter.Options
	Disk       string   // FCD or VMDK
	Datastores []string // names of those that are offered; none means all
	Scratch    string   // a local directory for content on its way to a datastore
	// Transporter is the VM that this process runs in, by name or instance UUID:
	// disks are plugged into it for their content. "" for none. No other process
	// uses it.
	Transporter string

	// In tests:
	bySerial  string        // where the disks of the transporter are named
	appearing time.Duration // how long one may take to be seen
}

// VSphere implements hypervisor.Hypervisor.
type VSphere struct {
	o           Options
	c           *vcenter.Client
	inv         *vcenter.Inventory
	slots       keylock.Map[volspec.VMID] // who changes the devices of a VM
	devices     devices
	making      sync.Map // names of VMs that are being made, and disks that are being replaced
	transporter transporter
	storage
}

var (
	_ hypervisor.Machines   = (*VSphere)(nil)
	_ hypervisor.Datastores = (*VSphere)(nil)
	_ hypervisor.Watcher    = (*VSphere)(nil)
)

// New checks the form of o. It connects to nobody.
func New(o Options) (*VSphere, error) {
	if o.Disk != FCD && o.Disk != VMDK {
		return nil, errkind.New(errkind.Invalid, "disk kind %q is not known: use fcd or vmdk", o.Disk)
	}
	c, err := vcenter.New(o.Options)
	if err != nil {
		return nil, err
	}
	return &VSphere{o: o, c: c, inv: vcenter.NewInventory(c)}, nil
}

// Close ends the session with vCenter. It is for when nothing is done any more.
func (v *VSphere) Close(ctx context.Context) error { return v.c.Close(ctx) }

// Hosts are the hosts that run VMs, with their processor sockets, by name.
func (v *VSphere) Hosts(ctx context.Context) ([]vcenter.Host, error) { return v.inv.Hosts(ctx) }

// Networks are the networks that VMs can be connected to, by name.
func (v *VSphere) Networks(ctx context.Context) ([]vcenter.Network, error) {
	return v.inv.Networks(ctx)
}
