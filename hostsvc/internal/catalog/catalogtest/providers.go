package catalogtest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// providers: one for the master and one for each vmgroup, which goes with it;
// whoever is confined to a vmgroup knows only its own.
func providers(t *testing.T, b Backend) {
	c := open(t, b)
	ctx := t.Context()
	groups := []volspec.VMGroup{{ID: "g1", Name: "one"}, {ID: "g2", Name: "two"}}
	require.NoError(t, c.Tenancy().Update(ctx, func(tx tenancy.Tx) error {
		for _, g := range groups {
			if err := tx.PutGroup(g); err != nil {
				return err
			}
		}
		return nil
	}))
	update := func(fn func(oidc.Tx) error) error { return c.Providers().Update(ctx, fn) }
	all := []oidc.Provider{
		{Body: oidc.Settings{Issuer: "https://id.example", ClientID: "m"}, Sealed: "s"},
		{Group: "g1", Body: oidc.Settings{Issuer: "https://one.example", ClientID: "c", Claim: "login", Role: volspec.Operator}},
	}
	for range 2 { // again: no difference
		for _, p := range all {
			require.NoError(t, update(func(tx oidc.Tx) error { return tx.PutProvider(p) }))
		}
	}
	for _, p := range all {
		require.NoError(t, update(func(tx oidc.Tx) error {
			got, err := tx.Provider(p.Group)
			assert.Equal(t, p, got)
			return err
		}))
	}
	gone := func(tx oidc.Tx, g volspec.VMGroupID) {
		_, err := tx.Provider(g)
		assert.Equal(t, errkind.NotFound, errkind.Of(err))
	}
	require.NoError(t, c.Providers().View(volspec.Confine(ctx, "g1"), func(tx oidc.Tx) error {
		gone(tx, "")
		gone(tx, "g2")
		_, err := tx.Provider("g1")
		return err
	}))
	require.NoError(t, c.Providers().View(volspec.Confine(ctx, "g2"), func(tx oidc.Tx) error { gone(tx, "g1"); return nil }))
	assert.Equal(t, errkind.NotFound, errkind.Of(update(func(tx oidc.Tx) error { return tx.PutProvider(oidc.Provider{Group: "absent"}) })))
	require.NoError(t, c.Tenancy().Update(ctx, func(tx tenancy.Tx) error { return tx.DeleteGroup("g1") }))
	require.NoError(t, update(func(tx oidc.Tx) error {
		gone(tx, "g1")
		_, err := tx.Provider("")
		return err
	}))
	for range 2 { // absent: nil
		require.NoError(t, update(func(tx oidc.Tx) error { return tx.DeleteProvider("") }))
	}
	require.NoError(t, update(func(tx oidc.Tx) error { gone(tx, ""); return nil }))
}
