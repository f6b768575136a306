package catalog

import (
	"context"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ account.Tx = (*tx)(nil)

// Accounts is the catalog as the account service sees it.
func (c *Catalog) Accounts() account.Store { return accounts{c} }

type accounts struct{ c *Catalog }

func (a accounts) View(ctx context.Context, fn func(account.Tx) error) error {
	return a.c.view(ctx, func(t *tx) error { return fn(t) })
}

func (a accounts) Update(ctx context.Context, fn func(account.Tx) error) error {
	return a.c.update(ctx, func(t *tx) error { return fn(t) })
}

const userCols = "id, group_id, name, role, enabled, subject, body"

func scanUser(s scanner) (u account.User, err error) {
	var text string
	if err = s.Scan(&u.ID, &u.Group, &u.Name, &u.Role, &u.Enabled, &u.Subject, &text); err != nil {
		return u, err
	}
	return u, body(text, &u.Body, "user", u.Name)
}

// foreign tells whether users of g are hidden from the transaction.
func (t *tx) foreign(g volspec.VMGroupID) bool {
	id, ok := volspec.Confined(t.ctx)
	return ok && id != g
}

func (t *tx) Users(g volspec.VMGroupID) ([]account.User, error) {
	if t.foreign(g) {
		return nil, nil
	}
	return list(t, scanUser, "SELECT "+userCols+" FROM users WHERE group_id = ? ORDER BY name", g)
}

func (t *tx) AllUsers() ([]account.User, error) {
	if g, confined := volspec.Confined(t.ctx); confined {
		return t.Users(g)
	}
	return list(t, scanUser, "SELECT "+userCols+" FROM users ORDER BY group_id, name")
}

func (t *tx) oneUser(what, where string, args ...any) (account.User, error) {
	u, found, err := one(t, scanUser, "SELECT "+userCols+" FROM users WHERE "+where, args...)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "User %s does not exist", what)
	}
	return u, err
}

func (t *tx) User(id volspec.UserID) (account.User, error) {
	return t.oneUser(string(id), "id = ?", id)
}

func (t *tx) UserByName(g volspec.VMGroupID, name string) (account.User, error) {
	if t.foreign(g) {
		return account.User{}, errkind.New(errkind.NotFound, "User %s does not exist", name)
	}
	return t.oneUser(name, "group_id = ? AND name = ?", g, name)
}

func (t *tx) UserBySubject(g volspec.VMGroupID, subject string) (account.User, error) {
	return t.oneUser("of that subject", "group_id = ? AND subject = ? AND subject > ''", g, subject)
}

func (t *tx) PutUser(u account.User) error {
	if u.Group != "" {
		if _, err := t.group(u.Group); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		taken, query string
		args         []any
	}{
		{"User " + u.Name + " already exists", "SELECT COUNT(*) FROM users WHERE group_id = ? AND name = ? AND id <> ?", []any{u.Group, u.Name, u.ID}},
		{"another user has the same subject as " + u.Name, "SELECT COUNT(*) FROM users WHERE group_id = ? AND subject = ? AND subject > '' AND id <> ?", []any{u.Group, u.Subject, u.ID}},
	} {
		n, err := t.count(c.query, c.args...)
		if err != nil {
			return err
		}
		if n > 0 {
			return errkind.New(errkind.Exists, "%s", c.taken)
		}
	}
	text, err := document(u.Body, "user", u.Name)
	if err != nil {
		return err
	}
	_, err = t.exec(upsert("users", userCols, "id"), u.ID, u.Group, u.Name, u.Role, u.Enabled, u.Subject, text)
	return err
}

func (t *tx) DeleteUser(id volspec.UserID) error {
	for _, s := range []string{
		"DELETE FROM sessions WHERE user_id = ?",
		"DELETE FROM tokens WHERE user_id = ?",
		"DELETE FROM users WHERE id = ?",
	} {
		if _, err := t.exec(s, id); err != nil {
			return err
		}
	}
	return nil
}

// Tenant is not confined: it is for users who are known already.
func (t *tx) Tenant(id volspec.VMGroupID) (account.Tenant, error) {
	if id == "" {
		return t.master()
	}
	return t.tenant(string(id), "id = ?", id)
}

// master is what the users of the master depend on.
func (t *tx) master() (a account.Tenant, err error) {
	text, err := t.Setting(tenancy.SettingsKey)
	if err != nil || text == "" {
		return account.Tenant{Enabled: true}, err
	}
	var says struct {
		FactorRequired bool `json:"factor_required"`
	}
	err = body(text, &says, "settings of the installation", "")
	return account.Tenant{Enabled: true, FactorRequired: says.FactorRequired}, err
}

func (t *tx) TenantByName(name string) (account.Tenant, error) {
	a, err := t.tenant(name, "name = ?", name)
	if err == nil && t.foreign(a.ID) {
		return account.Tenant{}, errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return a, err
}

func (t *tx) tenant(what, where string, arg any) (account.Tenant, error) {
	a, found, err := one(t, func(s scanner) (a account.Tenant, err error) {
		var state, text string
		if err = s.Scan(&a.ID, &a.Name, &state, &text); err != nil {
			return a, err
		}
		a.Enabled = state == "enabled"
		var says struct {
			GuestAccess bool `json:"guest_access"`
			GuestFiles  bool `json:"guest_files"`
			Security    struct {
				ContentRefused bool `json:"content_refused"`
				FactorRequired bool `json:"factor_required"`
			} `json:"security"`
		}
		if text != "" {
			err = body(text, &says, "vmgroup", a.Name)
		}
		a.GuestAccess, a.GuestFiles, a.ContentRefused = says.GuestAccess, says.GuestFiles, says.Security.ContentRefused
		a.FactorRequired = says.Security.FactorRequired
		return a, err
	}, "SELECT id, name, state, body FROM vmgroups WHERE "+where, arg)
	if err == nil && !found {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", what)
	}
	return a, err
}
