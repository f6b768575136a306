package vsphere

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// configFormat is the version of machineConfig, and says that it is one.
const configFormat = 1

// machineConfig is what a VM is made of, as it is kept with its backups: nothing
// of it is secret or an identity. Networks, hosts and tags are by name, so that
// it can be used in another vCenter.
type machineConfig struct {
	Format      int                 `json:"mooring_vsphere_vm"`
	Name        string              `json:"name"`
	Datastore   string              `json:"datastore"` // of its own files
	Hardware    string              `json:"hardware"`  // version
	Guest       string              `json:"guest"`     // kind of system
	GuestName   string              `json:"guest_name,omitempty"`
	CPUs        int32               `json:"cpus"`
	CPUsPer     int32               `json:"cpus_per_socket,omitempty"`
	MemoryMB    int32               `json:"memory_mb"`
	Firmware    string              `json:"firmware,omitempty"`
	SecureBoot  bool                `json:"secure_boot,omitempty"`
	Nested      bool                `json:"nested_virtualization,omitempty"`
	AddCPUs     bool                `json:"add_cpus_while_on,omitempty"`
	AddMemory   bool                `json:"add_memory_while_on,omitempty"`
	Annotation  string              `json:"annotation,omitempty"`
	Controllers []controllerConfig  `json:"controllers,omitempty"`
	Disks       []diskConfig        `json:"disks,omitempty"`
	Cards       []networkCardConfig `json:"network_cards,omitempty"`
	Settings    map[string]string   `json:"settings,omitempty"` // of extraConfig
	Tags        []string            `json:"tags,omitempty"`     // category/name
	// Lost are devices that are not made again, in words.
	Lost []string `json:"lost,omitempty"`
}

type controllerConfig struct {
	Key  int32  `json:"key"`
	Kind string `json:"kind"`
	Bus  int32  `json:"bus"`
}

type diskConfig struct {
	Key        string       `json:"key"`
	Label      string       `json:"label"`
	Size       volspec.Size `json:"size"`
	Datastore  string       `json:"datastore"`
	Format     string       `json:"format"`
	Controller int32        `json:"controller"`
	Unit       int32        `json:"unit"`
}

type networkCardConfig struct {
	Kind      string `json:"kind"`
	Label     string `json:"label"`
	Network   string `json:"network"`
	Connected bool   `json:"connected"`
}

// kept are the settings of extraConfig that a VM is made with again. All others
// are left out: they are secrets, identities, what guestinfo carries, or what
// the host writes for itself. What ends in a dot is the beginning of several.
var kept = []string{
	"disk.EnableUUID", "tools.syncTime", "time.synchronize.", "svga.", "mks.enable3d", "isolation.tools.", "numa.", "cpuid.",
	"hypervisor.cpuid.v0", "vhv.enable", "monitor_control.", "sched.cpu.latencySensitivity", "vcpu.hotadd", "mem.hotadd", "RemoteDisplay.maxConnections",
}

func isKept(key string) bool {
	return slices.ContainsFunc(kept, func(k string) bool {
		if strings.HasSuffix(k, ".") {
			return len(key) > len(k) && strings.EqualFold(key[:len(k)], k)
		}
		return strings.EqualFold(key, k)
	})
}

// configOf is the configuration that a snapshot has kept.
func (v *VSphere) configOf(ctx context.Context, f frozenMachine) ([]byte, error) {
	names, err := v.networkNames(ctx)
	if err != nil {
		return nil, err
	}
	c := describeConfig(f.config, names)
	c.Name, c.Datastore = f.vm.Name, f.vm.Datastore
	c.addDisks(f)
	if c.Tags, err = v.c.TagsOf(ctx, f.vm.Ref); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		log.G(ctx).WithField(log.VM, f.vm.Name).WithField(log.Err, err.Error()).Warn("the tags of a VM cannot be read: its backup does not have them")
	}
	data, err := json.Marshal(c)
	return data, errkind.Wrap(errkind.Internal, err, "configuration of VM %s", f.vm.Name)
}

func (v *VSphere) networkNames(ctx context.Context) (map[string]string, error) {
	all, err := v.inv.Networks(ctx)
	names := map[string]string{}
	for _, n := range all {
		names[n.Ref.Value] = n.Name
	}
	return names, err
}

// describeConfig is all of a configuration but its disks and what is beside it.
// networks are names by reference.
func describeConfig(info types.VirtualMachineConfigInfo, networks map[string]string) machineConfig {
	c := machineConfig{
		Format: configFormat, Hardware: info.Version, Guest: info.GuestId, GuestName: info.AlternateGuestName, Annotation: info.Annotation,
		CPUs: info.Hardware.NumCPU, MemoryMB: info.Hardware.MemoryMB, Firmware: info.Firmware, Settings: map[string]string{},
		Nested: isTrue(info.NestedHVEnabled), AddCPUs: isTrue(info.CpuHotAddEnabled), AddMemory: isTrue(info.MemoryHotAddEnabled),
		SecureBoot: info.BootOptions != nil && isTrue(info.BootOptions.EfiSecureBootEnabled),
	}
	if info.Hardware.NumCoresPerSocket != nil {
		c.CPUsPer = *info.Hardware.NumCoresPerSocket
	}
	for _, o := range info.ExtraConfig {
		o := o.GetOptionValue()
		if s, ok := o.Value.(string); ok && isKept(o.Key) {
			c.Settings[o.Key] = s
		}
	}
	for _, dev := range info.Hardware.Device {
		switch d := dev.(type) {
		case types.BaseVirtualEthernetCard:
			c.Cards = append(c.Cards, describeCard(dev, d.GetVirtualEthernetCard(), networks))
		case *types.VirtualTPM, *types.VirtualPCIPassthrough, *types.VirtualUSB, *types.VirtualSerialPort, *types.VirtualParallelPort, *types.VirtualSCSIPassthrough:
			c.Lost = append(c.Lost, labelOf(dev))
		}
	}
	return c
}

func describeCard(dev types.BaseVirtualDevice, e *types.VirtualEthernetCard, networks map[string]string) networkCardConfig {
	n := networkCardConfig{Kind: cardKind(dev), Label: labelOf(dev), Connected: e.Connectable == nil || e.Connectable.StartConnected}
	switch b := e.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		n.Network = b.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		n.Network = networks[b.Port.PortgroupKey]
	}
	return n
}

func labelOf(d types.BaseVirtualDevice) string {
	if info := d.GetVirtualDevice().DeviceInfo; info != nil {
		return info.GetDescription().Label
	}
	return ""
}

func isTrue(b *bool) bool { return b != nil && *b }

// addDisks adds the VM's own disks, and the controllers that they are on.
func (c *machineConfig) addDisks(f frozenMachine) {
	for _, d := range f.disks {
		if d.Volume != "" || d.Refusal != "" {
			continue
		}
		on := d.device.ControllerKey
		for _, dev := range f.config.Hardware.Device {
			ctl, ok := dev.(types.BaseVirtualController)
			if !ok || ctl.GetVirtualController().Key != on || slices.ContainsFunc(c.Controllers, func(o controllerConfig) bool { return o.Key == on }) {
				continue
			}
			c.Controllers = append(c.Controllers, controllerConfig{Key: on, Kind: controllerKind(dev), Bus: ctl.GetVirtualController().BusNumber})
		}
		c.Disks = append(c.Disks, diskConfig{
			Key: d.Key, Label: d.Label, Size: d.Size, Datastore: d.Datastore, Format: formatOf(d.device), Controller: on, Unit: max(0, slot(d.device)),
		})
	}
}

// formatOf is how a disk is allocated.
func formatOf(d *types.VirtualDisk) string {
	b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return volspec.Thin
	}
	b = baseOf(b) // a child is always thin
	switch {
	case b.ThinProvisioned == nil || *b.ThinProvisioned:
		return volspec.Thin
	case isTrue(b.EagerlyScrub):
		return volspec.EagerZeroedThick
	}
	return volspec.ZeroedThick
}

// parseConfig is the inverse of configOf. What is none is invalid.
func parseConfig(data []byte) (c machineConfig, err error) {
	if err := json.Unmarshal(data, &c); err != nil || c.Format == 0 {
		return c, errkind.New(errkind.Invalid, "it is not one of a VM on vSphere")
	}
	switch {
	case c.Format != configFormat:
		return c, errkind.New(errkind.Invalid, "its format %d is of a newer version of mooringd: use that", c.Format)
	case c.Datastore == "" || c.CPUs < 1 || c.MemoryMB < 1 || c.Hardware == "" || c.Guest == "":
		return c, errkind.New(errkind.Invalid, "it is not complete")
	}
	for _, ctl := range c.Controllers {
		if ctl.Kind != ideController && newController(ctl.Kind, 0, 0) == nil {
			return c, errkind.New(errkind.Invalid, "it has a disk controller of a kind that is not known here (%s)", ctl.Kind)
		}
	}
	for _, d := range c.Disks {
		if !slices.ContainsFunc(c.Controllers, func(ctl controllerConfig) bool { return ctl.Key == d.Controller }) || hypervisor.CheckFormat(d.Format) != nil || d.Datastore == "" {
			return c, errkind.New(errkind.Invalid, "its disk %s has no place, or is in no known format", d.Key)
		}
	}
	return c, nil
}

// disk is the configuration of one of its disks.
func (c machineConfig) disk(key string) (diskConfig, bool) {
	i := slices.IndexFunc(c.Disks, func(d diskConfig) bool { return d.Key == key })
	if i < 0 {
		return diskConfig{}, false
	}
	return c.Disks[i], true
}
