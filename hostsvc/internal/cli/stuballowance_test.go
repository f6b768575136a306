package cli

import (
	"context"

	"mooring.dev/mooring/pkg/wire"
)

func (m *memAdmin) Pool(context.Context) (wire.Pool, error) {
	return wire.Pool{
		VMs: wire.PoolShare{Bounded: true, Size: 10, Delegated: 6, Used: 3}, Storage: wire.PoolShare{Delegated: 5 << 30, Used: 1 << 30},
	}, m.did("Pool")
}

func (m *memAdmin) SetPool(_ context.Context, r wire.Amounts) (wire.Pool, error) {
	return wire.Pool{VMs: wire.PoolShare{Bounded: true, Size: 20}}, m.did("SetPool", r)
}

func (m *memAdmin) Allowance(_ context.Context, vmgroup string) (wire.Allowance, error) {
	return wire.Allowance{
		VMs: wire.Share{Used: 3, Bounded: true, Desired: 2, Effective: 3}, Storage: wire.Share{Used: 1 << 30, Bounded: true, Desired: 5 << 30, Effective: 5 << 30},
	}, m.did("Allowance", vmgroup)
}

func (m *memAdmin) SetAllowance(_ context.Context, vmgroup string, r wire.Amounts) (wire.Allowance, error) {
	return wire.Allowance{}, m.did("SetAllowance", vmgroup, r)
}

func (m *memAdmin) Transporters(_ context.Context, vmgroup string) ([]wire.Transporter, error) {
	return []wire.Transporter{
		{Name: wire.BuiltInTransporter, BuiltIn: true, State: wire.TransporterOnline, Seen: at(22, 1), Host: "host1", Version: "1.0", Jobs: 2, Tenants: []string{"_DEFAULT", "Dev"}},
		{Name: "site-b", State: wire.TransporterOffline, Description: "second building", Tenants: []string{}},
	}, m.did("Transporters", vmgroup)
}

func (m *memAdmin) UpdateTransporter(_ context.Context, name string, r wire.UpdateTransporter) (wire.Transporter, error) {
	return wire.Transporter{Name: name, State: wire.TransporterOnline, Description: *r.Description}, m.did("UpdateTransporter", name, r)
}

func (m *memAdmin) RemoveTransporter(_ context.Context, name string) error {
	return m.did("RemoveTransporter", name)
}

func (m *memAdmin) SetTransporters(_ context.Context, vmgroup string, r wire.SetTransporters) ([]wire.Transporter, error) {
	return []wire.Transporter{{Name: "site-b", State: wire.TransporterOnline, Tenants: []string{vmgroup}}}, m.did("SetTransporters", vmgroup, r)
}

var allowanceLines = []string{
	"allowance pool show",
	"allowance pool show -o json",
	"allowance pool set --vms=20 --storage=10gb",
	"allowance pool set",
	"allowance pool set --vms=many",
	"vmgroup allowance show --name=Dev",
	"vmgroup allowance set --name=Dev --vms=unset --sockets=4",
	"vmgroup allowance set --name=Dev --storage=4",
	"transporter ls",
	"transporter ls --vmgroup=Dev -o wide",
	"transporter set site-b --description=there",
	"transporter set site-b",
	"transporter bind Dev site-b built-in",
	"transporter bind Dev --none",
	"transporter bind Dev",
	"transporter rm site-b",
}
