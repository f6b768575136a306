package cli

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

func (m *memAdmin) SaveTenant(_ context.Context, name string, r wire.SaveTenant) (wire.Bundle, error) {
	b := wire.Bundle{
		Format: wire.BundleFormat, Version: wire.BundleVersion, VMGroup: name, Created: time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC),
		Salt: []byte("salt"), Sealed: []byte("sealed under " + r.Passphrase),
	}
	return b, m.did("SaveTenant", name, r.Passphrase)
}

func (m *memAdmin) LoadTenant(_ context.Context, r wire.LoadTenant) (wire.TenantLoaded, error) {
	v := wire.TenantLoaded{Tenant: wire.Tenant{Name: r.Name}, ToDo: []string{"VM web1 is not here", "It is disabled"}}
	return v, m.did("LoadTenant", r.Name, r.Passphrase, string(r.Bundle.Sealed), r.Allowance)
}
