package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
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

func (lo *loop) device(r hypervisor.Ref, vm volspec.VMID) hypervisor.Device {
	return hypervisor.Device{Ref: r, VM: vm, Serial: volspec.Serial(r.Volume), ReadOnly: lo.readOnly(), Size: lo.size}
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
		return u, v.putNode(serial, u.dev)
	}
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	// A file of its own: the loop device keeps it, and with it the lock of
	// img would be kept.
	back, err := s.folder.open(imgName(s.ref), mode)
	if err != nil {
		return nil, err
	}
	defer back.Close()
	lo, err := bind(back, readOnly, liveLabel(vm, s.ref))
	if err != nil {
		return nil, err
	}
	crashpoint.Here("local.attach.loop")
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
	c, v, err := l.vm(ctx, vm)
	if err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	a, err := c.attachment(vm, r)
	if err != nil || a == nil {
		return err
	}
	if power, _ := l.powers.of(v); power == hypervisor.Off {
		err = l.pullOff(ctx, v, a)
	} else {
		err = unplug(ctx, v, a)
	}
	return fail(err, "detaching disk %s from VM %s", r.Volume, v.Name)
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

// Fence implements hypervisor.Machines.
func (l *Local) Fence(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	c, v, err := l.vm(ctx, vm)
	if err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	a, err := c.attachment(vm, r)
	if err != nil || a == nil {
		return err
	}
	err = v.removeNode(a.Serial)
	if err == nil {
		if err = l.cutOff(ctx, a); err != nil {
			err = errors.Join(err, v.putNode(a.Serial, a.dev))
		}
	}
	return fail(err, "fencing VM %s off disk %s", v.Name, r.Volume)
}

// cutOff is for a VM that is not asked. Where the kernel cannot be trusted to
// stop the loop device, the disk moves to another file and the VM keeps the
// old one, which has no name any more.
func (l *Local) cutOff(ctx context.Context, a *attachment) error {
	if l.swap {
		if err := l.swapImage(ctx, a); err != nil {
			return err
		}
	}
	f, err := a.open(os.O_RDONLY)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	err = cut(f, true)
	if err == nil {
		return nil
	}
	if !l.swap {
		if err := l.swapImage(ctx, a); err != nil {
			return err
		}
	}
	return cut(f, false)
}

// swapImage replaces the image by a clone of one moment.
func (l *Local) swapImage(ctx context.Context, a *attachment) error {
	s, err := l.source(ctx, a.Ref, true)
	if err != nil {
		return err
	}
	defer s.close()
	img, err := s.locked(ctx, imgName(a.Ref), os.O_RDONLY, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer img.Close()
	return s.build(ctx, imgName(a.Ref), true, func(f *os.File) error {
		setFormat(f, formatOf(img))
		done, err := tryReflink(f, img)
		if err == nil && !done {
			return errkind.New(errkind.InUse, "VM %s cannot be cut off disk %s while it runs: power off VM %s", l.conf.Load().vmName(a.VM), a.Volume, l.conf.Load().vmName(a.VM))
		}
		return errors.Join(err, f.Truncate(int64(s.disk.Size)))
	})
}

// Attached implements hypervisor.Machines.
func (l *Local) Attached(ctx context.Context) ([]hypervisor.Device, error) {
	if err := ended(ctx, "listing the attachments"); err != nil {
		return nil, err
	}
	all, err := l.conf.Load().attachments("")
	var devices []hypervisor.Device
	for _, a := range all {
		devices = append(devices, a.Device)
	}
	return devices, err
}

// attachment is a live loop device of ours.
type attachment struct {
	hypervisor.Device
	*loop
}

func (c *conf) attachment(vm volspec.VMID, r hypervisor.Ref) (*attachment, error) {
	all, err := c.attachments(r.Volume)
	for _, a := range all {
		if a.VM == vm && a.Ref == r {
			return &a, nil
		}
	}
	return nil, err
}

// attachments lists what is attached from our datastores; of one volume, or
// of all if it is "".
func (c *conf) attachments(volume volspec.VolumeID) ([]attachment, error) {
	all, err := loops(func(file string) bool {
		_, r, ok := parseFile(file)
		return ok && (volume == "" || r.Volume == volume)
	})
	var found []attachment
	for _, lo := range all {
		base, r, _ := parseFile(lo.file)
		serial, vm, ours := lo.owner()
		if !ours || serial != volspec.Serial(r.Volume) {
			continue
		}
		if r.Datastore = c.storeOf(base, r, lo); r.Datastore != "" {
			found = append(found, attachment{lo.device(r, vm), lo})
		}
	}
	return found, err
}

// parseFile splits the path of an image into the datastore's path and the
// disk. It works when the datastore is away.
func parseFile(file string) (base string, r hypervisor.Ref, ok bool) {
	file = strings.TrimSuffix(file, " (deleted)")
	rest, name := path.Split(file)
	rest, group := path.Split(path.Clean(rest))
	id, isImg := strings.CutSuffix(name, imgExt)
	r = hypervisor.Ref{Group: volspec.VMGroupID(group), Volume: volspec.VolumeID(id)}
	base, vols := path.Split(path.Clean(rest))
	return path.Clean(base), r, isImg && vols == volsDir && r.Check() == nil
}

// storeOf names the datastore that has its disks below base: by path, or,
// since a path may have several names, by the image itself.
func (c *conf) storeOf(base string, r hypervisor.Ref, lo *loop) string {
	for name, d := range c.stores {
		if d.Path == base {
			return name
		}
	}
	for name, d := range c.stores {
		if real, err := filepath.EvalSymlinks(d.Path); err == nil && real == base {
			return name
		}
		var st unix.Stat_t
		file := filepath.Join(d.Path, volsDir, string(r.Group), imgName(r))
		if err := unix.Lstat(file, &st); err == nil && st.Ino == lo.info.Inode && st.Dev == lo.info.Device {
			return name
		}
	}
	return ""
}
