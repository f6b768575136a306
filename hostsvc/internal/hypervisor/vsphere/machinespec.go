package vsphere

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
)

// machineSpec is the VM as vSphere is asked for it. What it had and cannot be
// given is told in its annotation.
func (v *VSphere) machineSpec(ctx context.Context, c *construction) (types.VirtualMachineConfigSpec, error) {
	o := c.config
	spec := types.VirtualMachineConfigSpec{
		Name: c.Name, Version: o.Hardware, GuestId: o.Guest, AlternateGuestName: o.GuestName, NumCPUs: o.CPUs, MemoryMB: int64(o.MemoryMB),
		Firmware: o.Firmware, Files: &types.VirtualMachineFileInfo{VmPathName: c.record.VMX},
	}
	if o.CPUsPer > 0 {
		spec.NumCoresPerSocket = &o.CPUsPer
	}
	for to, on := range map[**bool]bool{&spec.NestedHVEnabled: o.Nested, &spec.CpuHotAddEnabled: o.AddCPUs, &spec.MemoryHotAddEnabled: o.AddMemory} {
		if on {
			*to = types.NewBool(true)
		}
	}
	if o.SecureBoot {
		spec.BootOptions = &types.VirtualMachineBootOptions{EfiSecureBootEnabled: types.NewBool(true)}
	}
	for _, key := range slices.Sorted(maps.Keys(o.Settings)) {
		if isKept(key) {
			spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: o.Settings[key]})
		}
	}
	if c.ID != "" {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: builtBy, Value: c.ID})
	}
	lost := slices.Clone(o.Lost)
	cards, missing, err := v.cards(ctx, o.Cards)
	if err != nil {
		return spec, err
	}
	lost = append(lost, missing...)
	spec.DeviceChange = append(c.diskDevices(), cards...)
	spec.Annotation = o.Annotation
	if len(lost) > 0 {
		spec.Annotation = strings.TrimSpace(spec.Annotation + "\n\nRestored without: " + strings.Join(lost, ", "))
	}
	return spec, nil
}

// diskDevices are the disks, which are there, and the controllers that they are
// on.
func (c *construction) diskDevices() (all []types.BaseVirtualDeviceConfigSpec) {
	add := func(d types.BaseVirtualDevice) {
		all = append(all, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: d})
	}
	keys := map[int32]int32{}
	for _, ctl := range c.config.Controllers {
		switch used := slices.ContainsFunc(c.disks, func(d constructionDisk) bool { return d.Controller == ctl.Key }); {
		case ctl.Kind == ideController:
			keys[ctl.Key] = ctl.Key
		case used:
			key := int32(-1 - len(keys))
			keys[ctl.Key] = key
			add(newController(ctl.Kind, key, ctl.Bus))
		}
	}
	for i, d := range c.disks {
		add(&types.VirtualDisk{VirtualDevice: types.VirtualDevice{
			Key: int32(-100 - i), ControllerKey: keys[d.Controller], UnitNumber: &d.Unit, //nolint:gosec // a VM has less than 256 disks
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: d.at},
				DiskMode:                     writableMode,
			},
		}})
	}
	return all
}

// cards are the network cards, as far as their networks are there by name. The
// others are missing, in words.
func (v *VSphere) cards(ctx context.Context, wanted []networkCardConfig) (all []types.BaseVirtualDeviceConfigSpec, missing []string, err error) {
	if len(wanted) == 0 {
		return nil, nil, nil
	}
	networks, err := v.inv.Networks(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i, n := range wanted {
		at := slices.IndexFunc(networks, func(have vcenter.Network) bool { return have.Name == n.Network })
		if n.Network == "" || at < 0 {
			missing = append(missing, n.Label+" (network "+n.Network+")")
			continue
		}
		card := types.VirtualEthernetCard{VirtualDevice: types.VirtualDevice{
			Key:         int32(-400 - i), //nolint:gosec // a VM has ten at most
			Connectable: &types.VirtualDeviceConnectInfo{StartConnected: n.Connected, AllowGuestControl: true},
		}}
		err := v.c.Read(ctx, "looking at network "+n.Network, func(ctx context.Context, vc *vim25.Client) (err error) {
			if net, ok := object.NewReference(vc, networks[at].Ref).(object.NetworkReference); ok {
				card.Backing, err = net.EthernetCardBackingInfo(ctx)
			}
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		all = append(all, &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationAdd, Device: newCard(n.Kind, card)})
	}
	return all, missing, nil
}
