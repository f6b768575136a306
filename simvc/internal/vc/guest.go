package vc

import (
	"fmt"
	"strings"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const guestPrefix = "guestinfo."

// GuestInfo is what a guest can read through its tools.
func (s *Server) GuestInfo(name string) (map[string]string, error) {
	vm, err := s.byName(name)
	if err != nil {
		return nil, err
	}
	info := make(map[string]string)
	ctx := s.ctx()
	ctx.WithLock(vm, func() {
		for _, o := range vm.Config.ExtraConfig {
			v := o.GetOptionValue()
			if text, ok := v.Value.(string); ok && strings.HasPrefix(v.Key, guestPrefix) {
				info[v.Key] = text
			}
		}
	})
	return info, nil
}

// maxGuestInfo is what the tools' channel carries at most.
const maxGuestInfo = 64 << 10

// SetGuestInfo is a guest that writes through its tools; "" removes.
func (s *Server) SetGuestInfo(name, key, value string) error {
	vm, err := s.byName(name)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(key, guestPrefix) || len(value) > maxGuestInfo {
		return fmt.Errorf("a guest cannot set %q to %d bytes", key, len(value))
	}
	if !s.isOn(vm.Self) {
		return fmt.Errorf("the vm %q is off", name)
	}
	ctx := s.ctx()
	var fault types.BaseMethodFault
	ctx.WithLock(vm, func() {
		res := vm.ReconfigVMTask(ctx, &types.ReconfigVM_Task{This: vm.Self, Spec: types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: key, Value: value}},
		}})
		_, fault = inner(ctx, res.(*methods.ReconfigVM_TaskBody).Res.Returnval)
		s.changed(vm)
	})
	if fault != nil {
		return fmt.Errorf("%T", fault)
	}
	return nil
}
