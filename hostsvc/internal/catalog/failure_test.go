package catalog_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/catalog/pgtest"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// cutOff ends all of a database's connections from outside.
const cutOff = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"

// A connection lost in the middle of an Update: the work is repeated, once
// more from its beginning, and counts once.
func TestLostConnectionIsRepeated(t *testing.T) {
	name := database(t)
	c := openCatalog(t, catalog.Options{Driver: catalog.Postgres, DSN: pg(t).DSN(name)})
	putGroup(t, c, "g")
	runs := 0
	require.NoError(t, c.Volumes().Update(t.Context(), func(tx volume.Tx) error {
		runs++
		u, err := tx.Usage("g", "ds")
		if err != nil {
			return err
		}
		if runs == 1 {
			require.NoError(t, pg(t).Exec(t.Context(), name, cutOff))
		}
		require.Zero(t, u.Volumes, "what the lost attempt did is undone")
		return tx.PutVolume(volume.Record{ID: "v", Key: volume.Key{Group: "g", Datastore: "ds", Name: "v"}, State: volspec.Ready})
	}))
	assert.Equal(t, 2, runs)
	views := 0
	require.NoError(t, c.Volumes().View(t.Context(), func(tx volume.Tx) error {
		views++
		if views == 1 {
			require.NoError(t, pg(t).Exec(t.Context(), name, cutOff))
		}
		_, err := tx.Volume("v")
		return err
	}))
	assert.Equal(t, 2, views)
}

// Lost while COMMIT is on its way, the outcome is unknown: never repeated.
func TestLostAtCommitIsNotRepeated(t *testing.T) {
	name := database(t)
	c := openCatalog(t, catalog.Options{Driver: catalog.Postgres, DSN: pg(t).DSN(name)})
	runs := 0
	err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error {
		runs++
		err := tx.PutDatastore("ds", "id")
		return errors.Join(err, pg(t).Exec(t.Context(), name, cutOff))
	})
	require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	assert.Equal(t, 1, runs)
}

func TestServerGoesAndComes(t *testing.T) {
	s := pgtest.For(t)
	c := openCatalog(t, catalog.Options{Driver: catalog.Postgres, DSN: s.DSN("postgres")})
	putGroup(t, c, "g")
	for _, stop := range []func() error{s.Down, s.Kill} {
		require.NoError(t, stop())
		err := c.Volumes().View(t.Context(), func(volume.Tx) error { return nil })
		require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		assert.Contains(t, errkind.Text(err), "repeat the command when the database server is back")
		err = c.Volumes().Update(t.Context(), func(volume.Tx) error { return nil })
		require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		require.NoError(t, s.Up())
		assert.Equal(t, []string{"g"}, groupNames(t, c), "the next request finds the server again")
	}
}

// Another process holds the writer's lock: readers go on, writers wait as
// long as their request lives.
func TestForeignWriter(t *testing.T) {
	o := postgresOptions(t)
	a, b := openCatalog(t, o), openCatalog(t, o)
	putGroup(t, a, "g")
	require.NoError(t, a.Volumes().Update(t.Context(), func(volume.Tx) error {
		assert.Equal(t, []string{"g"}, groupNames(t, b))
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := b.Volumes().Update(ctx, func(volume.Tx) error { t.Error("two Updates overlap"); return nil })
		require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		return nil
	}))
	putGroup(t, b, "h")
}

// A statement that the database refused dooms its transaction, even if the
// function goes on.
func TestRefusedStatementIsNotCommitted(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			c := openCatalog(t, o)
			putGroup(t, c, "g")
			raw(t, o, "DROP TABLE settings")
			err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error {
				require.NoError(t, tx.PutDatastore("ds", "id"))
				_ = tx.(interface{ PutSetting(k, v string) error }).PutSetting("k", "v")
				return nil
			})
			require.Equal(t, errkind.Internal, errkind.Of(err), "%v", err)
			require.NoError(t, c.Volumes().View(t.Context(), func(tx volume.Tx) error {
				id, err := tx.Datastore("ds")
				require.Empty(t, id)
				return err
			}))
		})
	}
}
