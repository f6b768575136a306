package account_test

import (
	"context"
	"fmt"
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

func TestUsersOfTheMasterAndOfTenantsLogIn(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	w.user("", "vic", volspec.MasterViewer)
	w.user("acme", "ann", volspec.TenantAdmin)
	w.user("acme", "oli", volspec.Operator)
	for _, tc := range []struct {
		group, name string
		want        volspec.Caller
	}{
		{"", "ann", volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "user:ann"}},
		{"", " ANN ", volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "user:ann"}},
		{"", "vic", volspec.Caller{Admin: true, Role: volspec.MasterViewer, Actor: "user:vic"}},
		{"acme", "ann", volspec.Caller{Role: volspec.TenantAdmin, Group: acme, GroupName: "acme", Actor: "user:acme/ann"}},
		{"acme", "oli", volspec.Caller{Role: volspec.Operator, Group: acme, GroupName: "acme", Actor: "user:acme/oli"}},
	} {
		s, word, err := w.Login(t.Context(), visitor, wire.Login{Tenant: tc.group, User: tc.name, Password: secret}, agent)
		require.NoError(t, err)
		got := w.by(word)
		assert.NotEmpty(t, got.User)
		assert.NotEmpty(t, got.Session)
		tc.want.User, tc.want.Session, tc.want.From = got.User, got.Session, visitor.From
		assert.Equal(t, tc.want, got)
		assert.Equal(t, tc.want.Role, s.Role)
		assert.Equal(t, tc.group, s.Tenant)
		assert.Equal(t, account.CSRF(word), s.CSRF)
		assert.Contains(t, s.Permissions, "backup.read")
		again, err := w.Session(t.Context(), got)
		require.NoError(t, err)
		assert.Equal(t, s, again, "the log-in says what the session says")
	}
	assert.Equal(t, "login ok", w.audited("acme")[3])
	assert.Equal(t, "192.0.2.1", w.lines("acme")[0].From)
}

// Whoever has no right password learns nothing, and costs the same.
func TestRefusalsAreEqual(t *testing.T) {
	w := newWorld(t)
	w.user("acme", "ann", volspec.TenantAdmin)
	w.user("acme", "off", volspec.Operator)
	w.set("acme", "off", wire.UpdateUser{Enabled: new(false)})
	w.user("acme", "gus", volspec.TenantGuest)
	n := w.CountHashes()
	var first error
	for _, r := range []wire.Login{
		{Tenant: "acme", User: "ann", Password: "wrong"},
		{Tenant: "acme", User: "ann"},
		{Tenant: "acme", User: "nobody", Password: secret},
		{Tenant: "acme", User: "off", Password: "wrong"},
		{Tenant: "acme", User: "gus", Password: "wrong"},
		{Tenant: "umbra", User: "ann", Password: secret},
		{Tenant: "nowhere", User: "ann", Password: secret},
		{User: "ann", Password: secret},
		{},
	} {
		*n = 0
		s, word, err := w.Login(t.Context(), visitor, r, agent)
		assert.Zero(t, s)
		assert.Empty(t, word)
		require.True(t, errkind.Is(err, errkind.Denied), "%v", err)
		if first == nil {
			first = err
		}
		assert.Equal(t, first.Error(), err.Error())
		assert.Equal(t, 1, *n, "a password was hashed")
	}
	for _, l := range w.lines("") {
		assert.NotContains(t, l.Object, "nobody", "what was typed in place of a name can be a password")
	}
	// Who has the right one is told what stands in the way.
	for name, says := range map[string]string{"off": "is disabled", "gus": "guest access"} {
		_, _, err := w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: name, Password: secret}, agent)
		assert.ErrorContains(t, err, says)
	}
}

func TestWrongPasswordsLockForLongerAndLonger(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	try := func(password string) error {
		_, _, err := w.Login(t.Context(), visitor, wire.Login{User: "ann", Password: password}, agent)
		return err
	}
	for range 5 {
		require.Error(t, try("wrong"))
	}
	right := try(secret)
	require.Error(t, right)
	assert.Equal(t, try("wrong").Error(), right.Error(), "a locked account does not say that the password is right")
	u, err := w.User(t.Context(), "", "ann")
	require.NoError(t, err)
	assert.Equal(t, w.now().Add(30*time.Second), u.LockedUntil, "tries during the lock do not lengthen it")

	w.pass(31 * time.Second)
	require.Error(t, try("wrong"))
	w.pass(31 * time.Second)
	require.Error(t, try(secret), "the second lock is longer")
	w.pass(30 * time.Second)
	require.NoError(t, try(secret))
	require.Error(t, try("wrong"))
	require.NoError(t, try(secret), "a good log-in forgets the wrong ones")

	for range 5 {
		require.Error(t, try("wrong"))
	}
	require.Error(t, try(secret))
	_, err = w.UpdateUser(t.Context(), root, "", "ann", wire.UpdateUser{Unlock: true})
	require.NoError(t, err)
	require.NoError(t, try(secret), "an administrator unlocks")
}

// A password that is replaced while somebody logs in with it opens nothing any
// more, and the log-in does not bring it back.
func TestAPasswordIsReplacedDuringALogIn(t *testing.T) {
	for name, cost := range map[string]account.Cost{"as it is": quick, "hashed anew": {Memory: 64, Time: 2, Threads: 1}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.user("acme", "ann", volspec.TenantAdmin)
			w.serve(cost)
			var reset wire.User
			w.WhileHashing(func() { reset = w.set("acme", "ann", wire.UpdateUser{ResetPassword: true}) })
			_, word, err := w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "ann", Password: secret}, agent)
			assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
			assert.Empty(t, word)
			u, err := w.User(t.Context(), "acme", "ann")
			require.NoError(t, err)
			assert.Zero(t, u.Sessions)
			_, _, err = w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "ann", Password: reset.Password}, agent)
			require.NoError(t, err)
		})
	}
}

// Users of tenants, too, change their password only between two log-ins.
func TestAPasswordIsNotChangedDuringALogIn(t *testing.T) {
	w := newWorld(t)
	for _, group := range []string{"", "acme"} {
		w.user(group, "ann", map[string]volspec.Role{"": volspec.MasterAdmin, "acme": volspec.TenantAdmin}[group])
		c, _ := w.enter(group, "ann")
		w.WhileHashing(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			err := w.ChangePassword(ctx, c, wire.ChangePassword{Old: secret, New: secret + " 2"})
			assert.ErrorContains(t, err, "too many log-ins of this user", group)
		})
		w.enter(group, "ann")
		require.NoError(t, w.ChangePassword(t.Context(), c, wire.ChangePassword{Old: secret, New: secret + " 2"}))
	}
}

func TestOneAddressCannotTryForever(t *testing.T) {
	w := newWorld(t)
	try := func(from string) errkind.Kind {
		c := visitor
		c.From = from
		_, _, err := w.Login(t.Context(), c, wire.Login{User: "nobody", Password: "wrong"}, agent)
		return errkind.Of(err)
	}
	for range 20 {
		assert.Equal(t, errkind.Denied, try("192.0.2.7"))
	}
	assert.Equal(t, errkind.Busy, try("192.0.2.7"))
	assert.Equal(t, errkind.Denied, try("192.0.2.8"))
	w.pass(time.Minute)
	assert.Equal(t, errkind.Denied, try("192.0.2.7"))

	for i := range 20 {
		assert.Equal(t, errkind.Denied, try(fmt.Sprintf("2001:db8:1:2::%x", i)))
	}
	assert.Equal(t, errkind.Busy, try("2001:db8:1:2:3:4:5:6"), "whoever has one address of an IPv6 network has all of them")
	assert.Equal(t, errkind.Denied, try("2001:db8:1:3::1"))
}

func TestSecondFactor(t *testing.T) {
	w := newWorld(t)
	w.user("acme", "ann", volspec.TenantAdmin)
	c, _ := w.enter("acme", "ann")
	key, err := w.BeginTOTP(t.Context(), c)
	require.NoError(t, err)
	raw, err := account.KeyText(key.Secret)
	require.NoError(t, err)
	code := func() string { return account.CodeAt(raw, account.StepOf(w.now()), 6) }
	w.enter("acme", "ann") // it does not count yet

	_, err = w.ConfirmTOTP(t.Context(), c, wire.ConfirmTOTP{Code: "000000"})
	require.True(t, errkind.Is(err, errkind.Denied))
	assert.Contains(t, w.audited("acme"), "totp.confirm denied")
	s, err := w.ConfirmTOTP(t.Context(), c, wire.ConfirmTOTP{Code: code()})
	require.NoError(t, err)
	assert.True(t, s.TOTP)

	in := func(password, code string) (wire.Session, string, error) {
		return w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "ann", Password: password, Code: code}, agent)
	}
	w.pass(time.Minute)
	s, word, err := in(secret, "")
	require.NoError(t, err)
	assert.Equal(t, wire.Session{NeedsCode: true}, s)
	assert.Empty(t, word)
	_, _, err = in("wrong", "")
	require.Error(t, err, "without the password nobody learns of it")
	used := code()
	_, word, err = in(secret, used)
	require.NoError(t, err)
	w.by(word)
	_, _, err = in(secret, used)
	require.ErrorContains(t, err, "used already")
	for range 4 {
		_, _, err = in(secret, "000000")
		require.Error(t, err)
	}
	w.pass(29 * time.Second)
	_, _, err = in(secret, code())
	require.Error(t, err, "wrong codes lock as well")

	w.set("acme", "ann", wire.UpdateUser{ResetTOTP: true, Unlock: true})
	w.gone(word, "a reset ends the sessions")
	w.enter("acme", "ann")
	assert.NotContains(t, w.lines("acme")[0].Detail, key.Secret)
}

func TestGeneratedPasswordsMustBeChanged(t *testing.T) {
	w := newWorld(t)
	made, err := w.CreateUser(t.Context(), root, "acme", wire.CreateUser{Name: "ann", Role: volspec.TenantAdmin})
	require.NoError(t, err)
	require.NotEmpty(t, made.Password)
	again, err := w.User(t.Context(), "acme", "ann")
	require.NoError(t, err)
	assert.Empty(t, again.Password, "shown once")

	s, word, err := w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "ann", Password: made.Password}, agent)
	require.NoError(t, err)
	assert.True(t, s.MustChange)
	assert.Equal(t, []string{"hello.read", "login", "self.manage"}, s.Permissions)
	c := w.by(word)
	_, err = w.CreateToken(t.Context(), c, wire.CreateToken{Name: "x"})
	require.True(t, errkind.Is(err, errkind.Denied))

	_, other, err := w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "ann", Password: made.Password}, agent)
	require.NoError(t, err)
	for _, r := range []wire.ChangePassword{{Old: "wrong", New: secret}, {Old: made.Password, New: "short"}, {Old: made.Password, New: made.Password}} {
		require.Error(t, w.ChangePassword(t.Context(), c, r))
	}
	assert.Contains(t, w.audited("acme"), "password.change denied")
	require.NoError(t, w.ChangePassword(t.Context(), c, wire.ChangePassword{Old: made.Password, New: secret}))
	assert.False(t, w.by(word).MustChange)
	w.gone(other, "other sessions end")
	w.enter("acme", "ann")
}

func TestTheFirstAdministratorIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	welcome, err := w.Welcome(t.Context())
	require.NoError(t, err)
	assert.Equal(t, wire.Welcome{Product: "Mooring", First: true, OIDC: []string{}}, welcome)
	_, _, err = w.FirstVisit(t.Context(), visitor, wire.FirstAdmin{Code: "x", User: "ann", Password: secret}, agent)
	assert.True(t, errkind.Is(err, errkind.Denied), "no code was given out")
	require.Error(t, w.FirstAdmin(t.Context(), root, wire.FirstAdmin{User: "ann", Password: secret, Mode: "many"}))
	require.Error(t, w.FirstAdmin(t.Context(), root, wire.FirstAdmin{User: "ann", Password: "short"}))
	require.NoError(t, w.FirstAdmin(t.Context(), root, wire.FirstAdmin{User: "Ann", Password: secret}))
	assert.Equal(t, errkind.Exists, errkind.Of(w.FirstAdmin(t.Context(), root, wire.FirstAdmin{User: "bob", Password: secret})))
	assert.Equal(t, errkind.Exists, errkind.Of(func() error {
		_, _, err := w.FirstVisit(t.Context(), visitor, wire.FirstAdmin{User: "bob", Password: secret}, agent)
		return err
	}()))
	c, _ := w.enter("", "ann")
	assert.True(t, c.Admin)
	assert.False(t, c.MustChange)
}

func TestProvidersNameUsers(t *testing.T) {
	w := newWorld(t)
	w.user("acme", "ann", volspec.TenantAdmin)
	in := func(r account.Subject) (string, error) {
		_, word, err := w.LoginSubject(t.Context(), visitor, r, agent)
		return word, err
	}
	bob := account.Subject{Group: acme, Subject: "https://id.example 1", Name: "Bob", Email: "bob@example.com"}
	_, err := in(bob)
	require.ErrorContains(t, err, "no such user here")
	bob.Role = volspec.Operator
	word, err := in(bob)
	require.NoError(t, err)
	first := w.by(word)
	assert.Equal(t, "user:acme/bob", first.Actor)
	assert.Equal(t, volspec.Operator, first.Role)
	w.set("acme", "bob", wire.UpdateUser{Role: new(volspec.TenantGuest), Enabled: new(true)})
	bob.Name = "robert"
	_, err = in(bob)
	require.ErrorContains(t, err, "guest access", "found by the subject, with the role it has here")
	w.group(func(tx tenancy.Tx) error { return tx.PutDetails(acme, tenancy.Details{GuestAccess: true}) })
	word, err = in(bob)
	require.NoError(t, err)
	assert.Equal(t, first.User, w.by(word).User)

	_, err = in(account.Subject{Group: acme, Subject: "https://id.example 2", Name: "ann", Role: volspec.TenantAdmin})
	require.True(t, errkind.Is(err, errkind.Denied), "a name alone opens nobody's account")
	_, err = in(account.Subject{Group: umbra, Subject: bob.Subject, Name: "bob"})
	require.True(t, errkind.Is(err, errkind.Denied), "nor does another tenant's provider")
	_, _, err = w.Login(t.Context(), visitor, wire.Login{Tenant: "acme", User: "bob"}, agent)
	require.True(t, errkind.Is(err, errkind.Denied), "there is no password")
	_, err = w.UpdateUser(t.Context(), root, "acme", "bob", wire.UpdateUser{ResetPassword: true})
	require.True(t, errkind.Is(err, errkind.Invalid))
}
