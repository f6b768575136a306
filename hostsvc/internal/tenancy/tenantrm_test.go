package tenancy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// age lets a deleted tenant be deleted for longer.
func (w *world) age(name string, by time.Duration) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Tenancy().Update(w.t.Context(), func(tx tenancy.Tx) error {
		g, err := tx.GroupByName(name)
		if err != nil {
			return err
		}
		d, err := tx.Details(g.ID)
		d.Deleted = d.Deleted.Add(-by)
		if err != nil {
			return err
		}
		return tx.PutDetails(g.ID, d)
	}))
}

func (w *world) gone(name string) bool {
	_, err := w.Tenant(w.t.Context(), name)
	return errkind.Is(err, errkind.NotFound)
}

func TestDeletedTenantComesBack(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.make(acme)
	w.volume("acme", "v", "", volspec.Ready)
	w.repository("acme", "r", 5)
	refused(t, w.DeleteTenant(ctx, root, "acme", false, false), errkind.InUse, "Vmgroup acme cannot be deleted: it has 1 volumes and 1 repositories")
	require.NoError(t, w.DeleteTenant(ctx, root, "acme", true, false))
	v := w.tenant("acme")
	assert.Equal(t, wire.TenantDeleted, v.State)
	assert.Equal(t, v.Deleted.Add(grace), v.PurgeAfter)
	assert.Equal(t, []string{"acme"}, w.canceled)
	require.NoError(t, w.DeleteTenant(ctx, root, "acme", true, false), "again")
	assert.Equal(t, v.Deleted, w.tenant("acme").Deleted, "its time does not begin anew")

	_, err := w.SetProfile(ctx, root, "acme", wire.Profile{})
	refused(t, err, errkind.Denied, "Vmgroup acme is deleted and cannot be changed")
	_, err = w.Create(ctx, root, wire.CreateVMGroup{Name: "acme"})
	refused(t, err, errkind.Exists, "Vmgroup acme already exists: it is deleted")
	w.age("acme", grace-time.Minute)
	w.PurgeDeleted(ctx)
	require.False(t, w.gone("acme"), "before its time")

	v, err = w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantEnabled)})
	require.NoError(t, err)
	assert.Equal(t, wire.TenantEnabled, v.State)
	assert.True(t, v.Deleted.IsZero())
	assert.Equal(t, 1, v.Volumes)
	w.age("acme", 2*grace)
	w.PurgeDeleted(ctx)
	assert.False(t, w.gone("acme"))
}

func TestDeletedTenantIsRemovedForGood(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.make(acme)
	w.volume("acme", "v", "", volspec.Ready)
	w.repository("acme", "r", 5)
	require.NoError(t, w.DeleteTenant(ctx, root, "acme", true, false))
	w.age("acme", grace+time.Minute)
	held := w.volume("acme", "held", "Photon1", volspec.Ready)
	w.PurgeDeleted(ctx)
	require.False(t, w.gone("acme"), "a container runs on its volume")
	assert.Empty(t, w.detached, "and nothing has begun")
	w.drop(held)
	w.PurgeDeleted(ctx)
	assert.True(t, w.gone("acme"))
	assert.Equal(t, []string{"acme"}, w.detached)
	w.make(acme)
	require.NoError(t, w.DeleteTenant(ctx, root, "acme", false, true), "an empty one, without grace")
	assert.True(t, w.gone("acme"))
}

// Wherever the catalog or a part fails while a tenant is removed for good: the
// next looks end it, and there is no way back once it has begun.
func TestRemovalForGoodIsResumed(t *testing.T) {
	for at := 1; ; at++ {
		require.Less(t, at, 100)
		w := newWorld(t)
		ctx := t.Context()
		w.make(acme)
		w.volume("acme", "v", "", volspec.Ready)
		w.repository("acme", "r", 5)
		require.NoError(t, w.DeleteTenant(ctx, root, "acme", true, false))
		w.age("acme", 2*grace)
		f := &faults{Store: w.cat.Tenancy(), at: at}
		w.over(f).PurgeDeleted(ctx)
		if f.calls < at {
			require.True(t, w.gone("acme"))
			assert.Greater(t, at, 5)
			return
		}
		if !w.gone("acme") && len(w.detached) > 0 {
			_, err := w.UpdateTenant(ctx, root, "acme", wire.UpdateTenant{State: p(wire.TenantEnabled)})
			refused(t, err, errkind.InUse, "Vmgroup acme is being removed")
		}
		w.PurgeDeleted(ctx)
		require.True(t, w.gone("acme"), "call %d", at)
	}
}

func TestRemovalForGoodWaitsForRepositories(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.make(acme)
	w.repository("acme", "r", 5)
	w.detach = errkind.New(errkind.InUse, "a job runs")
	refused(t, w.DeleteTenant(ctx, root, "acme", true, true), errkind.InUse, "a job runs")
	w.detach = nil
	w.PurgeDeleted(ctx)
	assert.True(t, w.gone("acme"), "though its grace period is not over")
}
