package catalogtest

import (
	"context"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func accounts(t require.TestingT, c Catalog, fn func(account.Tx) error) {
	require.NoError(t, c.Accounts().Update(context.Background(), fn))
}

// full is a user with all fields, of a vmgroup.
func full(id volspec.UserID, g volspec.VMGroupID, name string) account.User {
	at := time.Unix(9, 8000).UTC()
	return account.User{ID: id, Group: g, Name: name, Role: volspec.TenantAdmin, Enabled: true, Subject: "issuer " + string(id), Body: account.UserBody{
		Email: "e", Description: "d", Zone: "z", Created: at, LastLogin: at, Password: "p", MustChange: true,
		Failures: 3, LockedUntil: at, Factor: "f", NewFactor: "n", FactorStep: 7,
	}}
}

// userRecords: every field comes back as it was put, lists are in their order,
// and names are taken within one vmgroup.
func userRecords(t *testing.T, b Backend) {
	c := open(t, b)
	at := time.Unix(7, 8000).UTC()
	u := full("u1", groupA, "nämé")
	v := account.Session{Hash: "h1", User: u.ID, Expires: at.Add(time.Hour), Body: account.SessionBody{
		ID: "i", Created: at, Seen: at, From: "f", Agent: "a", As: groupB, AsName: "B", AsUntil: at, Reason: "r",
	}}
	k := account.Token{ID: "k1", Hash: "t1", User: u.ID, Name: "n", Expires: at, Used: at, Body: account.TokenBody{Scope: "s", Created: at, From: "f"}}
	for _, x := range []any{u, u.Body, v, v.Body, k, k.Body} {
		for i := range reflect.ValueOf(x).NumField() {
			require.False(t, reflect.ValueOf(x).Field(i).IsZero(), "the test must fill all fields of %T", x)
		}
	}
	for range 2 { // inserted, then replaced by the same
		accounts(t, c, func(tx account.Tx) error {
			require.NoError(t, tx.PutUser(u))
			require.NoError(t, tx.PutSession(v))
			return tx.PutToken(k)
		})
		require.NoError(t, c.Accounts().View(t.Context(), func(tx account.Tx) error {
			for _, got := range []func() (account.User, error){
				func() (account.User, error) { return tx.User(u.ID) },
				func() (account.User, error) { return tx.UserByName(groupA, u.Name) },
				func() (account.User, error) { return tx.UserBySubject(groupA, u.Subject) },
			} {
				have, err := got()
				require.NoError(t, err)
				assert.Equal(t, u, have)
			}
			session, err := tx.Session(v.Hash)
			require.NoError(t, err)
			assert.Equal(t, v, session)
			token, err := tx.Token(k.Hash)
			assert.Equal(t, k, token)
			return err
		}))
	}
	accounts(t, c, func(tx account.Tx) error {
		for _, err := range []error{
			second(tx.User("none")), second(tx.UserByName(groupB, u.Name)), second(tx.UserByName("", u.Name)), second(tx.UserBySubject(groupB, u.Subject)),
			second(tx.Session("none")), second(tx.Token("none")), second(tx.Tenant("none")), second(tx.TenantByName("none")),
			tx.PutSession(account.Session{Hash: "x", User: "none"}), tx.PutToken(account.Token{ID: "x", User: "none"}),
			tx.PutUser(account.User{ID: "x", Group: "none", Name: "x"}),
		} {
			require.Equal(t, errkind.NotFound, errkind.Of(err))
		}
		require.NoError(t, tx.PutUser(account.User{ID: "u0", Group: groupA, Name: "anna"}))
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.UserBySubject(groupA, ""))), "no subject is nobody's")
		require.NoError(t, tx.PutUser(account.User{ID: "u2", Name: u.Name}), "another vmgroup, another name space")
		require.NoError(t, tx.PutUser(account.User{ID: "u3", Group: groupB, Name: u.Name, Subject: u.Subject}))
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutUser(account.User{ID: "u4", Group: groupA, Name: u.Name})))
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutUser(account.User{ID: "u4", Group: groupA, Name: "x", Subject: u.Subject})))
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutToken(account.Token{ID: "k2", Hash: "t2", User: u.ID, Name: k.Name})))
		require.NoError(t, tx.PutToken(account.Token{ID: "k2", Hash: "t2", User: "u2", Name: k.Name}))
		require.NoError(t, tx.PutSession(account.Session{Hash: "h0", User: u.ID, Expires: at}))

		everybody, err := tx.AllUsers()
		require.NoError(t, err)
		assert.ElementsMatch(t, []volspec.UserID{"u0", "u1", "u2", "u3"}, userIDs(everybody))
		all, err := tx.Users(groupA)
		require.NoError(t, err)
		require.Len(t, all, 2)
		assert.Equal(t, []string{"anna", u.Name}, []string{all[0].Name, all[1].Name})
		sessions, err := tx.Sessions(u.ID)
		require.NoError(t, err)
		require.Len(t, sessions, 2)
		assert.Equal(t, "h0", sessions[0].Hash, "the oldest first")
		tokens, err := tx.Tokens("")
		require.NoError(t, err)
		assert.Len(t, tokens, 2)

		for range 2 {
			require.NoError(t, tx.DeleteSession("h0"))
			require.NoError(t, tx.DeleteToken("k2"))
			require.NoError(t, tx.DeleteUser(u.ID))
		}
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.Session(v.Hash))), "gone with its user")
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.Token(k.Hash))))
		return nil
	})
}

func userIDs(users []account.User) (ids []volspec.UserID) {
	for _, u := range users {
		ids = append(ids, u.ID)
	}
	return ids
}

// usersOfTenants: what users depend on, and that a confined transaction knows no
// others.
func usersOfTenants(t *testing.T, b Backend) {
	c := open(t, b)
	accounts(t, c, func(tx account.Tx) error {
		require.NoError(t, tx.PutUser(full("a", groupA, "ann")))
		require.NoError(t, tx.PutUser(full("b", groupB, "ann")))
		return tx.PutUser(account.User{ID: "m", Name: "ann"})
	})
	tenant := func(want account.Tenant) {
		t.Helper()
		require.NoError(t, c.Accounts().View(t.Context(), func(tx account.Tx) error {
			got, err := tx.Tenant(want.ID)
			require.NoError(t, err)
			assert.Equal(t, want, got)
			got, err = tx.TenantByName(want.Name)
			assert.Equal(t, want, got)
			return err
		}))
	}
	tenant(account.Tenant{ID: groupA, Name: "A", Enabled: true})
	groups(t, c, func(tx tenancy.Tx) error {
		return tx.PutDetails(groupA, tenancy.Details{GuestAccess: true, GuestFiles: true, Security: tenancy.Security{ContentRefused: true, FactorRequired: true}})
	})
	tenant(account.Tenant{ID: groupA, Name: "A", Enabled: true, GuestAccess: true, GuestFiles: true, ContentRefused: true, FactorRequired: true})
	groups(t, c, func(tx tenancy.Tx) error {
		return tx.PutGroup(volspec.VMGroup{ID: groupA, Name: "A", State: volspec.GroupDisabled})
	})
	tenant(account.Tenant{ID: groupA, Name: "A", GuestAccess: true, GuestFiles: true, ContentRefused: true, FactorRequired: true})

	require.NoError(t, c.Accounts().View(volspec.Confine(t.Context(), groupA), func(tx account.Tx) error {
		u, err := tx.UserByName(groupA, "ann")
		require.NoError(t, err)
		assert.Equal(t, volspec.UserID("a"), u.ID)
		for _, g := range []volspec.VMGroupID{groupB, ""} {
			require.Equal(t, errkind.NotFound, errkind.Of(second(tx.UserByName(g, "ann"))))
			all, err := tx.Users(g)
			require.NoError(t, err)
			assert.Empty(t, all)
		}
		own, err := tx.AllUsers()
		require.NoError(t, err)
		assert.Equal(t, []volspec.UserID{"a"}, userIDs(own))
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.TenantByName("B"))))
		return second(tx.TenantByName("A"))
	}))

	groups(t, c, func(tx tenancy.Tx) error { return tx.DeleteGroup(groupB) })
	require.NoError(t, c.Accounts().View(t.Context(), func(tx account.Tx) error {
		require.Equal(t, errkind.NotFound, errkind.Of(second(tx.User("b"))), "users go with their vmgroup")
		return second(tx.User("m"))
	}))
}
