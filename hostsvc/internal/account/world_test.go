package account_test

import (
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// world is the service on a real catalog, with a clock that the test moves and
// the tenants acme and umbra.
type world struct {
	*account.Service
	t    *testing.T
	cat  *catalog.Catalog
	ring *keyring.Ring

	mu sync.Mutex // guards at
	at time.Time
}

const (
	acme  = volspec.VMGroupID("aaaaaaaa-0000-4000-8000-000000000000")
	umbra = volspec.VMGroupID("bbbbbbbb-0000-4000-8000-000000000000")

	secret = "correct horse battery"
	agent  = "a browser"
)

var (
	quick = account.Cost{Memory: 64, Time: 1, Threads: 1}

	root    = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}
	visitor = volspec.Caller{Visitor: true, Actor: "visitor:192.0.2.1", From: "192.0.2.1"}
)

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })
	require.NoError(t, cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		for id, name := range map[volspec.VMGroupID]string{acme: "acme", umbra: "umbra"} {
			if err := tx.PutGroup(volspec.VMGroup{ID: id, Name: name}); err != nil {
				return err
			}
		}
		return nil
	}))
	ring, err := keyring.Create(filepath.Join(dir, "key"))
	require.NoError(t, err)
	w := &world{t: t, cat: cat, ring: ring, at: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	w.serve(quick)
	return w
}

// serve starts the service anew, with a cost of hashing passwords.
func (w *world) serve(cost account.Cost) {
	w.Service = account.New(account.Options{
		Store: w.cat.Accounts(), Sealer: w.ring, Holds: api.PermissionsOf, Given: api.Permissions(), Cost: cost, Now: w.now,
	})
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.at.Add(d)
}

// user makes one whose password is secret.
func (w *world) user(group, name string, role volspec.Role) {
	w.t.Helper()
	_, err := w.CreateUser(w.t.Context(), root, group, wire.CreateUser{Name: name, Role: role, Password: secret})
	require.NoError(w.t, err)
}

// enter logs somebody in.
func (w *world) enter(group, name string) (volspec.Caller, string) {
	w.t.Helper()
	w.pass(time.Minute) // another minute of the limiter
	_, word, err := w.Login(w.t.Context(), visitor, wire.Login{Tenant: group, User: name, Password: secret}, agent)
	require.NoError(w.t, err)
	return w.by(word), word
}

// by is who shows the secret of a session.
func (w *world) by(word string) volspec.Caller {
	w.t.Helper()
	c, err := w.BySession(w.t.Context(), word, visitor.From)
	require.NoError(w.t, err)
	return c
}

// gone checks that the secret of a session is worth nothing.
func (w *world) gone(word string, why ...any) {
	w.t.Helper()
	_, err := w.BySession(w.t.Context(), word, visitor.From)
	assert.True(w.t, errkind.Is(err, errkind.Denied), why...)
}

// group changes the facts about a vmgroup.
func (w *world) group(change func(tx tenancy.Tx) error) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Tenancy().Update(w.t.Context(), change))
}

// set changes a user in the name of the administrator.
func (w *world) set(group, name string, r wire.UpdateUser) wire.User {
	w.t.Helper()
	u, err := w.UpdateUser(w.t.Context(), root, group, name, r)
	require.NoError(w.t, err)
	return u
}

// lines of a vmgroup, or of all, the newest first.
func (w *world) lines(group string) (all []volspec.Audit) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Volumes().View(w.t.Context(), func(tx volume.Tx) (err error) {
		all, err = tx.Audit(group, 0)
		return err
	}))
	return all
}

// audited lists the actions and outcomes of a vmgroup, or of all, the oldest
// first.
func (w *world) audited(group string) (all []string) {
	w.t.Helper()
	lines := w.lines(group)
	for i := len(lines) - 1; i >= 0; i-- {
		all = append(all, lines[i].Action+" "+lines[i].Outcome)
	}
	return all
}

func kindOf[T any](_ T, err error) errkind.Kind { return errkind.Of(err) }
