package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// patience is how long a device that something has open is waited for before
// the guest is said to use it.
const patience = time.Second

// VMs implements hypervisor.Machines.
func (l *Local) VMs(ctx context.Context) ([]hypervisor.VM, error) {
	if err := ended(ctx, "listing the VMs"); err != nil {
		return nil, err
	}
	var all []hypervisor.VM
	for id, v := range l.conf.Load().vms {
		all = append(all, l.machine(id, v))
	}
	slices.SortFunc(all, func(a, b hypervisor.VM) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// VM implements hypervisor.Machines.
func (l *Local) VM(ctx context.Context, id volspec.VMID) (hypervisor.VM, error) {
	_, v, err := l.vm(ctx, id)
	if err != nil {
		return hypervisor.VM{}, err
	}
	return l.machine(id, v), nil
}

func (l *Local) machine(id volspec.VMID, v VM) hypervisor.VM {
	m := hypervisor.VM{ID: id, Name: v.Name, Datastore: v.Datastore, Socket: v.Socket}
	m.Power, m.BootID = l.powers.of(v)
	return m
}

func (l *Local) vm(ctx context.Context, id volspec.VMID) (*conf, VM, error) {
	c := l.conf.Load()
	if err := ended(ctx, "work on VM %s", c.vmName(id)); err != nil {
		return c, VM{}, err
	}
	v, ok := c.vms[id]
	if !ok {
		return c, VM{}, errkind.New(errkind.NotFound, "no VM %s: see the list of VMs", id)
	}
	return c, v, nil
}

// Attach implements hypervisor.Machines.
func (l *Local) Attach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref, readOnly bool) (hypervisor.Device, error) {
	c, v, err := l.vm(ctx, vm)
	if err != nil {
		return hypervisor.Device{}, err
	}
	s, err := l.source(ctx, r, !readOnly)
	if err != nil {
		return hypervisor.Device{}, err
	}
	defer s.close()
	if power, _ := l.powers.of(v); power != hypervisor.On {
		return hypervisor.Device{}, errkind.New(errkind.Unavailable, "disk %s cannot be attached: VM %s is %s; power it on and repeat", r.Volume, v.Name, power)
	}
	img, err := s.locked(ctx, imgName(r), os.O_RDONLY, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return hypervisor.Device{}, absent(r)
	}
	if err != nil {
		return hypervisor.Device{}, fail(err, "attaching disk %s to VM %s", r.Volume, v.Name)
	}
	defer img.Close()
	lo, err := s.plug(ctx, c, vm, img, readOnly)
	if err != nil {
		return hypervisor.Device{}, fail(err, "attaching disk %s to VM %s", r.Volume, v.Name)
	}
	return lo.device(r, vm), nil
}

func (l *loop) device(r hypervisor.Ref, vm volspec.VMID) hypervisor.Device {
	return hypervisor.Device{Ref: r, VM: vm, Serial: volspec.Serial(r.Volume), ReadOnly: l.readOnly(), Size: l.size}
}

// plug gives the locked image a loop device and the VM its node.
func (s *source) plug(ctx context.Context, c *conf, vm volspec.VMID, img *os.File, readOnly bool) (*loop, error) {
	v, serial := c.vms[vm], volspec.Serial(s.ref.Volume)
	users, err := usersOf(img, imgName(s.ref))
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		if _, owner, ours := u.owner(); !ours || owner != vm {
			return nil, errkind.New(errkind.InUse, "disk %s is attached to %s: detach it there first", s.ref.Volume, u.who(c))
		}
		if u.readOnly() != readOnly {
			return nil, errkind.New(errkind.InUse, "disk %s is attached to VM %s in the other access mode: detach it first", s.ref.Volume, v.Name)
		}
	}
	if len(users) > 0 {
		return users[0], v.putNode(serial, users[0].dev)
	}
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	// A file of its own: the loop device keeps it, and with it the lock of
	// img would be kept.
	back, err := s.openFile(imgName(s.ref), mode)
	if err != nil {
		return nil, err
	}
	defer back.Close()
	lo, err := bind(back, readOnly, liveLabel(vm, s.ref))
	if err != nil {
		return nil, err
	}
	crashpoint.Here("local.attach.loop")
	if err := keepRoom(lo.name, formatOf(back)); err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("thick disk may give back its room: discards could not be switched off")
	}
	if err = c.sweepNodes(lo.dev); err == nil {
		err = v.putNode(serial, lo.dev)
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, lo.unbind(ctx, patience, true))
	}
	return lo, nil
}

// unattached: in-use while a loop device has the open image of r.
func (l *Local) unattached(img *os.File, r hypervisor.Ref, done string) error {
	users, err := usersOf(img, imgName(r))
	for _, u := range users {
		return errkind.New(errkind.InUse, "disk %s cannot be %s: %s has it; detach it first", r.Volume, done, u.who(l.conf.Load()))
	}
	return err
}

// Detach implements hypervisor.Machines.
func (l *Local) Detach(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	v, a, err := l.user(ctx, vm, r)
	if err == nil && a == nil {
		// The kernel let the device of a recovery point go by itself, when the
		// service that showed it had ended. What is left leads to whatever the
		// device is next.
		return fail(v.removeNode(volspec.Serial(r.Volume)), "removing disk %s from VM %s", r.Volume, v.Name)
	}
	if err != nil {
		return err
	}
	if power, _ := l.powers.of(v); power == hypervisor.Off {
		err = l.pullOff(ctx, v, a)
	} else {
		err = unplug(ctx, v, a)
	}
	return fail(err, "detaching disk %s from VM %s", r.Volume, v.Name)
}

// user finds the VM that has a disk, nil when it has not. A VM that was taken
// out of the configuration is one too, as long as its disk is plugged in; where
// its nodes are is not known any more.
func (l *Local) user(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) (VM, *attachment, error) {
	c, v, unknown := l.vm(ctx, vm)
	if unknown != nil && !errkind.Is(unknown, errkind.NotFound) {
		return v, nil, unknown
	}
	if err := r.Check(); err != nil {
		return v, nil, err
	}
	a, err := c.attachment(vm, r)
	if err != nil || a == nil {
		return v, nil, errors.Join(err, unknown)
	}
	if unknown != nil {
		v = VM{Name: string(vm)}
	}
	return v, a, nil
}

// unplug asks for nothing but takes the disk only if the guest has let go. The
// node goes first: it must never lead to what the loop device is next.
func unplug(ctx context.Context, v VM, a *attachment) error {
	if err := v.removeNode(a.Serial); err != nil {
		return err
	}
	crashpoint.Here("local.detach.node")
	err := a.unbind(ctx, patience, false)
	if err == nil {
		return nil
	}
	err = errors.Join(err, v.putNode(a.Serial, a.dev))
	if errors.Is(err, unix.EBUSY) {
		return errkind.New(errkind.InUse, "VM %s still has disk %s mounted or open: unmount it there first", v.Name, a.Volume)
	}
	return err
}

// pullOff takes the disk from a VM that is off. The kernel may still be busy
// with what the VM left; after a while it is cut off.
func (l *Local) pullOff(ctx context.Context, v VM, a *attachment) error {
	if err := v.removeNode(a.Serial); err != nil {
		return err
	}
	err := a.unbind(ctx, l.conf.Load().settle, true)
	if errors.Is(err, unix.EBUSY) {
		return l.cutOff(ctx, a)
	}
	return err
}
