package tenancy_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (w *world) alarm(group, kind string) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Backup().Update(w.t.Context(), func(tx backup.Tx) error {
		g, err := tx.GroupByName(group)
		if err != nil {
			return err
		}
		return tx.PutAlarm(backup.Alarm{ID: group + kind, Group: g.ID, Kind: kind})
	}))
}

func TestReadinessAndHealth(t *testing.T) {
	w := newWorld(t)
	w.make(wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: "acme"}, Transporters: []string{}})
	v := w.tenant("acme")
	assert.Equal(t, []string{wire.PartInventory, wire.PartTransporters, wire.PartRepositories}, v.Readiness.Missing)
	assert.Equal(t, "Your service is not configured: an inventory (the provider assigns VMs or folders of VMs to vmgroup acme), "+
		"a transporter (the provider assigns one) and a repository (its admin makes one, or the provider assigns one that is prepared) are missing", v.Readiness.Message)
	assert.Equal(t, wire.HealthNotices, v.Health)

	w.make(wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: "globex", VMs: []string{"Photon1"}}})
	assert.Equal(t, "Your service is not configured: a repository (its admin makes one, or the provider assigns one that is prepared) is missing", w.tenant("globex").Readiness.Message)
	why, err := w.Refusals(t.Context(), true, w.tenant("globex").ID)
	require.NoError(t, err)
	refused(t, why[w.tenant("globex").ID], errkind.Unconfigured, "Your service is not configured: a repository")
	w.repository("globex", "r", 5)
	v = w.tenant("globex")
	assert.True(t, v.Readiness.Ready)
	assert.Equal(t, wire.HealthGood, v.Health)
	for _, step := range []struct {
		kind, health    string
		alarms, notices int
	}{{"rpo-missed", wire.HealthNotices, 0, 1}, {"job-failed", wire.HealthAlarms, 1, 1}, {"backup-quota", wire.HealthAlarms, 1, 2}} {
		w.alarm("globex", step.kind)
		v = w.tenant("globex")
		assert.Equal(t, []any{step.health, step.alarms, step.notices}, []any{v.Health, v.Alarms, v.Notices}, step.kind)
	}
	_, err = w.UpdateTenant(t.Context(), root, "globex", wire.UpdateTenant{State: p(wire.TenantDisabled)})
	require.NoError(t, err)
	for _, protect := range []bool{true, false} {
		why, err = w.Refusals(t.Context(), protect, v.ID, "unknown")
		require.NoError(t, err)
		require.Len(t, why, 1)
		refused(t, why[v.ID], errkind.Denied, "vmgroup globex is disabled and begins no job")
	}
}

func TestListOfTenants(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	for i := range 7 {
		w.make(wire.CreateTenant{CreateVMGroup: wire.CreateVMGroup{Name: fmt.Sprintf("t%d", i)}, Profile: wire.Profile{Labels: []string{fmt.Sprint("l", i%2)}}})
	}
	w.alarm("t3", "job-failed")
	names := func(q tenancy.TenantQuery) (names []string, next string, total int) {
		t.Helper()
		l, err := w.Tenants(ctx, q)
		require.NoError(t, err)
		for _, v := range l.Tenants {
			names = append(names, v.Name)
			assert.Equal(t, w.tenant(v.Name), v, "as it is by itself")
		}
		return names, l.Next, l.Total
	}
	got, next, total := names(tenancy.TenantQuery{Limit: 3})
	assert.Equal(t, []string{"t0", "t1", "t2"}, got)
	assert.Equal(t, 7, total)
	w.group("t11")
	got, _, total = names(tenancy.TenantQuery{Limit: 3, After: next})
	assert.Equal(t, []string{"t3", "t4", "t5"}, got)
	assert.Equal(t, 8, total)
	got, _, _ = names(tenancy.TenantQuery{Sort: "health", Desc: true, Limit: 1})
	assert.Equal(t, []string{"t3"}, got)
	got, _, total = names(tenancy.TenantQuery{Label: "l1"})
	assert.Equal(t, []string{"t1", "t3", "t5"}, got)
	assert.Equal(t, 3, total)
	for _, q := range []tenancy.TenantQuery{{Sort: "age"}, {State: "odd"}, {Health: "bad"}, {After: "%"}, {After: next, Sort: "users"}, {After: next, Desc: true}} {
		_, err := w.Tenants(ctx, q)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%+v", q)
	}
}

// A page costs what is on it, however many tenants there are. The limit is many
// times what it takes.
func TestPageOfAThousandTenants(t *testing.T) {
	w := newWorld(t)
	require.NoError(t, w.cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		for i := range 1000 {
			if err := tx.PutGroup(volspec.VMGroup{ID: volspec.VMGroupID(fmt.Sprint("g", i)), Name: fmt.Sprintf("tenant%04d", i)}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, sort := range []string{"name", "health", "storage", "users"} {
		begun := time.Now()
		l, err := w.Tenants(t.Context(), tenancy.TenantQuery{Sort: sort})
		require.NoError(t, err)
		assert.Len(t, l.Tenants, 50)
		assert.Less(t, time.Since(begun), 5*time.Second)
		t.Log(sort, time.Since(begun))
	}
}

// States of a vmgroup hold for its VMs too.
func TestStatesOfVolumes(t *testing.T) {
	for _, c := range []struct {
		state  volspec.GroupState
		do     volspec.Action
		caller volspec.Caller
		text   string
	}{
		{volspec.GroupDisabled, volspec.DoCreate, onDS1, "No create privilege: vmgroup G is disabled"},
		{volspec.GroupDisabled, volspec.DoCreate, admin, "No create privilege: vmgroup G is disabled"},
		{volspec.GroupDisabled, volspec.DoResize, onDS1, "No create privilege"},
		{volspec.GroupDisabled, volspec.DoMount, onDS1, ""},
		{volspec.GroupDisabled, volspec.DoRemove, onDS1, ""},
		{volspec.GroupDeleted, volspec.DoMount, onDS1, "No access privilege exists: vmgroup G is deleted"},
		{volspec.GroupDeleted, volspec.DoRemove, onDS1, "No delete privilege"},
		{volspec.GroupDeleted, volspec.DoMount, admin, ""},
	} {
		r := rights("", row("ds1", true))
		r.Group.State = c.state
		err := tenancy.Check(r, volspec.Usage{}, volspec.Request{Action: c.do, Name: volspec.Name{Volume: "v", Datastore: "ds1"}, Datastore: "ds1", Caller: c.caller, Add: gib, Full: gib})
		if c.text == "" {
			assert.NoError(t, err, "%+v", c)
			continue
		}
		refused(t, err, errkind.Denied, c.text)
	}
}
