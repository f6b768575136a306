package account_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// requireFactor switches on that the users of a tenant, or of the master, need a second
// factor.
func (w *world) requireFactor(group string) {
	w.group(func(tx tenancy.Tx) error {
		if group != "" {
			return tx.PutDetails(acme, tenancy.Details{Security: tenancy.Security{FactorRequired: true}})
		}
		text, err := json.Marshal(wire.Settings{FactorRequired: true})
		require.NoError(w.t, err)
		return tx.PutSetting(tenancy.SettingsKey, string(text))
	})
}

func TestARequiredSecondFactorComesBeforeAllElse(t *testing.T) {
	for group, role := range map[string]volspec.Role{"acme": volspec.TenantAdmin, "": volspec.MasterAdmin} {
		t.Run(string(role), func(t *testing.T) {
			w := newWorld(t)
			w.user(group, "ann", role)
			open, word := w.enter(group, "ann")
			token, err := w.CreateToken(t.Context(), open, wire.CreateToken{Name: "script"})
			require.NoError(t, err)
			w.requireFactor(group)

			_, err = w.ByToken(t.Context(), token.Secret, "")
			assert.Equal(t, account.NeedsFactor, err)
			assert.True(t, w.by(word).MustFactor, "what is open loses it at once")
			w.pass(time.Minute)
			s, word, err := w.Login(t.Context(), visitor, wire.Login{Tenant: group, User: "ann", Password: secret}, agent)
			require.NoError(t, err)
			assert.True(t, s.MustFactor)
			assert.Equal(t, []string{"hello.read", "login", "self.manage"}, s.Permissions)
			c := w.by(word)
			_, err = w.CreateToken(t.Context(), c, wire.CreateToken{Name: "x"})
			assert.Equal(t, account.NeedsFactor, err)

			key, err := w.BeginTOTP(t.Context(), c)
			require.NoError(t, err)
			raw, err := account.KeyText(key.Secret)
			require.NoError(t, err)
			assert.True(t, w.by(word).MustFactor, "it is not confirmed")
			s, err = w.ConfirmTOTP(t.Context(), c, wire.ConfirmTOTP{Code: account.CodeAt(raw, account.StepOf(w.now()), 6)})
			require.NoError(t, err)
			assert.False(t, s.MustFactor)
			assert.Contains(t, s.Permissions, "backup.read")
			assert.False(t, w.by(word).MustFactor)
			_, err = w.ByToken(t.Context(), token.Secret, "")
			require.NoError(t, err, "the token works again")

			_, err = w.RemoveTOTP(t.Context(), w.by(word))
			assert.True(t, errkind.Is(err, errkind.Denied))
			assert.ErrorContains(t, err, "cannot be removed")
			assert.False(t, w.by(word).MustFactor, "it is still there")
		})
	}
}

func TestWhoNeedsNoSecondFactor(t *testing.T) {
	w := newWorld(t)
	w.user("", "root", volspec.MasterAdmin)
	w.user("umbra", "una", volspec.TenantAdmin)
	w.requireFactor("acme")
	for user, group := range map[string]string{"root": "", "una": "umbra"} {
		c, _ := w.enter(group, user)
		assert.False(t, c.MustFactor, "it is another's rule: %s", user)
	}
	_, word, err := w.LoginSubject(t.Context(), visitor, account.Subject{Group: acme, Subject: "https://id.example 1", Name: "bob", Role: volspec.Operator}, agent)
	require.NoError(t, err)
	assert.False(t, w.by(word).MustFactor, "the provider sees to it")
}
