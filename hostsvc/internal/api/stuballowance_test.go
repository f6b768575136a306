package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type stubAllowances struct{ *stub }

func (s stubAllowances) Pool(ctx context.Context) (wire.Pool, error) {
	return wire.Pool{}, s.note(ctx, "tenancy.Pool", nobody)
}

func (s stubAllowances) SetPool(ctx context.Context, c volspec.Caller, r wire.Amounts) (wire.Pool, error) {
	return wire.Pool{}, s.note(ctx, "tenancy.SetPool", c, r)
}

func (s stubAllowances) Allowance(ctx context.Context, group string) (wire.Allowance, error) {
	return wire.Allowance{}, s.note(ctx, "tenancy.Allowance", nobody, group)
}

func (s stubAllowances) SetAllowance(ctx context.Context, c volspec.Caller, group string, r wire.Amounts) (wire.Allowance, error) {
	return wire.Allowance{}, s.note(ctx, "tenancy.SetAllowance", c, group, r)
}

type stubTransporters struct{ *stub }

func (s stubTransporters) List(ctx context.Context, c volspec.Caller, group string) ([]wire.Transporter, error) {
	return nil, s.note(ctx, "transporter.List", c, group)
}

func (s stubTransporters) Update(ctx context.Context, c volspec.Caller, name string, r wire.UpdateTransporter) (wire.Transporter, error) {
	return wire.Transporter{Name: name}, s.note(ctx, "transporter.Update", c, name, r)
}

func (s stubTransporters) Remove(ctx context.Context, c volspec.Caller, name string) error {
	return s.note(ctx, "transporter.Remove", c, name)
}

func (s stubTransporters) Set(ctx context.Context, c volspec.Caller, group string, names []string) ([]wire.Transporter, error) {
	return nil, s.note(ctx, "transporter.Set", c, group, names)
}
