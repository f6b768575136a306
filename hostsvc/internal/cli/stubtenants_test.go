package cli

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

func tenantOf(name string) wire.Tenant {
	v := wire.Tenant{
		ID: "dffe8829-b6b3-44c1-84fc-3dc08166b66d", Name: name, Description: "developers", State: wire.TenantEnabled, Health: wire.HealthNotices, Alarms: 0, Notices: 1,
		Profile:     wire.Profile{Email: "dev@example.com", Phone: "1", Labels: []string{"eu", "gold"}},
		Readiness:   wire.Readiness{Missing: []string{wire.PartRepositories}, Message: "Your service is not configured: a repository is missing"},
		GuestAccess: true, Users: 2, VMs: 2, Volumes: 3,
	}
	if name == "Old" {
		v.State, v.PurgeAfter = wire.TenantDeleted, time.Date(2017, time.August, 30, 0, 0, 0, 0, time.UTC)
	}
	return v
}

func (m *memAdmin) Tenant(_ context.Context, name string) (wire.Tenant, error) {
	return tenantOf(name), m.did("Tenant", name)
}

func (m *memAdmin) Tenants(_ context.Context, q hostclient.TenantQuery) (wire.TenantList, error) {
	return wire.TenantList{Tenants: []wire.Tenant{tenantOf("Dev")}, Total: 1}, m.did("Tenants", q)
}

func (m *memAdmin) CreateTenant(_ context.Context, r wire.CreateTenant) (wire.TenantMade, error) {
	made := wire.TenantMade{Tenant: wire.Tenant{Name: r.Name}}
	if r.Admin != nil {
		made.Admin = &wire.User{Name: r.Admin.Name, Role: r.Admin.Role}
		if r.Admin.Password == "" {
			made.Admin.Password = "mlztb-generated"
		}
	}
	return made, m.did("CreateTenant", r)
}

func (m *memAdmin) UpdateTenant(_ context.Context, name string, r wire.UpdateTenant) (wire.Tenant, error) {
	return wire.Tenant{Name: name}, m.did("UpdateTenant", name, r)
}

func (m *memAdmin) DeleteTenant(_ context.Context, name string, withData, immediately bool) error {
	return m.did("DeleteTenant", name, withData, immediately)
}

func (m *memAdmin) Settings(context.Context) (wire.Settings, error) {
	return wire.Settings{Product: "Mooring", Mode: wire.ModeMulti}, m.did("Settings")
}

func (m *memAdmin) SetSecurity(_ context.Context, vmgroup string, r wire.UpdateSecurity) (wire.Tenant, error) {
	return wire.Tenant{}, m.did("SetSecurity", vmgroup, r)
}

func (m *memAdmin) PutSettings(_ context.Context, v wire.Settings) (wire.Settings, error) {
	return v, m.did("PutSettings", v)
}

var tenantLines = []string{
	"vmgroup create Dev --description=o --email=ops@example.com --labels='gold, eu' --guest-access --vm-list=a",
	"vmgroup create Acme --admin=jo --admin-email=jo@acme.example --sockets=2 --storage=2TB --transporters=",
	"vmgroup create Acme --admin=jo -o name",
	"vmgroup create Acme --volumes=many",
	"vmgroup create Acme --admin-email=jo@acme.example",
	"vmgroup status",
	"vmgroup status --state=enabled --health=notices --label=gold --search=dev --sort=storage --desc --limit=5 -o wide",
	"vmgroup status -o name",
	"vmgroup update Dev --phone=2 --labels= --guest-access=false",
	"vmgroup update Dev --new-name=Dev2 --website=https://dev.example.com",
	"vmgroup show Dev",
	"vmgroup show Old",
	"vmgroup show Dev -o name",
	"vmgroup security Dev",
	"vmgroup security Dev --refuse-content",
	"vmgroup security Dev --refuse-content=false",
	"vmgroup security Dev --require-second-factor",
	"settings set --require-second-factor",
	"vmgroup enable Dev",
	"vmgroup disable --name=Dev --cancel-jobs",
	"vmgroup restore Old",
	"vmgroup restore Dev -o json",
	"vmgroup delete Dev",
	"vmgroup delete Dev --with-data --now",
	"vmgroup save Dev",
	"vmgroup save Dev --out=testdata/main.kit",
	"vmgroup save Dev --out=testdata/none.bundle",
	"vmgroup load testdata/main.kit",
	"vmgroup load testdata/none.bundle",
	"settings show",
	"settings show -o json",
	"settings set --product='Harbour Backup' --mode=single --url=https://backup.example.com",
	"settings set --logo=testdata/nothing.png",
	"settings set --logo=",
}
