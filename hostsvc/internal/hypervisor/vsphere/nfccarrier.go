package vsphere

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

const (
	// carrierPrefix begins the names of carriers; the id follows.
	carrierPrefix = "mooring-carrier-"
	// carrying is the setting that a carrier has from its beginning: its id and
	// the time of that.
	carrying = "mooring.carrier"
	// carrierWords tell people what it is.
	carrierWords = "Made by Mooring to move the content of one disk. It is removed afterwards; do not power it on."
)

// carrier is a VM that is made to have one disk while that moves. It is never on
// and has no network. Only what has been taken off it first outlives it: deleting
// a VM deletes its disks.
type carrier struct {
	v    *VSphere
	id   string
	what string
	ds   vcenter.Datastore
	m    vcenter.VM
}

// newCarrier prepares one, after those that are left have been removed. Nothing is
// made yet; remove ends it all the same.
func (v *VSphere) newCarrier(ctx context.Context, what string, ds vcenter.Datastore) (*carrier, error) {
	if err := v.sweepCarriers(ctx); err != nil {
		return nil, err
	}
	c := &carrier{v: v, id: uuid.NewString(), what: what, ds: ds}
	c.m.Name = c.name()
	v.carriers.begin(c.id)
	return c, nil
}

func (c *carrier) name() string { return carrierPrefix + c.id }

// placement is the folder and the host of the VM: the first that reaches the
// datastore.
func (c *carrier) placement(ctx context.Context) (folder, host types.ManagedObjectReference, err error) {
	hosts, err := c.v.inv.Hosts(ctx)
	if err != nil {
		return folder, host, err
	}
	i := slices.IndexFunc(hosts, func(h vcenter.Host) bool { return canRun(h, c.ds.Ref) })
	if i < 0 {
		return folder, host, errkind.New(errkind.Unavailable, "%s: no host that reaches datastore %s is connected and not in maintenance; bring one back and repeat", c.what, c.ds.Name)
	}
	folder, err = c.v.folderOfVMs(ctx, c.what)
	return folder, hosts[i].Ref, err
}

// spec is the VM with its disk, as vSphere is asked for it.
func (c *carrier) spec(op types.VirtualDeviceConfigSpecFileOperation, d *types.VirtualDisk) types.VirtualMachineConfigSpec {
	unit := int32(0)
	d.Key, d.ControllerKey, d.UnitNumber = -2, -1, &unit
	return types.VirtualMachineConfigSpec{
		Name: c.name(), GuestId: string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest), NumCPUs: 1, MemoryMB: 128, Annotation: carrierWords,
		Files:       &types.VirtualMachineFileInfo{VmPathName: "[" + c.ds.Name + "]"},
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: carrying, Value: c.id + " " + time.Now().UTC().Format(time.RFC3339)}},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: newController("pvscsi", -1, 0)},
			&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: op, Device: d},
		},
	}
}

// create makes the VM with a disk that is there. What was begun is waited for,
// whatever has become of ctx.
func (c *carrier) create(ctx context.Context, at string) error {
	if ctx.Err() != nil {
		return vcenter.Translate(context.Cause(ctx), c.what)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), creation)
	defer cancel()
	folder, host, err := c.placement(ctx)
	if err != nil {
		return err
	}
	spec := c.spec("", &types.VirtualDisk{VirtualDevice: types.VirtualDevice{Backing: &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: at}, DiskMode: writableMode,
	}}})
	c.m.Ref, err = c.v.createVM(ctx, c.what, folder, host, spec)
	return err
}

// empty takes the disks off the VM, which does not have them when it is read again,
// and keeps their files, which it returns.
func (c *carrier) empty(ctx context.Context) (files []string, err error) {
	err = c.v.insist(ctx, c.what, c.m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		disks := disksAmong(now.devices)
		if len(disks) == 0 {
			return nil, nil
		}
		spec := &types.VirtualMachineConfigSpec{}
		files = nil
		for _, d := range disks {
			files = append(files, c.v.machineDisk(d).at)
			spec.DeviceChange = append(spec.DeviceChange, withoutDisk(d.Key))
		}
		return spec, nil
	})
	if err != nil {
		return nil, err
	}
	now, err := c.v.now(ctx, c.what, c.m)
	if err == nil && len(disksAmong(now.devices)) > 0 {
		err = errkind.New(errkind.Unavailable, "%s: vSphere says that the disk is taken off VM %s, but the VM still has it; repeat it", c.what, c.name())
	}
	return files, err
}

// remove removes the VM, whatever has become of ctx, without the disk that was
// given to it. An error says that the disk may still be on it. What else cannot be
// removed now is left for later.
func (c *carrier) remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), razing)
	defer cancel()
	on, err := c.raze(ctx)
	c.v.carriers.end(c.id, err == nil)
	if err == nil {
		return nil
	}
	if on {
		return err
	}
	log.G(ctx).WithField(log.VM, c.name()).WithField(log.Err, err.Error()).Warn("a VM that was made to move a disk cannot be removed now: it is tried again")
	return nil
}

// raze takes the VM away step by step; on says that it may still have a disk.
func (c *carrier) raze(ctx context.Context) (on bool, err error) {
	if c.m.Ref.Value == "" {
		all, err := c.v.carriersThere(ctx)
		if err != nil {
			return true, err
		}
		i := slices.IndexFunc(all, func(m vcenter.VM) bool { return m.Name == c.name() })
		if i < 0 {
			return false, nil
		}
		c.m = all[i]
	}
	home, theirs, err := c.look(ctx)
	if errkind.Is(err, errkind.NotFound) {
		return false, nil // it is gone already, as after an import that was given up
	}
	if err != nil || theirs {
		return true, err
	}
	if _, err := c.empty(ctx); err != nil {
		return true, err
	}
	// What is in its folder was made with it.
	datastore, file, _ := vcenter.SplitPath(home)
	for _, disk := range c.v.filesIn(ctx, datastore, path.Dir(file), "*.vmdk") {
		if err := c.v.removeDisk(ctx, vcenter.Path(datastore, disk)); err != nil {
			return false, err
		}
	}
	return false, c.v.destroyVM(ctx, c.what, c.m.Ref)
}

// look finds the VM's own file, and whether somebody has made the VM theirs.
func (c *carrier) look(ctx context.Context) (home string, theirs bool, err error) {
	now, err := c.v.now(ctx, c.what, c.m)
	if err != nil {
		return "", false, err
	}
	var vm mo.VirtualMachine
	err = c.v.c.Read(ctx, c.what, func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, c.m.Ref, []string{"config.files.vmPathName", "runtime.powerState"}, &vm)
	})
	if err == nil && vm.Config == nil {
		err = errkind.New(errkind.Unavailable, "%s: vCenter cannot read the configuration of the VM now; repeat it", c.what)
	}
	if err != nil {
		return "", false, err
	}
	id, _, _ := strings.Cut(now.extra[carrying], " ")
	home = vm.Config.Files.VmPathName
	theirs = id != c.id || path.Base(home) != c.name()+".vmx" || now.used(vm.Runtime.PowerState)
	return home, theirs, nil
}
