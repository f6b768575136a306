package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type stubProviders struct{ *stub }

func (s stubProviders) Get(ctx context.Context, vmgroup string) (wire.OIDC, error) {
	return wire.OIDC{}, s.note(ctx, "oidc.Get", nobody, vmgroup)
}

func (s stubProviders) Put(ctx context.Context, c volspec.Caller, vmgroup string, r wire.OIDC) (wire.OIDC, error) {
	return r, s.note(ctx, "oidc.Put", c, vmgroup, r)
}

func (s stubProviders) Remove(ctx context.Context, c volspec.Caller, vmgroup string) error {
	return s.note(ctx, "oidc.Remove", c, vmgroup)
}
