package catalogtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// notifyTargets: one for the service and one for each vmgroup, which goes with
// it and shows its name of now. Small facts are kept beside them.
func notifyTargets(t *testing.T, b Backend) {
	c := open(t, b)
	update := func(fn func(notify.Tx) error) error { return c.Notify().Update(t.Context(), fn) }
	service := notify.Targets{Body: filled[wire.Notifications](), Sealed: "s"}
	ofB := notify.Targets{Group: groupB, Name: "B", Body: wire.Notifications{Emails: []string{"b@example.com"}}}
	require.NoError(t, update(func(tx notify.Tx) error {
		all, err := tx.NotifyTargets()
		require.NoError(t, err)
		assert.Empty(t, all)
		none, err := tx.NotifyTarget(groupA)
		assert.Equal(t, notify.Targets{Group: groupA}, none, "never put is empty")
		return err
	}))
	for range 2 { // inserted, then replaced by the same
		require.NoError(t, update(func(tx notify.Tx) error {
			require.NoError(t, tx.PutNotifyTarget(service))
			return tx.PutNotifyTarget(ofB)
		}))
		require.NoError(t, update(func(tx notify.Tx) error {
			all, err := tx.NotifyTargets()
			require.NoError(t, err)
			assert.Equal(t, []notify.Targets{service, ofB}, all)
			one, err := tx.NotifyTarget(groupB)
			assert.Equal(t, ofB, one)
			return err
		}))
	}
	err := update(func(tx notify.Tx) error { return tx.PutNotifyTarget(notify.Targets{Group: "absent"}) })
	assert.Equal(t, errkind.NotFound, errkind.Of(err))

	require.NoError(t, update(func(tx notify.Tx) error {
		none, err := tx.Setting("k")
		require.NoError(t, err)
		assert.Empty(t, none)
		require.NoError(t, tx.PutSetting("k", "old"))
		return tx.PutSetting("k", "new")
	}))
	groups(t, c, func(tx tenancy.Tx) error {
		require.NoError(t, tx.PutGroup(volspec.VMGroup{ID: groupB, Name: "B2"}))
		return nil
	})
	ofB.Name = "B2"
	require.NoError(t, update(func(tx notify.Tx) error {
		v, err := tx.Setting("k")
		require.NoError(t, err)
		assert.Equal(t, "new", v)
		one, err := tx.NotifyTarget(groupB)
		assert.Equal(t, ofB, one)
		return err
	}))
	groups(t, c, func(tx tenancy.Tx) error { return tx.DeleteGroup(groupB) })
	require.NoError(t, update(func(tx notify.Tx) error {
		all, err := tx.NotifyTargets()
		assert.Equal(t, []notify.Targets{service}, all)
		return err
	}))
}
