package account_test

import (
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

func TestSessionsEndIdleAndAbsolutely(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	_, idle := w.enter("", "ann")
	_, busy := w.enter("", "ann")
	start := w.now()
	w.pass(29 * time.Minute)
	w.by(busy)
	w.pass(2 * time.Minute)
	w.by(busy)
	w.gone(idle, "nothing was done in it")
	for w.now().Sub(start) < 12*time.Hour-20*time.Minute {
		w.pass(20 * time.Minute)
		c := w.by(busy)
		s, err := w.Session(t.Context(), c)
		require.NoError(t, err)
		assert.False(t, s.Expires.After(start.Add(12*time.Hour)))
	}
	w.pass(20 * time.Minute)
	w.gone(busy, "no session is longer than half a day")
	require.NoError(t, w.Sweep(t.Context()))
	c, _ := w.enter("", "ann")
	all, err := w.Sessions(t.Context(), c)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, wire.OpenSession{
		ID: c.Session, Created: w.now(), Seen: w.now(), Expires: w.now().Add(30 * time.Minute), From: visitor.From, Agent: agent, Current: true,
	}, all[0])
}

func TestUnknownSecretsAreDenied(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	_, word := w.enter("", "ann")
	for _, wrong := range []string{"", "x", word[:len(word)-1], word + "A", account.CSRF(word)} {
		w.gone(wrong)
	}
	_, other := w.enter("", "ann")
	assert.NotEqual(t, word, other, "each log-in has a secret of its own")
	assert.NotEqual(t, account.CSRF(word), account.CSRF(other))
}

// Authority is what the catalog says now, in sessions and tokens that are open.
func TestAuthorityIsNeverStale(t *testing.T) {
	state := func(s volspec.GroupState) func(*world) {
		return func(w *world) {
			w.group(func(tx tenancy.Tx) error { return tx.PutGroup(volspec.VMGroup{ID: acme, Name: "acme", State: s}) })
		}
	}
	for name, tc := range map[string]struct {
		role   volspec.Role
		change func(w *world)
		weaker volspec.Role // what is left, "" for nothing
		token  bool         // the token goes on
	}{
		"disabled": {volspec.Operator, func(w *world) { w.set("acme", "ann", wire.UpdateUser{Enabled: new(false)}) }, "", false},
		"removed": {volspec.Operator, func(w *world) {
			require.NoError(w.t, w.RemoveUser(w.t.Context(), root, "acme", "ann"))
		}, "", false},
		"demoted":         {volspec.TenantAdmin, func(w *world) { w.set("acme", "ann", wire.UpdateUser{Role: new(volspec.RestoreOperator)}) }, volspec.RestoreOperator, true},
		"new password":    {volspec.Operator, func(w *world) { w.set("acme", "ann", wire.UpdateUser{ResetPassword: true}) }, "", true},
		"vmgroup off":     {volspec.TenantAdmin, state(volspec.GroupDisabled), "", false},
		"vmgroup deleted": {volspec.TenantAdmin, state(volspec.GroupDeleted), "", false},
		"no guests": {volspec.TenantGuest, func(w *world) {
			w.group(func(tx tenancy.Tx) error { return tx.PutDetails(acme, tenancy.Details{}) })
		}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group(func(tx tenancy.Tx) error { return tx.PutDetails(acme, tenancy.Details{GuestAccess: true}) })
			w.user("acme", "ann", tc.role)
			c, word := w.enter("acme", "ann")
			k, err := w.CreateToken(t.Context(), c, wire.CreateToken{Name: "x"})
			require.NoError(t, err)
			tok, err := w.ByToken(t.Context(), k.Secret, "192.0.2.9")
			require.NoError(t, err)
			require.NoError(t, w.Still(t.Context(), c))
			require.NoError(t, w.Still(t.Context(), tok))

			tc.change(w)
			assert.True(t, errkind.Is(w.Still(t.Context(), c), errkind.Denied), "what waits ends")
			if tc.weaker == "" {
				w.gone(word)
			} else {
				assert.Equal(t, tc.weaker, w.by(word).Role)
			}
			now, err := w.ByToken(t.Context(), k.Secret, "192.0.2.9")
			if !tc.token {
				assert.True(t, errkind.Is(err, errkind.Denied))
				assert.True(t, errkind.Is(w.Still(t.Context(), tok), errkind.Denied))
				return
			}
			require.NoError(t, err)
			if tc.weaker != "" {
				assert.Equal(t, tc.weaker, now.Role, "a token is never more than its user")
			}
		})
	}
}

func TestSessionsAreEndedByTheirUser(t *testing.T) {
	w := newWorld(t)
	w.user("acme", "ann", volspec.TenantAdmin)
	w.user("acme", "bob", volspec.TenantAdmin)
	ann, first := w.enter("acme", "ann")
	second, word := w.enter("acme", "ann")
	bob, other := w.enter("acme", "bob")
	assert.Equal(t, errkind.NotFound, errkind.Of(w.EndSession(t.Context(), ann, bob.Session)), "only one's own")
	w.by(other)
	require.NoError(t, w.EndSession(t.Context(), ann, second.Session))
	w.gone(word)
	require.NoError(t, w.Logout(t.Context(), ann))
	w.gone(first)
	assert.Equal(t, []string{"session.end ok", "logout ok"}, w.audited("acme")[5:])
}

func TestOneUserHasSoManySessions(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	_, first := w.enter("", "ann")
	for range 19 {
		w.enter("", "ann")
	}
	w.by(first)
	w.enter("", "ann")
	w.gone(first, "the oldest makes room")
}

func TestMastersActForATenant(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	w.user("", "vic", volspec.MasterViewer)
	w.user("acme", "tom", volspec.TenantAdmin)
	for name, role := range map[string]volspec.Role{"ann": volspec.TenantAdmin, "vic": volspec.TenantGuest} {
		c, word := w.enter("", name)
		s, err := w.ActAs(t.Context(), c, wire.ActAs{VMGroup: "acme", Reason: "ticket 12"})
		require.NoError(t, err)
		assert.Equal(t, "acme", s.As)
		assert.Equal(t, w.now().Add(30*time.Minute), s.AsUntil)
		got := w.by(word)
		assert.Equal(t, volspec.Caller{Role: role, Group: acme, GroupName: "acme", As: "acme", User: c.User, Session: c.Session,
			Actor: "user:" + name, From: visitor.From}, got)
		assert.True(t, errkind.Is(w.Still(t.Context(), c), errkind.Denied), "what began before as the master ends")
		_, err = w.CreateToken(t.Context(), got, wire.CreateToken{Name: "x"})
		assert.True(t, errkind.Is(err, errkind.Denied))

		s, err = w.StopActing(volspec.Confine(t.Context(), acme), got)
		require.NoError(t, err)
		assert.Empty(t, s.As)
		assert.Equal(t, c, w.by(word))
		_, err = w.StopActing(t.Context(), c)
		require.NoError(t, err, "twice is harmless")
	}
	for _, group := range []string{"acme", ""} {
		var begins, ends int
		for _, l := range w.lines(group) {
			switch l.Action {
			case "act-as.begin":
				begins++
			case "act-as.end":
				ends++
			default:
				continue
			}
			assert.Contains(t, l.Detail, "ticket 12")
			assert.Equal(t, "acme", l.As)
		}
		want := 2
		if group == "" {
			want = 4 // all lines
		}
		assert.Equal(t, want, begins, "in %q", group)
		assert.Equal(t, want, ends, "in %q", group)
	}
}

func TestActingEndsByItself(t *testing.T) {
	for _, way := range []string{"by a request", "by the service", "by the end of the session", "with the user"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t)
			w.user("", "ann", volspec.MasterAdmin)
			w.user("", "bob", volspec.MasterAdmin)
			c, word := w.enter("", "ann")
			_, err := w.ActAs(t.Context(), c, wire.ActAs{VMGroup: "acme", Minutes: 5})
			require.NoError(t, err)
			switch way {
			case "by a request":
				w.pass(5 * time.Minute)
				assert.True(t, w.by(word).Admin)
			case "by the service":
				w.pass(5 * time.Minute)
				require.NoError(t, w.Sweep(t.Context()))
			case "by the end of the session":
				w.pass(time.Hour)
				require.NoError(t, w.Sweep(t.Context()))
				w.gone(word)
			case "with the user":
				require.NoError(t, w.RemoveUser(t.Context(), root, "", "ann"))
			}
			assert.Equal(t, []string{"act-as.begin ok", "act-as.end ok"}, w.audited("acme"))
		})
	}
}

func TestWhoMayNotAct(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	c, word := w.enter("", "ann")
	for _, r := range []wire.ActAs{{VMGroup: "acme", Minutes: 241}, {VMGroup: "acme", Minutes: -1}, {VMGroup: "none"}, {}} {
		_, err := w.ActAs(t.Context(), c, r)
		assert.Error(t, err)
	}
	_, err := w.ActAs(t.Context(), root, wire.ActAs{VMGroup: "acme"})
	assert.True(t, errkind.Is(err, errkind.Unsupported), "the admin socket has no session")
	_, err = w.ActAs(t.Context(), c, wire.ActAs{VMGroup: "acme"})
	require.NoError(t, err)
	w.group(func(tx tenancy.Tx) error { return tx.DeleteGroup(acme) })
	assert.Equal(t, c, w.by(word), "a tenant that is gone is acted for no longer")
}
