// Package control starts and steers mooring-simvc, the vCenter with real bytes
// that tests run against. It knows the program only by its command line and its
// control socket, and nothing of what it simulates with.
package control

import (
	"context"
	"time"
)

// Options say what to simulate; zero values have defaults.
type Options struct {
	// Hosts is the number of hosts of the cluster. Default 2.
	Hosts int
	// VMs is how many there are at the start: "vm-0", "vm-1" ..., powered on, each
	// with one system disk of 64 MiB on the first datastore, on the hosts by turn.
	VMs int
	// Datastores are the names. Each is a directory of that name below Dir, and
	// the disks are files in it. Default ds-0, ds-1.
	Datastores []string
	// Dir keeps the datastores and what Restart needs. Default: a new directory
	// that Stop removes.
	Dir string
	// Capacity of each datastore in bytes. Default 100 GiB. Thick disks count in
	// full when they are made, thin ones as much as is written.
	Capacity int64
	// ESX is one host without a vCenter: no first-class disks, no migration.
	ESX bool
	// PinSnapshots is a vSphere that relocates no VM with first-class disks that
	// have snapshots. Others move them with their snapshots.
	PinSnapshots bool
	// User and Password log in; others do not. Default
	// administrator@vsphere.local and a random password.
	User, Password string
}

// VM is a virtual machine as the simulator sees it.
type VM struct {
	Name         string
	Moref        string
	InstanceUUID string
	BIOSUUID     string
	Host         string // name
	Power        string // poweredOn, poweredOff, suspended
	Disks        []Disk
}

// Disk is a disk on a VM.
type Disk struct {
	Key        int32
	UUID       string // as backing.uuid
	Datastore  string
	File       string // "[ds] a/b.vmdk", the running one
	Path       string // host path of the running extent: what the guest writes to
	Controller int32  // bus number
	Unit       int32
	Capacity   int64
	Mode       string
	FCD        string // id, "" for a plain disk
}

// Fault is a rule: the calls it matches fail. The first rule that matches acts.
type Fault struct {
	// Method is a name on the wire, such as ReconfigVM_Task; GET, PUT or DELETE
	// for access to files; "*" for all.
	Method string
	// Object is a moref value ("vm-23"), of files the path on the datastore, of
	// the disks of a lease "nfc"; "" for all.
	Object string
	// Kind is the name of a fault type, such as TaskInProgress, or an HTTP status
	// such as "503". "" fails nothing: for rules that only delay or drop.
	Kind string
	// InTask lets the call begin a task, and the task fails.
	InTask bool
	// Skip so many matching calls, then act on Count of them; 0 is all.
	Skip, Count int
	// DropReply carries the call and the task it begins out, and then cuts the
	// connection without an answer.
	DropReply bool
	// CutAfter lets so many bytes of content through, of a file or of a disk of a
	// lease, there or back, and then cuts the connection.
	CutAfter int64
	// Delay passes before the call is looked at.
	Delay time.Duration
}

// VMs lists the virtual machines, by name.
func (c *Client) VMs(ctx context.Context) ([]VM, error) {
	var vms []VM
	return vms, c.call(ctx, "vms", nil, &vms)
}

// VM is one virtual machine.
func (c *Client) VM(ctx context.Context, name string) (VM, error) {
	var vm VM
	return vm, c.call(ctx, "vm", args{"VM": name}, &vm)
}

// Power switches a VM on or off, as the power button does. It is no error when
// the VM is in that state already.
func (c *Client) Power(ctx context.Context, vm string, on bool) error {
	return c.call(ctx, "power", args{"VM": vm, "On": on}, nil)
}

// States of a datastore.
const (
	Online   = "online"
	ReadOnly = "read-only"
	Offline  = "offline"
)

// SetDatastore makes a datastore read-only or inaccessible, or brings it back.
func (c *Client) SetDatastore(ctx context.Context, name, state string) error {
	return c.call(ctx, "set-datastore", args{"Name": name, "State": state}, nil)
}

// SetDatastoreType makes a datastore one of another type, as vSphere names it:
// "VMFS" as all are at the start, or "vsan" or "VVOL", which keep disks as objects.
// It lasts until Restart.
func (c *Client) SetDatastoreType(ctx context.Context, name, kind string) error {
	return c.call(ctx, "set-datastore-type", args{"Name": name, "State": kind}, nil)
}

// SetLeaseTimeout is for the leases of disks that begin from now on: how long they
// live without a sign of progress. Default five minutes.
func (c *Client) SetLeaseTimeout(ctx context.Context, d time.Duration) error {
	return c.call(ctx, "set-lease-timeout", args{"For": d}, nil)
}

// AddVM makes a machine like those of the start, powered on. Host and datastore
// may be "".
func (c *Client) AddVM(ctx context.Context, name, host, datastore string) (VM, error) {
	if err := c.call(ctx, "add-vm", args{"VM": name, "Host": host, "Datastore": datastore}, nil); err != nil {
		return VM{}, err
	}
	return c.VM(ctx, name)
}

// RemoveVM switches a VM off and destroys it, with its disks but for those
// first-class ones that are to be kept.
func (c *Client) RemoveVM(ctx context.Context, vm string) error {
	return c.call(ctx, "remove-vm", args{"VM": vm}, nil)
}

// Snapshot takes a snapshot of a VM, as an administrator or another product
// would.
func (c *Client) Snapshot(ctx context.Context, vm, name string) error {
	return c.call(ctx, "snapshot", args{"VM": vm, "Name": name}, nil)
}

// RevertVM takes a VM back to a snapshot; it is off afterwards.
func (c *Client) RevertVM(ctx context.Context, vm, name string) error {
	return c.call(ctx, "revert-vm", args{"VM": vm, "Name": name}, nil)
}

// RemoveSnapshot ends a snapshot of a VM.
func (c *Client) RemoveSnapshot(ctx context.Context, vm, name string) error {
	return c.call(ctx, "remove-snapshot", args{"VM": vm, "Name": name}, nil)
}

// ResetCBT begins a new generation of changed-block tracking, as after a crash
// of a host, for a VM's disks or for a first-class disk by its id.
func (c *Client) ResetCBT(ctx context.Context, id string) error {
	return c.call(ctx, "reset-cbt", args{"ID": id}, nil)
}

// CloneVM copies a VM and switches the copy on. The copy has the extraConfig of
// its source and the content of its disks, and an instance UUID of its own.
func (c *Client) CloneVM(ctx context.Context, vm, as string) (VM, error) {
	if err := c.call(ctx, "clone-vm", args{"VM": vm, "As": as}, nil); err != nil {
		return VM{}, err
	}
	return c.VM(ctx, as)
}

// Migrate moves a VM to another host while it runs.
func (c *Client) Migrate(ctx context.Context, vm, host string) error {
	return c.call(ctx, "migrate", args{"VM": vm, "Host": host}, nil)
}

// Fault adds a rule. A kind of fault that does not exist is an error.
func (c *Client) Fault(ctx context.Context, f Fault) error {
	return c.call(ctx, "fault", args{"Fault": f}, nil)
}

// ClearFaults removes all rules.
func (c *Client) ClearFaults(ctx context.Context) error { return c.call(ctx, "clear-faults", nil, nil) }

// Calls counts the calls since the start or the last ResetCalls, by name; access
// to files by HTTP method. "nfc" are the bytes of disks of leases, there and back.
func (c *Client) Calls(ctx context.Context) (map[string]int, error) {
	var calls map[string]int
	return calls, c.call(ctx, "calls", nil, &calls)
}

// ResetCalls begins the count anew.
func (c *Client) ResetCalls(ctx context.Context) error { return c.call(ctx, "reset-calls", nil, nil) }

// EndSessions logs every client out.
func (c *Client) EndSessions(ctx context.Context) error { return c.call(ctx, "end-sessions", nil, nil) }

// Sever cuts all connections to the API and refuses new ones for a while.
// Sessions and tasks go on.
func (c *Client) Sever(ctx context.Context, d time.Duration) error {
	return c.call(ctx, "sever", args{"For": d}, nil)
}

// GuestInfo is what the guest of a VM reads through its tools: all keys that
// begin with "guestinfo.".
func (c *Client) GuestInfo(ctx context.Context, vm string) (map[string]string, error) {
	var info map[string]string
	return info, c.call(ctx, "guest-info", args{"VM": vm}, &info)
}

// SetGuestInfo is the guest of a VM that writes through its tools.
func (c *Client) SetGuestInfo(ctx context.Context, vm, key, value string) error {
	return c.call(ctx, "set-guest-info", args{"VM": vm, "Key": key, "Value": value}, nil)
}

// Plug shows the disks of a VM, but for the one at 0:0, in a directory that is
// the /dev of a guest on this machine: as loop devices "sdb", "sdc" ... with
// links disk/by-id/wwn-0x<uuid>. From then on they come and go with attach,
// detach and power, follow the size, and are read-only where the disk is. It
// needs root. They stay over Kill and Restart, and go with Stop.
func (c *Client) Plug(ctx context.Context, vm, devDir string) error {
	return c.call(ctx, "plug", args{"VM": vm, "Dir": devDir}, nil)
}

// Unplug ends what Plug began, with all devices.
func (c *Client) Unplug(ctx context.Context, vm string) error {
	return c.call(ctx, "unplug", args{"VM": vm}, nil)
}
