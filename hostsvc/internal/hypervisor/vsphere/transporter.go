package vsphere

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/slots"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	// transporting begins the settings of the transporter that name the files of
	// the disks that are plugged in for their content; an id follows. The change
	// that plugs a disk in makes the setting, and that which takes it out removes
	// it: vSphere makes all of a change or nothing. No other disk is ever touched.
	transporting = "mooring.transport."
	// takingOut is how long taking a disk out may take.
	takingOut = 2 * time.Minute
)

// transporter is what is remembered of the VM through which disks move.
type transporter struct {
	mu    sync.Mutex      // guards the rest
	inUse map[string]bool // ids of disks that are plugged in by this process
	swept bool            // nothing else is plugged in for its content

	sweeping sync.Mutex // held by who sweeps
}

func (t *transporter) begin(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.inUse == nil {
		t.inUse = map[string]bool{}
	}
	t.inUse[id] = true
}

// end lets an id go. What is still plugged in then is swept later.
func (t *transporter) end(id string, out bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.inUse, id)
	t.swept = t.swept && out
}

func (t *transporter) has(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inUse[id]
}

func (t *transporter) clean() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.swept
}

func (t *transporter) cleaned() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.swept = true
}

// isTransporter reports whether m is the VM that is set.
func (v *VSphere) isTransporter(m vcenter.VM) bool {
	t := v.o.Transporter
	return t != "" && (m.Name == t || m.ID == strings.ToLower(t))
}

// findTransporter finds the VM. None, or several: unsupported.
func (v *VSphere) findTransporter(ctx context.Context) (vcenter.VM, error) {
	vms, err := v.inv.VMs(ctx)
	if err != nil {
		return vcenter.VM{}, err
	}
	vms = slices.DeleteFunc(vms, func(m vcenter.VM) bool { return !v.isTransporter(m) })
	switch len(vms) {
	case 0:
		return vcenter.VM{}, errkind.New(errkind.Unsupported, "vCenter shows no VM %q, which is to be the transporter: correct vsphere.transporter, or the permissions of the user", v.o.Transporter)
	case 1:
		return vms[0], nil
	}
	return vcenter.VM{}, errkind.New(errkind.Unsupported, "there are %d VMs %q: name the transporter by its instance UUID", len(vms), v.o.Transporter)
}

// CheckTransporter tells whether the transporter that is set can be used, and
// what it is called. Not set: "".
func (v *VSphere) CheckTransporter(ctx context.Context) (string, error) {
	if v.o.Transporter == "" {
		return "", nil
	}
	m, err := v.findTransporter(ctx)
	if err != nil {
		return v.o.Transporter, err
	}
	now, err := v.now(ctx, "looking at transporter VM "+m.Name, m)
	if err != nil {
		return m.Name, err
	}
	return m.Name, now.unfit(m)
}

// unfit is unsupported with the reason why a VM is no transporter now.
func (now machineNow) unfit(m vcenter.VM) error {
	p := power(m)
	switch {
	case p != hypervisor.On:
		return errkind.New(errkind.Unsupported, "transporter VM %s is %s: mooringd has to run in it", m.Name, inWords(m, p))
	case !now.shows():
		return errkind.New(errkind.Unsupported, "transporter VM %s does not tell its guest the serials of its disks: set %s = TRUE, and power it off and on", m.Name, enableUUID)
	case len(now.snapshots) > 0:
		return errkind.New(errkind.Unsupported, "transporter VM %s has snapshot %s, which would hold on to disks: remove it, and make none of this VM", m.Name, strings.Join(now.snapshots, ", "))
	}
	return nil
}

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
	if now.withFile(d.at()) != nil {
		return nil, errkind.New(errkind.Unsupported, "transporter VM %s has disk %s itself", m.Name, d.at())
	}
	changes, ok := now.seat(&types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: d.at()},
		DiskMode:                     string(d.mode),
	}}})
	if !ok {
		return nil, errkind.New(errkind.Unsupported, "transporter VM %s has no free place on its paravirtual SCSI controllers (%d on each, 4 controllers of all kinds)", m.Name, slots.Room(now.hardware))
	}
	return &types.VirtualMachineConfigSpec{DeviceChange: changes, ExtraConfig: note(id, d.at())}, nil
}

func note(id, file string) []types.BaseOptionValue {
	return []types.BaseOptionValue{&types.OptionValue{Key: transporting + id, Value: file}}
}

// withFile is the disk with a file, or with a child of it; nil when there is none.
func (now machineNow) withFile(at string) *types.VirtualDisk {
	for _, dev := range now.devices {
		d, ok := dev.(*types.VirtualDisk)
		if ok && hasFile(d.Backing, at) {
			return d
		}
	}
	return nil
}

func hasFile(backing types.BaseVirtualDeviceBackingInfo, at string) bool {
	switch b := backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		return b != nil && (b.FileName == at || b.Parent != nil && hasFile(b.Parent, at))
	case *types.VirtualDiskSeSparseBackingInfo:
		return b != nil && (b.FileName == at || b.Parent != nil && hasFile(b.Parent, at))
	case types.BaseVirtualDeviceFileBackingInfo:
		return b.GetVirtualDeviceFileBackingInfo().FileName == at
	}
	return false
}

// open finds the disk that was just plugged in, in the VM and here.
func (p *pluggedIn) open(ctx context.Context, what string, d plug) error {
	now, err := p.v.now(ctx, what, p.m)
	if err != nil {
		return err
	}
	disk := now.withFile(now.extra[transporting+p.id])
	if disk == nil {
		return errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM does not have it; repeat it", what)
	}
	id := uuidOf(disk)
	if slices.ContainsFunc(now.devices, func(dev types.BaseVirtualDevice) bool {
		o, ok := dev.(*types.VirtualDisk)
		return ok && o != disk && serial(uuidOf(o)) == serial(id)
	}) {
		return errkind.New(errkind.Unsupported, "transporter VM %s has another disk with the serial of %s", p.m.Name, d.at())
	}
	p.link = p.v.link(id)
	p.dev, err = openDevice(ctx, d.what, p.link, d.size, d.mode == types.VirtualDiskModeIndependent_persistent)
	if err != nil && ctx.Err() == nil {
		return errkind.Wrap(errkind.Unsupported, err, "it is not seen in transporter VM %s (%s): see that mooringd runs in that VM, and that neither multipath nor LVM takes its disks", p.m.Name, err)
	}
	return err
}

func uuidOf(d *types.VirtualDisk) string {
	switch b := d.Backing.(type) {
	case *types.VirtualDiskFlatVer2BackingInfo:
		return b.Uuid
	case *types.VirtualDiskSeSparseBackingInfo:
		return b.Uuid
	}
	return ""
}

func (p *pluggedIn) readAt(ctx context.Context, b []byte, off int64) (int, error) {
	return p.dev.readAt(ctx, b, off)
}

// Close implements content. After an error it can be repeated.
func (p *pluggedIn) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.out {
		return nil
	}
	_ = p.dev.f.Close() // all that was written has been flushed
	crashpoint.Here("vsphere.hotadd.closed")
	ctx, cancel := context.WithTimeout(context.Background(), takingOut)
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
	prepare := func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		return now.takeOut(p.id), nil
	}
	err := p.v.change(ctx, p.takingOut(), p.m, prepare)
	if vcenter.Lost(err) && ctx.Err() == nil {
		err = p.v.change(ctx, p.takingOut(), p.m, prepare)
	}
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
		if d := now.withFile(now.extra[transporting+id]); d != nil {
			spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationRemove,
				Device:    &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Key: d.Key}},
			})
		}
		spec.ExtraConfig = append(spec.ExtraConfig, note(id, "")...)
	}
	return spec
}

// left are the ids of what is plugged in by nobody: a process that was killed
// has left it.
func (now machineNow) left(t *transporter) (ids []string) {
	for key, file := range now.extra {
		if id, ok := strings.CutPrefix(key, transporting); ok && file != "" && !t.has(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// sweptThen changes the transporter, after what is left in it is taken out.
func (v *VSphere) sweptThen(ctx context.Context, what string, m vcenter.VM, prepare func(machineNow) (*types.VirtualMachineConfigSpec, error)) error {
	for swept := false; ; {
		err := v.change(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
			if ids := now.left(&v.transporter); len(ids) > 0 {
				return now.takeOut(ids...), nil
			}
			swept = true
			return prepare(now)
		})
		if err != nil || swept {
			return err
		}
	}
}

// sweepTransporter takes out what a process that was killed has left in the
// transporter, before something is done that it could hinder. What it cannot do
// it tries the next time.
func (v *VSphere) sweepTransporter(ctx context.Context) {
	if v.o.Transporter == "" || v.transporter.clean() {
		return
	}
	v.transporter.sweeping.Lock()
	defer v.transporter.sweeping.Unlock()
	if v.transporter.clean() {
		return
	}
	m, err := v.findTransporter(ctx)
	if err == nil {
		// Who holds the lock of the VM may be who sweeps: the version of the VM is
		// enough to make no change twice.
		err = v.sweptThen(ctx, "sweeping transporter VM "+m.Name, m, func(machineNow) (*types.VirtualMachineConfigSpec, error) { return nil, nil })
	}
	switch {
	case err == nil || errkind.Is(err, errkind.Unsupported): // there is no such VM: the doctor says so
		v.transporter.cleaned()
	case ctx.Err() == nil:
		log.G(ctx).WithField(log.VM, cmp.Or(m.Name, v.o.Transporter)).WithField(log.Err, err.Error()).Warn("what may be left in the transporter is not taken out")
	}
}
