package catalog_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func backends(t *testing.T) map[string]catalog.Options {
	return map[string]catalog.Options{"sqlite": sqliteOptions(t), "postgres": postgresOptions(t)}
}

// raw runs statements behind the catalog's back.
func raw(t *testing.T, o catalog.Options, statements string) {
	t.Helper()
	require.NoError(t, rawError(t, o, statements))
}

func rawError(t *testing.T, o catalog.Options, statements string) error {
	t.Helper()
	driver, dsn := "sqlite", o.Path
	if o.Driver == catalog.Postgres {
		driver, dsn = "pgx", o.DSN
	}
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Exec(statements)
	return err
}

func putGroup(t *testing.T, c *catalog.Catalog, name string) {
	t.Helper()
	require.NoError(t, c.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		return tx.PutGroup(volspec.VMGroup{ID: volspec.VMGroupID(name), Name: name})
	}))
}

func groupNames(t *testing.T, c *catalog.Catalog) (names []string) {
	t.Helper()
	require.NoError(t, c.Tenancy().View(t.Context(), func(tx tenancy.Tx) error {
		all, err := tx.Groups()
		names = nil
		for _, g := range all {
			names = append(names, g.Name)
		}
		return err
	}))
	return names
}

func TestReopen(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			for range 3 {
				c, err := catalog.Open(t.Context(), o)
				require.NoError(t, err)
				putGroup(t, c, "kept")
				assert.Equal(t, []string{"kept"}, groupNames(t, c))
				require.NoError(t, c.Check(t.Context()))
				require.NoError(t, c.Close())
			}
		})
	}
}

// Several processes may meet an empty database at once.
func TestOpenTogether(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			var wg sync.WaitGroup
			for range 6 {
				wg.Go(func() {
					c, err := catalog.Open(t.Context(), o)
					if assert.NoError(t, err) {
						assert.NoError(t, c.Close())
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestNewerSchemaIsRefused(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			c, err := catalog.Open(t.Context(), o)
			require.NoError(t, err)
			require.NoError(t, c.Close())
			raw(t, o, "INSERT INTO schema_version (version) VALUES (99)")
			_, err = catalog.Open(t.Context(), o)
			require.Equal(t, errkind.Unsupported, errkind.Of(err))
			assert.Contains(t, err.Error(), "written by a newer mooringd: its schema is version 99, this build knows up to "+strconv.Itoa(catalog.SchemaVersion(t)))
		})
	}
}

func TestOpenRefusals(t *testing.T) {
	for _, c := range []struct {
		o    catalog.Options
		kind errkind.Kind
		text string
	}{
		{catalog.Options{}, errkind.Invalid, "use sqlite or postgres"},
		{catalog.Options{Driver: catalog.SQLite}, errkind.Invalid, "needs a path"},
		{catalog.Options{Driver: catalog.SQLite, Path: "/nonexistent/dir/catalog.db"}, errkind.Unavailable, "no such file"},
		{catalog.Options{Driver: catalog.Postgres, DSN: "postgres://u:secret@h:notaport/db"}, errkind.Invalid, "valid dsn"},
		{catalog.Options{Driver: catalog.Postgres, DSN: "postgres://u:secret@127.0.0.1:1/db"}, errkind.Unavailable, "127.0.0.1:1/db"},
		{catalog.Options{Driver: catalog.Postgres, DSN: pg(t).DSN("absent")}, errkind.Invalid, "correct the dsn"},
	} {
		_, err := catalog.Open(t.Context(), c.o)
		require.Equal(t, c.kind, errkind.Of(err), "%+v: %v", c.o, err)
		assert.Contains(t, err.Error(), c.text)
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestOverTCP(t *testing.T) {
	o := catalog.Options{Driver: catalog.Postgres, DSN: pg(t).TCP(database(t))}
	c := openCatalog(t, o)
	putGroup(t, c, "g")
	assert.Regexp(t, `^postgres 127\.0\.0\.1:\d+/db\d+$`, c.Place())
}

func TestFileMode(t *testing.T) {
	o := sqliteOptions(t)
	c := openCatalog(t, o)
	putGroup(t, c, "g")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		st, err := os.Stat(o.Path + suffix)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), st.Mode().Perm(), "only its owner reads the catalog%s", suffix)
	}
}

// A path is a path, whatever characters it has.
func TestOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b#c?d%41&e=f")
	require.NoError(t, os.Mkdir(dir, 0o700))
	o := catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(dir, "c?x=1.db")}
	putGroup(t, openCatalog(t, o), "g")
	require.FileExists(t, o.Path)
}

// Settings that durability and integrity hang on.
func TestPragmas(t *testing.T) {
	o := sqliteOptions(t)
	c := openCatalog(t, o)
	err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error {
		return tx.PutVolume(volume.Record{ID: "v", Key: volume.Key{Group: "none"}, State: volspec.Ready})
	})
	require.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.Equal(t, map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1"},
		catalog.Pragmas(t, c, "journal_mode", "synchronous", "foreign_keys"))
}

func TestDamagedFile(t *testing.T) {
	garbage := sqliteOptions(t)
	require.NoError(t, os.WriteFile(garbage.Path, []byte("this is not a database, it is a text that is long enough to be taken for one, or so it seems at first sight; the header is a hundred bytes long"), 0o600))
	_, err := catalog.Open(t.Context(), garbage)
	require.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
	assert.Contains(t, err.Error(), "restore it from a copy")
	assert.Contains(t, err.Error(), "mooring datastore scan --adopt")

	o := sqliteOptions(t)
	c, err := catalog.Open(t.Context(), o)
	require.NoError(t, err)
	putGroup(t, c, "g")
	fillVolumes(t, c, "g", 500)
	require.NoError(t, c.Check(t.Context()))
	require.NoError(t, c.Close())
	data, err := os.ReadFile(o.Path)
	require.NoError(t, err)
	for i := len(data) / 2; i < len(data)/2+8192; i++ {
		data[i] ^= 0x5a
	}
	require.NoError(t, os.WriteFile(o.Path, data, 0o600))
	c = openCatalog(t, o)
	err = c.Check(t.Context())
	require.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
	assert.Contains(t, err.Error(), "mooring datastore scan --adopt")
}

func fillVolumes(tb testing.TB, c *catalog.Catalog, group string, n int) {
	tb.Helper()
	require.NoError(tb, c.Volumes().Update(context.Background(), func(tx volume.Tx) error {
		for i := range n {
			name := "volume-" + strconv.Itoa(i)
			r := volume.Record{
				ID: volspec.VolumeID(group + name), Key: volume.Key{Group: volspec.VMGroupID(group), Datastore: "ds", Name: name},
				State: volspec.Ready, Size: volspec.MiB, Spec: volspec.Spec{Size: volspec.MiB}.Defaulted(),
			}
			if err := tx.PutVolume(r); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Contradictions that the database itself does not see.
func TestCheckFinds(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			c := openCatalog(t, o)
			putGroup(t, c, "g")
			fillVolumes(t, c, "g", 30)
			require.NoError(t, c.Check(t.Context()))
			raw(t, o, "UPDATE volumes SET state = 'odd' WHERE name = 'volume-1'")
			raw(t, o, "UPDATE volumes SET size = -1 WHERE name = 'volume-2'")
			raw(t, o, "UPDATE volumes SET spec = '{' WHERE name = 'volume-3'")
			err := c.Check(t.Context())
			require.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
			assert.Contains(t, err.Error(), "1 volumes in an unknown state; 1 volumes of negative size; ")
			assert.Contains(t, err.Error(), "options of volume gvolume-3 (volume-3) are damaged")
			err = c.Volumes().View(t.Context(), func(tx volume.Tx) error {
				_, err := tx.Volumes(volume.Filter{})
				return err
			})
			require.Equal(t, errkind.Corrupt, errkind.Of(err))
			raw(t, o, "UPDATE volumes SET spec = '{'")
			assert.Contains(t, c.Check(t.Context()).Error(), "and 12 more")
		})
	}
	o := sqliteOptions(t)
	c := openCatalog(t, o)
	raw(t, o, "INSERT INTO members (vm, name, group_id) VALUES ('v', 'v', 'none')") // without foreign_keys
	err := c.Check(t.Context())
	require.Equal(t, errkind.Corrupt, errkind.Of(err), "%v", err)
	assert.Contains(t, err.Error(), "foreign key of members")
	assert.Contains(t, err.Error(), "1 members without a vmgroup")
}

const lockEnv = "CATALOG_TEST_LOCK"

// holdLock is another process that holds a lock until it is killed.
func holdLock(dir string) int {
	if _, err := catalog.LockState(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Print("locked")
	time.Sleep(time.Hour)
	return 0
}

func TestLockState(t *testing.T) {
	dir := t.TempDir()
	release, err := catalog.LockState(dir)
	require.NoError(t, err)
	_, err = catalog.LockState(dir)
	require.Equal(t, errkind.InUse, errkind.Of(err))
	assert.Contains(t, err.Error(), dir+" is in use by process "+strconv.Itoa(os.Getpid()))
	release()
	release, err = catalog.LockState(dir)
	require.NoError(t, err)
	release()
	_, err = catalog.LockState(filepath.Join(dir, "absent"))
	require.Equal(t, errkind.Unavailable, errkind.Of(err))

	// Another process that holds it, and is killed.
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lockEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = out.Read(make([]byte, 1))
	require.NoError(t, err)
	_, err = catalog.LockState(dir)
	require.ErrorContains(t, err, "process "+strconv.Itoa(cmd.Process.Pid))
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	release, err = catalog.LockState(dir)
	require.NoError(t, err, "the lock ends with its holder")
	release()
}
