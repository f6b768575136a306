package vsphere

import (
	"context"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// guestinfo is the prefix of what programs in a VM may read through its tools.
const guestinfo = "guestinfo."

var _ hypervisor.GuestInfo = (*VSphere)(nil)

// PutGuestInfo implements hypervisor.GuestInfo.
func (v *VSphere) PutGuestInfo(ctx context.Context, vm volspec.VMID, key, text string) error {
	if err := hypervisor.CheckGuestInfoKey(key); err != nil {
		return err
	}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return err
	}
	what := fmt.Sprintf("setting %s%s of VM %s", guestinfo, key, m.Name)
	return v.change(ctx, what, m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		if now.info(key) == text {
			return nil, nil
		}
		return &types.VirtualMachineConfigSpec{ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: guestinfo + key, Value: text}}}, nil
	})
}

// ReadGuestInfo implements hypervisor.GuestInfo.
func (v *VSphere) ReadGuestInfo(ctx context.Context, vm volspec.VMID, key string) (string, error) {
	if err := hypervisor.CheckGuestInfoKey(key); err != nil {
		return "", err
	}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return "", err
	}
	now, err := v.now(ctx, fmt.Sprintf("reading %s%s of VM %s", guestinfo, key, m.Name), m)
	return now.info(key), err
}

func (now machineNow) info(key string) string { return now.extra[strings.ToLower(guestinfo+key)] }
