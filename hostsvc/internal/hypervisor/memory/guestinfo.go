package memory

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.GuestInfo = (*Memory)(nil)

// PutGuestInfo implements hypervisor.GuestInfo.
func (m *Memory) PutGuestInfo(ctx context.Context, vm volspec.VMID, key, text string) error {
	v, unlock, err := m.informed(ctx, vm, key)
	if err != nil {
		return err
	}
	defer unlock()
	if v.info == nil {
		v.info = map[string]string{}
	}
	v.info[key] = text
	return nil
}

// ReadGuestInfo implements hypervisor.GuestInfo.
func (m *Memory) ReadGuestInfo(ctx context.Context, vm volspec.VMID, key string) (string, error) {
	v, unlock, err := m.informed(ctx, vm, key)
	if err != nil {
		return "", err
	}
	defer unlock()
	return v.info[key], nil
}

func (m *Memory) informed(ctx context.Context, vm volspec.VMID, key string) (*machine, func(), error) {
	if err := hypervisor.CheckGuestInfoKey(key); err != nil {
		return nil, nil, err
	}
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	v, err := m.machine(vm)
	if err != nil {
		unlock()
		return nil, nil, err
	}
	return v, unlock, nil
}
