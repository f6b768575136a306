package vsphere

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	// machineLabel begins the names of our snapshots of VMs; the id follows.
	machineLabel = "mooring-"
	// madeByUs begins their descriptions; a note follows on the next line.
	madeByUs = "Made by Mooring for a backup, which removes it."
	// onlyBegins is the description of one with which change tracking begins:
	// nobody reads it.
	onlyBegins = madeByUs + " It begins the tracking of changes."
)

// machineSnapshot is one of ours.
type machineSnapshot struct {
	types.VirtualMachineSnapshotTree
	id volspec.SnapshotID
}

// begins reports whether it was made for nothing but change tracking.
func (s machineSnapshot) begins() bool { return s.Description == onlyBegins }

func (s machineSnapshot) note() string {
	_, note, _ := strings.Cut(s.Description, "\n")
	return note
}

// oursOf are those snapshots of a VM that we made.
func oursOf(info *types.VirtualMachineSnapshotInfo) (ours []machineSnapshot) {
	for _, s := range allOf(info) {
		id, ok := strings.CutPrefix(s.Name, machineLabel)
		if ok && hypervisor.ValidID(id) && strings.HasPrefix(s.Description, madeByUs) {
			ours = append(ours, machineSnapshot{s, volspec.SnapshotID(id)})
		}
	}
	return ours
}

// condition is what a snapshot of a VM depends on.
type condition struct {
	mo.VirtualMachine
	ours []machineSnapshot
}

func (c condition) find(id volspec.SnapshotID) (machineSnapshot, bool) {
	i := slices.IndexFunc(c.ours, func(s machineSnapshot) bool { return s.id == id })
	if i < 0 {
		return machineSnapshot{}, false
	}
	return c.ours[i], true
}

func (c condition) on() bool {
	return c.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
}

func (c condition) tools() bool {
	return c.Guest != nil && c.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
}

func (v *VSphere) condition(ctx context.Context, what string, m vcenter.VM) (c condition, err error) {
	err = v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		c = condition{}
		return property.DefaultCollector(vc).RetrieveOne(ctx, m.Ref, []string{
			"snapshot", "runtime.powerState", "runtime.consolidationNeeded", "guest.toolsRunningStatus",
			"config.changeTrackingEnabled", "capability.changeTrackingSupported",
		}, &c.VirtualMachine)
	})
	c.ours = oursOf(c.Snapshot)
	return c, err
}

// SnapshotMachine implements hypervisor.MachineImager.
func (v *VSphere) SnapshotMachine(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, quiesce bool) (hypervisor.MachineSnapshot, error) {
	none := hypervisor.MachineSnapshot{}
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return none, err
	}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return none, err
	}
	what := fmt.Sprintf("making snapshot %s of VM %s", id, m.Name)
	unlock, err := v.slots.Lock(ctx, vm)
	if err != nil {
		return none, vcenter.Translate(err, what)
	}
	defer unlock()
	s, err := v.snapshotMachine(ctx, what, m, id, quiesce)
	if err != nil {
		return none, err
	}
	return v.describeMachine(ctx, what, m, s)
}

// snapshotMachine makes the snapshot unless it is there.
func (v *VSphere) snapshotMachine(ctx context.Context, what string, m vcenter.VM, id volspec.SnapshotID, quiesce bool) (machineSnapshot, error) {
	now, err := v.condition(ctx, what, m)
	if err != nil {
		return machineSnapshot{}, err
	}
	if s, ok := now.find(id); ok && !s.begins() {
		return s, nil
	}
	for _, s := range now.ours {
		if s.begins() {
			if err := v.removeSnapshot(ctx, what, m, s); err != nil {
				return machineSnapshot{}, err
			}
			if now, err = v.condition(ctx, what, m); err != nil {
				return machineSnapshot{}, err
			}
		}
	}
	if err := v.trackMachine(ctx, what, m, id, now); err != nil {
		if !errkind.Is(err, errkind.Denied) {
			return machineSnapshot{}, err
		}
		log.G(ctx).WithField(log.VM, m.Name).WithField(log.Err, err.Error()).Warn("changes of a VM are not tracked: every backup of it reads everything")
	}
	note := ""
	switch {
	case quiesce && now.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff:
		quiesce, note = false, fmt.Sprintf("VM %s is off: there was nothing to quiesce", m.Name)
	case quiesce && !now.on():
		quiesce, note = false, fmt.Sprintf("VM %s is suspended: its disks are as after a power failure", m.Name)
	case quiesce && !now.tools():
		quiesce, note = false, fmt.Sprintf("VM %s has no guest tools that run: its disks are as after a power failure", m.Name)
	}
	s, err := v.takeMachine(ctx, what, m, id, description(note), quiesce)
	if quiesce && unquiesced(err) {
		note = fmt.Sprintf("the guest tools of VM %s could not quiesce it (%s): its disks are as after a power failure", m.Name, strings.ReplaceAll(vcenter.Text(err), "\n", " "))
		return v.takeMachine(ctx, what, m, id, description(note), false)
	}
	return s, err
}

func description(note string) string {
	if note == "" {
		return madeByUs
	}
	return madeByUs + "\n" + note
}

// unquiesced reports whether a snapshot failed because the guest was not
// quiesced.
func unquiesced(err error) bool {
	return err != nil && (vcenter.Is[*types.ApplicationQuiesceFault](err) || vcenter.Is[*types.FilesystemQuiesceFault](err) || vcenter.Is[*types.ToolsUnavailable](err) ||
		slices.ContainsFunc(vcenter.Keys(err), func(k string) bool { return strings.Contains(strings.ToLower(k), "quiesc") }))
}

// takeMachine makes a snapshot. When the answer is lost it is looked for.
func (v *VSphere) takeMachine(ctx context.Context, what string, m vcenter.VM, id volspec.SnapshotID, words string, quiesce bool) (machineSnapshot, error) {
	_, err := v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		return started(object.NewVirtualMachine(vc, m.Ref).CreateSnapshot(ctx, machineLabel+string(id), words, false, quiesce))
	})
	if err != nil && (!vcenter.Lost(err) || ctx.Err() != nil) {
		return machineSnapshot{}, err
	}
	now, again := v.condition(ctx, what, m)
	if again != nil {
		return machineSnapshot{}, cmp.Or(err, again)
	}
	s, ok := now.find(id)
	if !ok {
		return s, cmp.Or(err, errkind.New(errkind.Unavailable, "%s: vSphere says that it is done, but the VM does not have it; repeat it", what))
	}
	return s, nil
}

// trackMachine has the changes of a VM's disks recorded. That begins while the
// VM has no snapshot, or the first answers would be wrong; in one that runs,
// with the next snapshot, which does not have a name for its own moment yet.
func (v *VSphere) trackMachine(ctx context.Context, what string, m vcenter.VM, id volspec.SnapshotID, now condition) error {
	if now.Config != nil && isTrue(now.Config.ChangeTrackingEnabled) || !now.Capability.ChangeTrackingSupported || now.Snapshot != nil {
		return nil
	}
	err := v.insist(ctx, what, m, func(machineNow) (*types.VirtualMachineConfigSpec, error) {
		return &types.VirtualMachineConfigSpec{ChangeTrackingEnabled: types.NewBool(true)}, nil
	})
	if err != nil || !now.on() {
		return err
	}
	s, err := v.takeMachine(ctx, what, m, id, onlyBegins, false)
	if err != nil {
		return err
	}
	return v.removeSnapshot(ctx, what, m, s)
}

// frozenMachine is what a snapshot of a VM has kept.
type frozenMachine struct {
	vm       vcenter.VM
	snapshot machineSnapshot
	config   types.VirtualMachineConfigInfo
	disks    []machineDisk
}

func (v *VSphere) frozenMachine(ctx context.Context, what string, m vcenter.VM, s machineSnapshot) (frozenMachine, error) {
	f := frozenMachine{vm: m, snapshot: s}
	var found mo.VirtualMachineSnapshot
	err := v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		return property.DefaultCollector(vc).RetrieveOne(ctx, s.Snapshot, []string{"config"}, &found)
	})
	if err != nil {
		return f, err
	}
	f.config = found.Config
	if err := v.devicesAsGiven(ctx, f.config.Hardware.Device); err != nil {
		return f, err
	}
	f.disks, err = v.machineDisks(ctx, f.config.Hardware.Device, placesOf(volspec.VMID(m.ID), settings(f.config.ExtraConfig)))
	return f, err
}

// describeMachine is what the caller of SnapshotMachine is told.
func (v *VSphere) describeMachine(ctx context.Context, what string, m vcenter.VM, s machineSnapshot) (hypervisor.MachineSnapshot, error) {
	f, err := v.frozenMachine(ctx, what, m, s)
	if err != nil {
		return hypervisor.MachineSnapshot{}, err
	}
	config, err := v.configOf(ctx, f)
	return hypervisor.MachineSnapshot{
		At: s.CreateTime.UTC().Truncate(time.Microsecond), Quiesced: s.Quiesced, Note: s.note(), Config: config, Disks: plain(f.disks, true),
	}, err
}
