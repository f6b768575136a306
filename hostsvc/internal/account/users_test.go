package account_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// caller is somebody with a role, in acme where it is one of tenants.
func caller(r volspec.Role) volspec.Caller {
	if r.Master() {
		return volspec.Caller{Admin: true, Role: r, User: "u", Session: "s", Actor: "user:u"}
	}
	return volspec.Caller{Role: r, Group: acme, GroupName: "acme", User: "u", Session: "s", Actor: "user:acme/u"}
}

func TestWhoMayMakeWhom(t *testing.T) {
	scoped := caller(volspec.TenantAdmin)
	scoped.Scope = "tenant.manage vmgroup.read volume.read hello.read backup.read backup.content"
	acting := caller(volspec.TenantAdmin)
	acting.As = "acme"
	for _, tc := range []struct {
		who   string
		by    volspec.Caller
		group string
		role  volspec.Role
		want  errkind.Kind
	}{
		{"the administrator here", root, "", volspec.MasterAdmin, ""},
		{"the administrator here", root, "acme", volspec.TenantAdmin, ""},
		{"the administrator here", root, "acme", volspec.MasterAdmin, errkind.Invalid},
		{"the administrator here", root, "", volspec.TenantAdmin, errkind.Invalid},
		{"the administrator here", root, "", "boss", errkind.Invalid},
		{"the administrator here", root, "none", volspec.Operator, errkind.NotFound},
		{"a master", caller(volspec.MasterAdmin), "", volspec.MasterViewer, ""},
		{"a viewer", caller(volspec.MasterViewer), "", volspec.MasterAdmin, errkind.Denied},
		{"a viewer", caller(volspec.MasterViewer), "acme", volspec.Operator, errkind.Denied},
		{"a tenant's administrator", caller(volspec.TenantAdmin), "acme", volspec.TenantAdmin, ""},
		{"a tenant's administrator", caller(volspec.TenantAdmin), "acme", volspec.TenantGuest, ""},
		{"a tenant's administrator", caller(volspec.TenantAdmin), "", volspec.MasterAdmin, errkind.Denied},
		{"a tenant's administrator", caller(volspec.TenantAdmin), "acme", volspec.MasterAdmin, errkind.Denied},
		{"a master who acts", acting, "acme", volspec.TenantAdmin, ""},
		{"an operator", caller(volspec.Operator), "acme", volspec.TenantAdmin, errkind.Denied},
		{"a token", scoped, "acme", volspec.TenantAdmin, errkind.Denied},
		{"a token", scoped, "acme", volspec.Operator, errkind.Denied},
		{"a token", scoped, "acme", volspec.TenantGuest, ""},
	} {
		t.Run(fmt.Sprint(tc.who, " makes ", tc.role, " of ", tc.group), func(t *testing.T) {
			w := newWorld(t)
			_, err := w.CreateUser(t.Context(), tc.by, tc.group, wire.CreateUser{Name: "new", Role: tc.role, Password: secret})
			assert.Equal(t, tc.want, errkind.Of(err), "%v", err)
			if tc.want != "" && tc.group != "none" {
				all, err := w.Users(t.Context(), tc.group)
				require.NoError(t, err)
				assert.Empty(t, all, "nothing was done")
			}
			if tc.want == errkind.Denied && tc.by.Group != "" && !tc.role.Master() {
				w.user("acme", "old", tc.role)
				_, err := w.UpdateUser(t.Context(), tc.by, "acme", "old", wire.UpdateUser{ResetPassword: true})
				assert.Equal(t, errkind.Denied, errkind.Of(err), "a new password is a way to act as it")
				assert.Equal(t, errkind.Denied, errkind.Of(w.RemoveUser(t.Context(), tc.by, "acme", "old")))
				w.user("acme", "weak", volspec.TenantGuest)
				_, err = w.UpdateUser(t.Context(), tc.by, "acme", "weak", wire.UpdateUser{Role: new(tc.role)})
				assert.Equal(t, errkind.Denied, errkind.Of(err))
			}
		})
	}
}

func TestTheLastAdministratorStays(t *testing.T) {
	acting := caller(volspec.TenantAdmin)
	acting.As = "acme"
	off, demoted := wire.UpdateUser{Enabled: new(false)}, wire.UpdateUser{Role: new(volspec.Operator)}
	for _, tc := range []struct {
		name, group string
		by          volspec.Caller
		first       volspec.Role
		demote      wire.UpdateUser
		stays       bool
	}{
		{"of the master", "", root, volspec.MasterAdmin, wire.UpdateUser{Role: new(volspec.MasterViewer)}, true},
		{"of a tenant, to its own", "acme", caller(volspec.TenantAdmin), volspec.TenantAdmin, demoted, true},
		{"of a tenant, to the master", "acme", root, volspec.TenantAdmin, demoted, false},
		{"of a tenant, to a master who acts", "acme", acting, volspec.TenantAdmin, demoted, false},
	} {
		for _, deed := range []string{"remove", "disable", "demote"} {
			t.Run(deed+" "+tc.name, func(t *testing.T) {
				w := newWorld(t)
				w.user(tc.group, "ann", tc.first)
				w.user(tc.group, "sleeper", tc.first)
				w.set(tc.group, "sleeper", off)
				do := func(name string) error {
					switch deed {
					case "remove":
						return w.RemoveUser(t.Context(), tc.by, tc.group, name)
					case "disable":
						_, err := w.UpdateUser(t.Context(), tc.by, tc.group, name, off)
						return err
					}
					_, err := w.UpdateUser(t.Context(), tc.by, tc.group, name, tc.demote)
					return err
				}
				require.NoError(t, do("sleeper"), "who is disabled is not the last")
				err := do("ann")
				if !tc.stays {
					require.NoError(t, err)
					return
				}
				require.Equal(t, errkind.InUse, errkind.Of(err))
				assert.Contains(t, err.Error(), "last enabled user with the role "+string(tc.first))
				w.user(tc.group, "bob", tc.first)
				require.NoError(t, do("ann"))
			})
		}
	}
}

// Whatever users do to each other, the installation keeps an administrator, and
// nobody comes by more than it had.
func TestNoSequenceOfChangesRaisesAnybodyOrLeavesNobody(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	w := newWorld(t)
	w.user("", "m0", volspec.MasterAdmin)
	w.user("acme", "t0", volspec.TenantAdmin)
	var roles []volspec.Role
	roles = append(append(roles, volspec.MasterRoles...), volspec.TenantRoles...)
	pick := func(n int) int { return r.IntN(n) }
	for range 400 {
		groups := []string{"", "acme"}
		of := func() (string, string) {
			g := groups[pick(2)]
			return g, fmt.Sprintf("%s%d", map[string]string{"": "m", "acme": "t"}[g], pick(4))
		}
		// Somebody who is there and enabled acts, sometimes with a token.
		g, name := of()
		u, err := w.User(t.Context(), g, name)
		if err != nil || !u.Enabled {
			continue
		}
		by := caller(u.Role)
		if pick(3) == 0 {
			scope := api.Permissions()
			r.Shuffle(len(scope), func(i, j int) { scope[i], scope[j] = scope[j], scope[i] })
			by.Scope = volspec.Scope(strings.Join(scope[:1+pick(len(scope))], " "))
		}
		had := api.PermissionsOf(by)
		target, victim := of()
		if by.Group != "" && target == "" { // the table of endpoints refuses these
			continue
		}
		need := map[string]string{"": "service.manage", "acme": "tenant.manage"}[target]
		if !slices.Contains(had, need) {
			continue
		}
		var after wire.User
		role := roles[pick(len(roles))]
		switch pick(4) {
		case 0:
			after, err = w.CreateUser(t.Context(), by, target, wire.CreateUser{Name: victim, Role: role, Password: secret})
		case 1:
			err = w.RemoveUser(t.Context(), by, target, victim)
		case 2:
			after, err = w.UpdateUser(t.Context(), by, target, victim, wire.UpdateUser{Enabled: new(pick(2) == 0)})
		case 3:
			after, err = w.UpdateUser(t.Context(), by, target, victim, wire.UpdateUser{Role: &role, ResetPassword: pick(2) == 0})
		}
		if err == nil && after.Name != "" {
			for _, p := range api.PermissionsOf(caller(after.Role)) {
				if slices.Contains(api.Permissions(), p) {
					assert.Contains(t, had, p, "%s made or changed a %s", by.Role, after.Role)
				}
			}
		}
		masters, err := w.Users(t.Context(), "")
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(masters, func(u wire.User) bool { return u.Enabled && u.Role == volspec.MasterAdmin }))
		tenants, err := w.Users(t.Context(), "acme")
		require.NoError(t, err)
		for _, u := range tenants {
			require.False(t, u.Role.Master())
		}
	}
}

func TestTenantsDoNotReachOthersUsers(t *testing.T) {
	w := newWorld(t)
	w.user("", "ann", volspec.MasterAdmin)
	w.user("umbra", "ann", volspec.TenantAdmin)
	ctx, by := volspec.Confine(t.Context(), acme), caller(volspec.TenantAdmin)
	for _, group := range []string{"umbra", "none"} {
		assert.Equal(t, errkind.NotFound, kindOf(w.User(ctx, group, "ann")))
		assert.Equal(t, errkind.NotFound, kindOf(w.Users(ctx, group)))
		assert.Equal(t, errkind.NotFound, kindOf(w.CreateUser(ctx, by, group, wire.CreateUser{Name: "x", Role: volspec.Operator, Password: secret})))
		assert.Equal(t, errkind.NotFound, kindOf(w.UpdateUser(ctx, by, group, "ann", wire.UpdateUser{})))
		assert.Equal(t, errkind.NotFound, errkind.Of(w.RemoveUser(ctx, by, group, "ann")))
	}
	all, err := w.Users(ctx, "")
	require.NoError(t, err)
	assert.Empty(t, all)
	assert.Equal(t, errkind.NotFound, kindOf(w.User(ctx, "", "ann")))
}

func TestUsersAreChecked(t *testing.T) {
	w := newWorld(t)
	for says, r := range map[string]wire.CreateUser{
		"user name":         {Name: "a b", Role: volspec.Operator},
		"user name \"\"":    {Role: volspec.Operator},
		"address of mail":   {Name: "ann", Role: volspec.Operator, Email: "Ann <ann@example.com>"},
		"shorter than 12":   {Name: "ann", Role: volspec.Operator, Password: "short"},
		"one of tenant-adm": {Name: "ann"},
		"description":       {Name: "ann", Role: volspec.Operator, Description: strings.Repeat("x", 1001)},
		"one line of text":  {Name: "ann", Role: volspec.Operator, Description: "txt\u202egpj"},
	} {
		_, err := w.CreateUser(t.Context(), root, "acme", r)
		assert.ErrorContains(t, err, says)
		assert.True(t, errkind.Is(err, errkind.Invalid))
	}
	made, err := w.CreateUser(t.Context(), root, "acme", wire.CreateUser{Name: "Ann", Role: volspec.Operator, Password: secret, Email: "ann@example.com", Description: "first"})
	require.NoError(t, err)
	assert.Equal(t, wire.User{ID: made.ID, Name: "ann", Tenant: "acme", Role: volspec.Operator, Enabled: true, Email: "ann@example.com", Description: "first", Created: w.now()}, made)
	_, err = w.CreateUser(t.Context(), root, "acme", wire.CreateUser{Name: "ANN", Role: volspec.TenantGuest, Password: secret})
	assert.True(t, errkind.Is(err, errkind.Exists))
	w.user("umbra", "ann", volspec.Operator)

	_, err = w.UpdateUser(t.Context(), root, "acme", "ann", wire.UpdateUser{Zone: new("Mars/Olympus")})
	assert.ErrorContains(t, err, "time zone")
	u := w.set("acme", "ann", wire.UpdateUser{Description: new("second"), Email: new(""), Zone: new("Europe/Berlin")})
	assert.Equal(t, "second", u.Description)
	assert.Empty(t, u.Email)
	c, _ := w.enter("acme", "ann")
	s, err := w.SetProfile(t.Context(), c, wire.SessionProfile{Email: new("a@example.com")})
	require.NoError(t, err)
	assert.Equal(t, "a@example.com", s.Email)
	assert.Equal(t, "Europe/Berlin", s.Zone)
}

func TestTokens(t *testing.T) {
	w := newWorld(t)
	w.user("acme", "ann", volspec.TenantAdmin)
	w.user("acme", "bob", volspec.TenantAdmin)
	ann, _ := w.enter("acme", "ann")
	bob, _ := w.enter("acme", "bob")
	for says, r := range map[string]wire.CreateToken{
		"token name":     {},
		"366 days":       {Name: "x", Days: 366},
		"service.manage": {Name: "x", Scope: "backup.read service.manage"},
		"self.manage":    {Name: "x", Scope: "self.manage"},
		`"login"`:        {Name: "x", Scope: "login"},
	} {
		_, err := w.CreateToken(t.Context(), ann, r)
		assert.ErrorContains(t, err, says)
	}
	k, err := w.CreateToken(t.Context(), ann, wire.CreateToken{Name: "nightly", Scope: " backup.run backup.read backup.run"})
	require.NoError(t, err)
	assert.Equal(t, volspec.Scope("backup.read backup.run"), k.Scope)
	assert.Equal(t, w.now().Add(90*24*time.Hour), k.Expires)
	_, err = w.CreateToken(t.Context(), ann, wire.CreateToken{Name: "nightly"})
	assert.True(t, errkind.Is(err, errkind.Exists))
	_, err = w.CreateToken(t.Context(), bob, wire.CreateToken{Name: "nightly"})
	require.NoError(t, err, "names are each user's own")

	c, err := w.ByToken(t.Context(), k.Secret, "192.0.2.9")
	require.NoError(t, err)
	assert.Equal(t, volspec.Caller{Role: volspec.TenantAdmin, Group: acme, GroupName: "acme", User: ann.User, Token: k.ID, Scope: k.Scope,
		Actor: "user:acme/ann token:nightly", From: "192.0.2.9"}, c)
	assert.NotContains(t, api.PermissionsOf(c), "self.manage")
	s, err := w.Session(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, k.Expires, s.Expires)
	assert.Empty(t, s.CSRF)
	other, err := w.CreateToken(t.Context(), ann, wire.CreateToken{Name: "other"})
	require.NoError(t, err)
	assert.Equal(t, errkind.Denied, errkind.Of(w.RemoveToken(t.Context(), c, other.ID)), "a token ends only itself")
	require.NoError(t, w.RemoveToken(t.Context(), ann, other.ID))
	all, err := w.Tokens(t.Context(), ann)
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Equal(t, w.now(), all[0].LastUsed)
	assert.Equal(t, "192.0.2.9", all[0].LastFrom)
	assert.Empty(t, all[0].Secret)

	whole, err := w.CreateToken(t.Context(), ann, wire.CreateToken{Name: "all", Days: 1})
	require.NoError(t, err)
	c, err = w.ByToken(t.Context(), whole.Secret, "")
	require.NoError(t, err)
	assert.Equal(t, slices.DeleteFunc(api.PermissionsOf(ann), func(p string) bool { return p == "self.manage" }), api.PermissionsOf(c),
		"all but its own account")
	w.pass(24 * time.Hour)
	_, err = w.ByToken(t.Context(), whole.Secret, "")
	assert.True(t, errkind.Is(err, errkind.Denied), "expired")

	ann, _ = w.enter("acme", "ann")
	assert.Equal(t, errkind.NotFound, errkind.Of(w.RemoveToken(t.Context(), bob, k.ID)), "only one's own")
	require.NoError(t, w.RemoveToken(t.Context(), ann, "nightly"))
	_, err = w.ByToken(t.Context(), k.Secret, "")
	assert.True(t, errkind.Is(err, errkind.Denied), "removed")
	for _, l := range w.lines("") {
		assert.NotContains(t, l.Detail+l.Object+l.Actor, k.Secret)
	}
}
