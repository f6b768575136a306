package cli

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (m *memAdmin) Users(_ context.Context, vmgroup string) ([]wire.User, error) {
	return []wire.User{
		{Name: "jo", Role: volspec.TenantAdmin, Enabled: true, TOTP: true, LastLogin: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Email: "jo@example.org", Sessions: 1, Tokens: 2},
		{Name: "old", Role: volspec.TenantGuest, Description: "left"},
		{Name: "shut", Role: volspec.Operator, Enabled: true, LockedUntil: time.Date(2026, 3, 1, 13, 0, 0, 0, time.UTC)},
	}, m.did("Users", vmgroup)
}

func (m *memAdmin) CreateUser(_ context.Context, vmgroup string, r wire.CreateUser) (wire.User, error) {
	u := wire.User{Name: r.Name, Role: r.Role, Enabled: true}
	if r.Password == "" {
		u.Password = "abcde-fghjk-mnpqr-stuvw"
	}
	return u, m.did("CreateUser", vmgroup, r)
}

func (m *memAdmin) UpdateUser(_ context.Context, vmgroup, name string, r wire.UpdateUser) (wire.User, error) {
	u := wire.User{Name: name, Role: volspec.Operator}
	if r.ResetPassword {
		u.Password = "abcde-fghjk-mnpqr-stuvw"
	}
	return u, m.did("UpdateUser", vmgroup, name, r)
}

func (m *memAdmin) RemoveUser(_ context.Context, vmgroup, name string) error {
	return m.did("RemoveUser", vmgroup, name)
}
