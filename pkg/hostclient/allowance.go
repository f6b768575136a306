package hostclient

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/wire"
)

// Pool is what the service may hand out, and what of it is delegated and used.
func (a *Admin) Pool(ctx context.Context) (wire.Pool, error) {
	return get[wire.Pool](ctx, a, nil, "pool")
}

// SetPool replaces the pool; what is nil has no bound.
func (a *Admin) SetPool(ctx context.Context, r wire.Amounts) (wire.Pool, error) {
	return change[wire.Pool](ctx, a, http.MethodPut, nil, r, "pool")
}

// Allowance is what is delegated to a vmgroup, and what of it it uses.
func (a *Admin) Allowance(ctx context.Context, group string) (wire.Allowance, error) {
	return get[wire.Allowance](ctx, a, nil, "vmgroups", group, "allowance")
}

// SetAllowance replaces what is delegated to a vmgroup; what is nil has no bound,
// or is nothing where the pool has one.
func (a *Admin) SetAllowance(ctx context.Context, group string, r wire.Amounts) (wire.Allowance, error) {
	return change[wire.Allowance](ctx, a, http.MethodPut, nil, r, "vmgroups", group, "allowance")
}
