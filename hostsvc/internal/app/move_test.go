package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/bundle"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	movePassphrase = "six boats under one bridge"
	annPassword    = "nine small lanterns"
)

// glass is the only part of a bundle: it shows what is carried, or carries what
// it is told to.
type glass struct{ carried wire.Carried }

var errSeen = errors.New("seen")

func (g *glass) Save(_ bundle.Tx, _ volspec.VMGroup, to *wire.Carried) error {
	*to = g.carried
	return nil
}

func (g *glass) Load(_ context.Context, _ volspec.Caller, _ volspec.VMGroup, from wire.Carried) (func(bundle.Tx) ([]string, error), error) {
	g.carried = from
	return nil, errSeen
}

// inside is what a bundle carries.
func inside(t *testing.T, s *site, b wire.Bundle) wire.Carried {
	t.Helper()
	var g glass
	_, err := bundle.New(bundle.Options{Store: s.d.catalog.Bundles(), Parts: []bundle.Part{&g}}).
		Load(t.Context(), volspec.Caller{}, wire.LoadTenant{Bundle: b, Passphrase: movePassphrase})
	require.ErrorIs(t, err, errSeen)
	return g.carried
}

// weak makes keys that cost nothing.
func weak(passphrase string, _ []byte) []byte { return []byte(passphrase)[:16] }

// forged is a bundle of the vmgroup team with any content, under a weak key.
func forged(t *testing.T, s *site, carried wire.Carried) wire.Bundle {
	t.Helper()
	b, err := bundle.New(bundle.Options{Store: s.d.catalog.Bundles(), Parts: []bundle.Part{&glass{carried}}, Key: weak}).
		Save(t.Context(), volspec.Caller{}, "team", movePassphrase)
	require.NoError(t, err)
	return b
}

// settled makes the tenant team with one of everything, and returns a point of
// its volume.
func settled(t *testing.T, s *site, a *hostclient.Admin) wire.Point {
	t.Helper()
	ctx := t.Context()
	_, err := a.CreateTenant(ctx, wire.CreateTenant{
		CreateVMGroup: wire.CreateVMGroup{Name: "team", Description: "moves", DefaultDatastore: "d1", VMs: []string{"vm1", "vm2"}},
		Profile:       wire.Profile{Email: "team@example.com", Labels: []string{"gold"}}, GuestAccess: true,
		Allowance: &wire.Amounts{Volumes: new(int64(7)), Storage: new(int64(1 << 30))},
		Admin:     &wire.CreateUser{Name: "ann", Password: annPassword},
	})
	require.NoError(t, err)
	require.NoError(t, a.AddAccess(ctx, "team", wire.SetAccess{Datastore: "d2"}))
	_, err = a.CreateUser(ctx, "team", wire.CreateUser{Name: "otto", Role: volspec.Operator, Email: "otto@example.com"})
	require.NoError(t, err)
	require.NoError(t, s.d.catalog.Accounts().Update(ctx, func(tx account.Tx) error {
		g, err := tx.TenantByName("team")
		if err != nil {
			return err
		}
		u, err := tx.UserByName(g.ID, "otto")
		if err != nil {
			return err
		}
		u.Body.FactorStep = 12
		u.Body.Factor, err = s.d.ring.Seal([]byte("twenty bytes of key."), "second factor of user "+string(u.ID))
		return errors.Join(err, tx.PutUser(u))
	}))
	_, err = a.PutNotifications(ctx, "team", wire.Notifications{Webhooks: []wire.NotifyWebhook{{Name: "own", URL: "https://hooks.example.com/x"}}})
	require.NoError(t, err)
	_, err = a.CreateRepository(ctx, "team", wire.CreateRepository{Name: "main", Location: wire.Location{Type: "directory", Path: t.TempDir()}})
	require.NoError(t, err)
	_, err = a.CreatePolicy(ctx, "team", wire.Policy{Name: "daily", Volumes: []string{"*"}, Repository: "main", Schedule: "daily", Keep: wire.Keep{Last: 9}})
	require.NoError(t, err)
	_, err = a.CreateVolume(ctx, "team", wire.CreateVolume{Name: "db", Options: map[string]string{"size": "16mb"}})
	require.NoError(t, err)
	jobs, err := a.Backup(ctx, "team", wire.RunBackup{Volumes: []string{"db"}, Repository: "main"})
	require.NoError(t, err)
	p, err := a.SetPoint(ctx, "team", over(t, a, jobs[0]).Point, wire.SetPoint{Hold: new(true)})
	require.NoError(t, err)
	return p
}

// over waits for the good end of a job of the vmgroup team.
func over(t *testing.T, a *hostclient.Admin, j wire.Job) wire.Job {
	t.Helper()
	var err error
	for i := 0; i < 60 && !j.Over(); i++ {
		j, err = a.Job(t.Context(), "team", j.ID, 2000)
		require.NoError(t, err)
	}
	require.Equal(t, "done", j.State, "%s: %s", j.Kind, j.Error)
	return j
}

// imageOf is the disk of a recovery point of the vmgroup team.
func imageOf(t *testing.T, a *hostclient.Admin, point string) []byte {
	t.Helper()
	d, err := a.Image(t.Context(), "team", point)
	require.NoError(t, err)
	defer d.Close()
	b, err := io.ReadAll(d)
	require.NoError(t, err)
	return b
}

// A tenant that one service saved is the same in another, under a new id: its
// users log in with the passwords they have, its points are there, what was
// held is held, and a volume comes back from one. What the other has not is
// left out and told. Nothing that is wrong changes anything.
func TestATenantMovesToAnotherService(t *testing.T) {
	ctx := t.Context()
	from := newSite(t, twoVMs+"[[datastore]]\nname = 'd2'\npath = '/d2'\n").start(t).ready(t)
	a := from.admin(t)
	point := settled(t, from, a)
	saved, err := a.SaveTenant(ctx, "team", wire.SaveTenant{Passphrase: movePassphrase})
	require.NoError(t, err)
	before := inside(t, from, saved)
	text, err := json.Marshal(saved)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "otto")

	to := newSite(t, twoVMs).start(t).ready(t)
	b := to.admin(t)
	_, err = b.CreateVMGroup(ctx, wire.CreateVMGroup{Name: "bystander", VMs: []string{"vm2"}})
	require.NoError(t, err)
	t.Run("nothing that is wrong changes anything", func(t *testing.T) { refusesAll(t, from, to, saved, before) })

	loaded, err := b.LoadTenant(ctx, wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase})
	require.NoError(t, err)
	assert.NotEqual(t, before.ID, loaded.Tenant.ID)
	assert.Equal(t, wire.TenantDisabled, loaded.Tenant.State)
	require.Len(t, loaded.ToDo, 3, "%q", loaded.ToDo)
	assert.Contains(t, loaded.ToDo[0], "Datastore d2 is not here")
	assert.Contains(t, loaded.ToDo[1], "VM 'vm2' has already been associated with tenant 'bystander'")
	assert.Contains(t, loaded.ToDo[2], "mooring vmgroup enable")
	for _, name := range []string{"", "again"} {
		_, err = b.LoadTenant(ctx, wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase, Name: name})
		assert.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
	}

	log := func() error {
		_, _, err := to.d.accounts.Login(ctx, volspec.Caller{Visitor: true, From: "192.0.2.1"}, wire.Login{Tenant: "team", User: "ann", Password: annPassword}, "test")
		return err
	}
	require.Error(t, log(), "it is disabled")
	_, err = a.UpdateTenant(ctx, "team", wire.UpdateTenant{State: new(wire.TenantDisabled)})
	require.NoError(t, err)
	_, err = b.UpdateTenant(ctx, "team", wire.UpdateTenant{State: new(wire.TenantEnabled)})
	require.NoError(t, err)
	require.NoError(t, log())

	there, err := b.Points(ctx, "team", hostclient.PointsQuery{})
	require.NoError(t, err)
	require.Len(t, there.Points, 1)
	assert.Equal(t, point.ID, there.Points[0].ID)
	assert.True(t, there.Points[0].Hold)
	assert.Equal(t, imageOf(t, a, string(point.ID)), imageOf(t, b, string(point.ID)))
	job, err := b.RestorePoint(ctx, "team", string(point.ID), wire.RunRestore{Name: "db"})
	require.NoError(t, err)
	over(t, b, job)
	jobs, err := b.Backup(ctx, "team", wire.RunBackup{Volumes: []string{"db"}, Repository: "main"})
	require.NoError(t, err)
	assert.Equal(t, imageOf(t, a, string(point.ID)), imageOf(t, b, over(t, b, jobs[0]).Point))

	again, err := b.SaveTenant(ctx, "team", wire.SaveTenant{Passphrase: movePassphrase})
	require.NoError(t, err)
	after := inside(t, to, again)
	after.ID, after.Repositories[0].Points, after.Repositories[0].Stored = before.ID, before.Repositories[0].Points, before.Repositories[0].Stored
	before.Tenant.VMs, before.Tenant.Access = before.Tenant.VMs[:1], before.Tenant.Access[:1]
	assert.Equal(t, before, after)
}

// refusesAll loads bundles that are wrong in one place each.
func refusesAll(t *testing.T, from, to *site, saved wire.Bundle, good wire.Carried) {
	b := to.admin(t)
	all := func() string {
		text, err := b.Tenants(t.Context(), hostclient.TenantQuery{})
		require.NoError(t, err)
		repos, err := b.Repositories(t.Context(), "")
		require.NoError(t, err)
		return fmt.Sprintf("%+v %+v", text, repos)
	}
	before := all()
	refuse := func(name string, kind errkind.Kind, r wire.LoadTenant) {
		t.Helper()
		_, err := b.LoadTenant(t.Context(), r)
		assert.Equal(t, kind, errkind.Of(err), "%s: %v", name, err)
		assert.Equal(t, before, all(), name)
	}
	for name, change := range map[string]func(*wire.LoadTenant){
		"passphrase": func(r *wire.LoadTenant) { r.Passphrase += "x" },
		"head":       func(r *wire.LoadTenant) { r.Bundle.VMGroup = "other" },
		"sealed":     func(r *wire.LoadTenant) { r.Bundle.Sealed = slices.Clone(r.Bundle.Sealed); r.Bundle.Sealed[40]++ },
		"cut":        func(r *wire.LoadTenant) { r.Bundle.Sealed = r.Bundle.Sealed[:5] },
		"salt":       func(r *wire.LoadTenant) { r.Bundle.Salt = nil },
	} {
		r := wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase}
		change(&r)
		refuse(name, errkind.WrongKey, r)
	}
	newer, other := saved, saved
	newer.Version, other.Format = 2, "a letter"
	refuse("version", errkind.Unsupported, wire.LoadTenant{Bundle: newer, Passphrase: movePassphrase})
	refuse("format", errkind.Invalid, wire.LoadTenant{Bundle: other, Passphrase: movePassphrase})
	for _, name := range []string{"_DEFAULT", "a/b", "..", "\x00"} {
		refuse("name", errkind.Invalid, wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase, Name: name})
	}
	refuse("its name is taken", errkind.Exists, wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase, Name: "bystander"})

	plain, err := json.Marshal(good)
	require.NoError(t, err)
	o := to.d.bundles(to.d.catalog)
	o.Key = weak
	cheap := bundle.New(o)
	root := volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "test"}
	for name, change := range hostile {
		var bad wire.Carried
		require.NoError(t, json.Unmarshal(plain, &bad))
		change(&bad)
		_, err := cheap.Load(t.Context(), root, wire.LoadTenant{Bundle: forged(t, from, bad), Passphrase: movePassphrase})
		kind := errkind.Invalid
		if name == "same repository twice" {
			kind = errkind.Exists
		}
		assert.Equal(t, kind, errkind.Of(err), "%s: %v", name, err)
		assert.Equal(t, before, all(), name)
	}
	refuse("too little allowed", errkind.Quota, wire.LoadTenant{Bundle: saved, Passphrase: movePassphrase, Allowance: &wire.Amounts{Volumes: new(int64(0))}})
}

// hostile is one wrong thing in each part of a bundle.
var hostile = map[string]func(*wire.Carried){
	"description":      func(c *wire.Carried) { c.Tenant.Description = "a\x1b[2Jb" },
	"long description": func(c *wire.Carried) { c.Tenant.Description = strings.Repeat("x", 300) },
	"website":          func(c *wire.Carried) { c.Tenant.Profile.Website = "javascript:alert(1)" },
	"label":            func(c *wire.Carried) { c.Tenant.Profile.Labels = []string{"a\nb"} },
	"limits":           func(c *wire.Carried) { c.Tenant.Access[0].MaxSize = -1 },
	"datastore":        func(c *wire.Carried) { c.Tenant.DefaultDatastore = "\x00" },
	"name of a VM":     func(c *wire.Carried) { c.Tenant.VMs[0] = wire.CarriedVM{ID: "x", Name: "\u202e"} },
	"folder":           func(c *wire.Carried) { c.Tenant.Folders = []volspec.Folder{"/a/../b"} },
	"transporter":      func(c *wire.Carried) { c.Tenant.Transporters = []string{"\x07"} },
	"allowance":        func(c *wire.Carried) { c.Tenant.Allowance.VMs = new(int64(-2)) },
	"role of a master": func(c *wire.Carried) { c.Users[0].Role = volspec.MasterAdmin },
	"unknown role":     func(c *wire.Carried) { c.Users[0].Role = "god" },
	"name of a user":   func(c *wire.Carried) { c.Users[0].Name = "a/b" },
	"same user twice":  func(c *wire.Carried) { c.Users = append(c.Users, c.Users[0]) },
	"zone":             func(c *wire.Carried) { c.Users[0].Zone = "../../etc/passwd" },
	"e-mail":           func(c *wire.Carried) { c.Users[0].Email = "a@b\r\nBcc: c@d" },
	"plain password":   func(c *wire.Carried) { c.Users[0].Password = "secret" },
	"costly hash": func(c *wire.Carried) {
		c.Users[0].Password = strings.Replace(c.Users[0].Password, "m=", "m=4", 1)
	},
	"second factor": func(c *wire.Carried) { c.Users[0].Factor = []byte("short") },
	"subject":       func(c *wire.Carried) { c.Users[0].Password, c.Users[0].Subject = "", "a\nb" },
	"issuer":        func(c *wire.Carried) { c.OIDC = &wire.OIDC{Issuer: "http://x", ClientID: "c"} },
	"role by OIDC": func(c *wire.Carried) {
		c.OIDC = &wire.OIDC{Issuer: "https://x.example", ClientID: "c", Role: volspec.MasterAdmin}
	},
	"webhook":               func(c *wire.Carried) { c.Notifications.Webhooks[0].URL = "file:///etc/passwd" },
	"webhook's secret":      func(c *wire.Carried) { c.Notifications.Webhooks[0].Secret = "" },
	"repository":            func(c *wire.Carried) { c.Repositories[0].Name = "a/b" },
	"same repository twice": func(c *wire.Carried) { c.Repositories = append(c.Repositories, c.Repositories[0]) },
	"repository's id":       func(c *wire.Carried) { c.Repositories[0].ID = "../x" },
	"place":                 func(c *wire.Carried) { c.Repositories[0].Location.Path = "relative" },
	"no key":                func(c *wire.Carried) { c.Repositories[0].Key = "" },
	"size":                  func(c *wire.Carried) { c.Repositories[0].Stored = -1 },
	"point's id":            func(c *wire.Carried) { c.Repositories[0].Points[0].ID = "p" },
	"point's name":          func(c *wire.Carried) { c.Repositories[0].Points[0].Volume = "a\x00" },
	"policy":                func(c *wire.Carried) { c.Policies[0].Name = "a@b" },
	"schedule":              func(c *wire.Carried) { c.Policies[0].Schedule = "now and then" },
}
