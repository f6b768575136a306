package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type stubBundles struct{ *stub }

func (s stubBundles) Save(ctx context.Context, c volspec.Caller, name, passphrase string) (wire.Bundle, error) {
	return wire.Bundle{VMGroup: name}, s.note(ctx, "bundle.Save", c, name, passphrase)
}

func (s stubBundles) Load(ctx context.Context, c volspec.Caller, r wire.LoadTenant) (wire.TenantLoaded, error) {
	return wire.TenantLoaded{ToDo: []string{}}, s.note(ctx, "bundle.Load", c, r)
}
