package app

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/keyring"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/selfbackup"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// After a rotation nothing needs the old master key; and no new one is made
// while anything is sealed with one that is gone.
func TestAllSecretsFollowTheMasterKey(t *testing.T) {
	dir := t.TempDir()
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "catalog.db")})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	cfg := config.Config{StateDir: dir}
	ring, err := openRing(t.Context(), cfg, c)
	require.NoError(t, err)
	seal := func(context string) string {
		sealed, err := ring.Seal([]byte("plain of "+context), context)
		require.NoError(t, err)
		return sealed
	}
	require.NoError(t, c.Notify().Update(t.Context(), func(tx notify.Tx) error {
		return tx.PutNotifyTarget(notify.Targets{Sealed: seal("notify targets ")})
	}))
	require.NoError(t, c.Providers().Update(t.Context(), func(tx oidc.Tx) error {
		return tx.PutProvider(oidc.Provider{Sealed: seal("oidc client ")})
	}))
	require.NoError(t, c.Accounts().Update(t.Context(), func(tx account.Tx) error {
		return tx.PutUser(account.User{ID: "u1", Name: "anna", Role: volspec.MasterAdmin, Body: account.UserBody{
			Factor: seal("second factor of user u1"), NewFactor: seal("second factor of user u1"),
		}})
	}))

	require.NoError(t, c.SelfBackup().Update(t.Context(), func(tx selfbackup.Tx) error {
		return tx.PutSetting("self-backup", `{"sealed":"`+seal("the repository of the copies of the catalog")+`"}`)
	}))

	s := backup.New(backup.Options{Store: c.Backup(), Keyring: sealer{ring}})
	s.UseSecrets(
		notify.NewDirectory(notify.DirectoryOptions{Store: c.Notify(), Sealer: ring}),
		oidc.New(oidc.Options{Store: c.Providers(), Sealer: ring}),
		account.New(account.Options{Store: c.Accounts(), Sealer: ring}),
		selfbackup.New(selfbackup.Options{Store: c.SelfBackup()}),
	)
	old, err := os.ReadFile(keyring.Path("", dir))
	require.NoError(t, err)
	r, err := s.RotateKey(t.Context(), volspec.Caller{Admin: true, Actor: "admin:0"})
	require.NoError(t, err)
	assert.Equal(t, 5, r.Resealed)
	var sealed [5]string
	require.NoError(t, c.Notify().View(t.Context(), func(tx notify.Tx) error {
		v, err := tx.NotifyTarget("")
		sealed[0] = v.Sealed
		return err
	}))
	require.NoError(t, c.Providers().View(t.Context(), func(tx oidc.Tx) error {
		v, err := tx.Provider("")
		sealed[1] = v.Sealed
		return err
	}))
	require.NoError(t, c.Accounts().View(t.Context(), func(tx account.Tx) error {
		v, err := tx.User("u1")
		sealed[2], sealed[3] = v.Body.Factor, v.Body.NewFactor
		return err
	}))
	require.NoError(t, c.SelfBackup().View(t.Context(), func(tx selfbackup.Tx) error {
		text, err := tx.Setting("self-backup")
		var state struct{ Sealed string }
		require.NoError(t, json.Unmarshal([]byte(text), &state))
		sealed[4] = state.Sealed
		return err
	}))
	before := filepath.Join(t.TempDir(), "old.key")
	require.NoError(t, os.WriteFile(before, old, 0o600))
	oldRing, err := keyring.Open(before)
	require.NoError(t, err)
	for i, context := range []string{"notify targets ", "oidc client ", "second factor of user u1", "second factor of user u1", "the repository of the copies of the catalog"} {
		plain, err := ring.Open(sealed[i], context)
		require.NoError(t, err)
		assert.Equal(t, "plain of "+context, string(plain))
		_, err = oldRing.Open(sealed[i], context)
		assert.Error(t, err, "%s: the old key opens it still", context)
	}

	require.NoError(t, os.Remove(keyring.Path("", dir)))
	_, err = openRing(t.Context(), cfg, c)
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.ErrorContains(t, err, "5 secrets")
	assert.NoFileExists(t, keyring.Path("", dir))
}
