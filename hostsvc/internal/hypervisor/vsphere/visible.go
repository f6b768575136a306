package vsphere

import (
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
)

const (
	// enableUUID is the setting with which a VM tells its guest the serials of
	// its disks; without it the guest cannot find them.
	enableUUID = "disk.EnableUUID"
	// enabledIn says during which run of the VM that was set: it acts from the
	// next power-on.
	enabledIn = "mooring.enableUUID"
)

// shows reports whether the guest sees the serials of its disks.
func (now machineNow) shows() bool {
	return now.promised() && (now.boot == "" || now.extra[strings.ToLower(enabledIn)] != now.boot)
}

func (now machineNow) promised() bool {
	return strings.EqualFold(now.extra[strings.ToLower(enableUUID)], "TRUE")
}

// show is the change after which the guest sees the serials from the next
// power-on; nil when it was made already.
func (now machineNow) show() *types.VirtualMachineConfigSpec {
	if now.promised() {
		return nil
	}
	return &types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{
		&types.OptionValue{Key: enableUUID, Value: "TRUE"},
		&types.OptionValue{Key: enabledIn, Value: now.boot},
	}}
}

func hidden(m vcenter.VM) error {
	return errkind.New(errkind.Unavailable, "disks cannot be attached to VM %s yet: it did not tell its guest their serials; %s = TRUE is set now and acts from the next power-on: shut the VM down, power it on, and repeat", m.Name, enableUUID)
}
