package vsphere

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/slots"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// plug is a disk that is to be plugged into the transporter.
type plug struct {
	what string // for sentences
	ds   vcenter.Datastore
	file string
	size int64
	mode types.VirtualDiskMode
}

func (p plug) at() string { return vcenter.Path(p.ds.Name, p.file) }

// pluggedIn is a disk in the transporter that is open here.
type pluggedIn struct {
	v    *VSphere
	m    vcenter.VM
	id   string
	what string
	link string
	dev  *device
	mu   sync.Mutex // held while it is closed
	out  bool       // guarded by mu: it is out of the VM
}

// plugIn plugs a disk in and opens it. Where that cannot be, nothing is left
// of it, and the error is unsupported.
func (v *VSphere) plugIn(ctx context.Context, d plug) (*pluggedIn, error) {
	m, err := v.findTransporter(ctx)
	if err != nil {
		return nil, err
	}
	if err := v.transporter.seen(); err != nil {
		return nil, err
	}
	if !slices.Contains(d.ds.Hosts, m.Host) {
		return nil, errkind.New(errkind.Unsupported, "the host of transporter VM %s does not reach datastore %s: connect that, or move the VM to a host that does, in the same datacenter", m.Name, d.ds.Name)
	}
	p := &pluggedIn{v: v, m: m, id: strings.ReplaceAll(uuid.NewString(), "-", ""), what: d.what}
	what := "plugging " + d.what + " into transporter VM " + m.Name
	// Until it is open: two disks with one serial cannot be told apart.
	unlock, err := v.slots.Lock(ctx, volspec.VMID(m.ID))
	if err != nil {
		return nil, vcenter.Translate(err, what)
	}
	defer unlock()
	v.transporter.begin(p.id)
	err = v.sweptThen(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) { return now.plugIn(m, d, p.id) })
	switch {
	case err == nil:
		v.transporter.cleaned()
		crashpoint.Here("vsphere.hotadd.in")
		if err = p.open(ctx, what, d); err == nil {
			return p, nil
		}
	case !vcenter.Lost(err) && ctx.Err() == nil:
		v.transporter.end(p.id, true)
		return nil, errkind.Wrap(errkind.Unsupported, err, "%s", errkind.Text(err))
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), takingOut)
	defer cancel()
	return nil, errors.Join(err, p.takeOut(end))
}

// plugIn is the change that plugs a disk in.
func (now machineNow) plugIn(m vcenter.VM, d plug, id string) (*types.VirtualMachineConfigSpec, error) {
	if err := now.unfit(m); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(now.devices, func(dev types.BaseVirtualDevice) bool { return slices.Contains(filesOf(dev), d.at()) }) {
		return nil, errkind.New(errkind.Unsupported, "transporter VM %s has disk %s itself", m.Name, d.at())
	}
	changes, slot, ok := now.seat(&types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: d.at()},
		DiskMode:                     string(d.mode),
	}}})
	if !ok {
		return nil, errkind.New(errkind.Unsupported, "transporter VM %s has no free place on its paravirtual SCSI controllers (%d on each, 4 controllers of all kinds)", m.Name, slots.Room(now.hardware))
	}
	return &types.VirtualMachineConfigSpec{DeviceChange: changes, ExtraConfig: note(id, place{slot.Bus, slot.Unit, d.at()}.String())}, nil
}

// open finds the disk that was just plugged in, in the VM and here.
func (p *pluggedIn) open(ctx context.Context, what string, d plug) error {
	now, err := p.v.now(ctx, what, p.m)
	if err != nil {
		return err
	}
	disk := now.noted(p.id)
	if disk == nil {
		return errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM does not have it; repeat it", what)
	}
	_, id := keptAs(disk)
	if id == "" {
		return errkind.New(errkind.Unsupported, "transporter VM %s does not show a serial of %s", p.m.Name, d.at())
	}
	if slices.ContainsFunc(disksAmong(now.devices), func(d *types.VirtualDisk) bool {
		_, other := keptAs(d)
		return d != disk && serial(other) == serial(id)
	}) {
		return errkind.New(errkind.Unsupported, "transporter VM %s has another disk with the serial of %s", p.m.Name, d.at())
	}
	p.link = p.v.link(id)
	p.dev, err = openDevice(ctx, d.what, p.link, d.size, d.mode == types.VirtualDiskModeIndependent_persistent, cmp.Or(p.v.o.appearing, appearing))
	if err != nil && ctx.Err() == nil {
		err = errkind.Wrap(errkind.Unsupported, err, "a disk that was plugged into transporter VM %s is not seen here (%s): see that mooringd runs in that VM, and that neither multipath nor LVM takes its disks", p.m.Name, err)
		p.v.transporter.unseen(err)
	}
	return err
}

func (p *pluggedIn) readAt(ctx context.Context, b []byte, off int64) (int, error) {
	return p.dev.readAt(ctx, b, off)
}

// Close implements content. After an error it can be repeated.
func (p *pluggedIn) Close() error { return p.close(context.Background()) }

// close is Close, whatever has become of ctx.
func (p *pluggedIn) close(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return nil
	}
	_ = p.dev.f.Close() // all that was written has been flushed
	crashpoint.Here("vsphere.hotadd.closed")
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takingOut)
	defer cancel()
	unlock, err := p.v.slots.Lock(ctx, volspec.VMID(p.m.ID))
	if err != nil {
		return vcenter.Translate(err, p.takingOut())
	}
	defer unlock()
	if err := p.takeOut(ctx); err != nil {
		return err
	}
	p.out = true
	return nil
}

func (p *pluggedIn) takingOut() string {
	return "taking " + p.what + " out of transporter VM " + p.m.Name
}

// takeOut takes the disk out and keeps its file. The VM is changed even if
// it does not have it yet: an addition that is under way is over then. The caller
// holds the lock of the VM.
func (p *pluggedIn) takeOut(ctx context.Context) error {
	err := p.v.insist(ctx, p.takingOut(), p.m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		return now.takeOut(p.id), nil
	})
	if errkind.Is(err, errkind.NotFound) { // the VM is
		err = nil
	}
	p.v.transporter.end(p.id, err == nil)
	if err == nil && p.link != "" {
		gone(ctx, p.link)
	}
	return err
}

// takeOut is the change that takes disks out that were plugged in under these ids.
func (now machineNow) takeOut(ids ...string) *types.VirtualMachineConfigSpec {
	spec := &types.VirtualMachineConfigSpec{}
	for _, id := range ids {
		if d := now.noted(id); d != nil {
			spec.DeviceChange = append(spec.DeviceChange, withoutDisk(d.Key))
		}
		spec.ExtraConfig = append(spec.ExtraConfig, note(id, "")...)
	}
	return spec
}
