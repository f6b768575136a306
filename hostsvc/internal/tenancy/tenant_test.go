package tenancy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var acme = wire.CreateTenant{
	CreateVMGroup: wire.CreateVMGroup{Name: "acme", Description: "Acme GmbH", DefaultDatastore: "datastore1", VMs: []string{"Photon1"}},
	Profile:       wire.Profile{Email: "ops@acme.example", Phone: "+49 30 1234", Website: "https://acme.example", Address: "Hauptstr. 1, Berlin", Labels: []string{"gold", "eu", "gold "}},
	GuestAccess:   true,
	Admin:         &wire.CreateUser{Name: "anna", Role: volspec.Operator, Password: "secret"},
}

func (w *world) tenant(name string) wire.Tenant {
	w.t.Helper()
	v, err := w.Tenant(w.t.Context(), name)
	require.NoError(w.t, err)
	return v
}

func (w *world) make(req wire.CreateTenant) wire.TenantMade {
	w.t.Helper()
	made, err := w.CreateTenant(w.t.Context(), root, req)
	require.NoError(w.t, err)
	return made
}

func TestTenantIsMadeWhole(t *testing.T) {
	w := newWorld(t)
	made := w.make(acme)
	require.NotNil(t, made.Admin)
	assert.Equal(t, wire.User{Name: "anna", Tenant: "acme", Role: volspec.TenantAdmin}, *made.Admin, "whatever role was asked for")
	got := w.tenant("acme")
	assert.Equal(t, made.Tenant, got)
	assert.Equal(t, []string{"eu", "gold"}, got.Profile.Labels)
	assert.Equal(t, "ops@acme.example", got.Profile.Email)
	assert.Equal(t, wire.TenantEnabled, got.State)
	assert.True(t, got.GuestAccess)
	assert.False(t, got.GuestFiles)
	assert.Equal(t, 1, got.VMs)
	assert.Equal(t, []string{"Photon1"}, w.members("acme"))
	assert.Equal(t, "datastore1", w.get("acme").Access[0].Datastore)

	_, err := w.CreateTenant(t.Context(), root, acme)
	refused(t, err, errkind.Exists, "Vmgroup acme already exists")
}

// Whatever part of it is refused, nothing of a tenant is there.
func TestTenantIsMadeWholeOrNotAtAll(t *testing.T) {
	for what, change := range map[string]func(*wire.CreateTenant){
		"user":        func(r *wire.CreateTenant) { r.Admin = &wire.CreateUser{Name: "taken"} },
		"password":    func(r *wire.CreateTenant) { r.Admin = &wire.CreateUser{Name: "weak"} },
		"vm":          func(r *wire.CreateTenant) { r.VMs = []string{"Photon2"} },
		"transporter": func(r *wire.CreateTenant) { r.Transporters = []string{"nowhere"} },
		"profile":     func(r *wire.CreateTenant) { r.Profile.Email = "nobody" },
		"allowance":   func(r *wire.CreateTenant) { r.Allowance = &wire.Amounts{VMs: p(int64(-1))} },
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.group("other", "Photon2")
			req := acme
			change(&req)
			_, err := w.CreateTenant(t.Context(), root, req)
			require.Error(t, err)
			_, err = w.Tenant(t.Context(), "acme")
			refused(t, err, errkind.NotFound, "Vmgroup acme does not exist")
			w.make(acme)
		})
	}
}

func TestStates(t *testing.T) {
	w := newWorld(t)
	w.make(acme)
	ctx := t.Context()
	v, err := w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantDisabled), Description: p("late payer")})
	require.NoError(t, err)
	assert.Equal(t, wire.TenantDisabled, v.State)
	assert.Equal(t, "late payer", w.get("acme").Description)
	assert.Empty(t, w.canceled, "running jobs go on unless somebody asks")
	_, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantDisabled), CancelJobs: true})
	require.NoError(t, err)
	assert.Equal(t, []string{"acme"}, w.canceled)

	_, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p("deleted")})
	refused(t, err, errkind.Invalid, `state "deleted" is not valid`)
	_, err = w.UpdateTenant(ctx, root, "nobody", wire.UpdateTenant{State: p(wire.TenantEnabled)})
	refused(t, err, errkind.NotFound, "Vmgroup nobody does not exist")

	v, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantEnabled)})
	require.NoError(t, err)
	assert.Equal(t, wire.TenantEnabled, v.State)
	assert.Equal(t, []string{"eu", "gold"}, v.Profile.Labels, "all else stays")

	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{{Name: "acme", VMs: []string{"Photon1"}}}))
	_, err = w.SetProfile(ctx, root, "acme", wire.Profile{})
	refused(t, err, errkind.Denied, "Vmgroup acme is declared in "+file)
}

// The rules of a mode, whoever asks.
func TestModes(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.EnsureDefault(ctx, true))
	v, err := w.Settings(ctx)
	require.NoError(t, err)
	assert.Equal(t, wire.Settings{Product: "Mooring", Mode: wire.ModeMulti}, v, "one that never chose")
	mode := func(m string) error {
		_, err := w.PutSettings(ctx, root, wire.Settings{Product: "Harbour", Mode: m})
		return err
	}
	require.NoError(t, mode(wire.ModeSingle))
	w.make(acme)
	_, err = w.Create(ctx, root, wire.CreateVMGroup{Name: "globex"})
	refused(t, err, errkind.Denied, "vmgroup globex cannot be made: this installation has a single tenant, acme; switch it to many with `mooring settings set --mode=multi` first")
	refused(t, w.Apply(ctx, file, []tenancy.Declared{{Name: "globex"}}), errkind.Denied, "vmgroup globex ("+file+"): vmgroup globex cannot be made")

	require.NoError(t, w.DeleteTenant(ctx, root, "acme", false, false))
	w.group("globex")
	_, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantEnabled)})
	refused(t, err, errkind.Denied, "vmgroup acme cannot be made: this installation has a single tenant, globex")

	require.NoError(t, mode(wire.ModeMulti))
	_, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantEnabled)})
	require.NoError(t, err)
	refused(t, mode(wire.ModeSingle), errkind.InUse, "the mode cannot become single: there are 2 tenants (acme, globex)")
	refused(t, mode("triple"), errkind.Invalid, `mode "triple" is not valid`)
	require.NoError(t, mode(""))
	v, err = w.Settings(ctx)
	require.NoError(t, err)
	assert.Equal(t, wire.Settings{Product: "Harbour", Mode: wire.ModeMulti}, v)
}
