package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// postgresPattern is where Debian keeps a server's programs.
const postgresPattern = "/usr/lib/postgresql/*/bin"

// Postgres starts an empty PostgreSQL server that lives as long as the test,
// and returns a file that holds the connection string to it.
func (l *Lab) Postgres(t testing.TB) (dsnFile string) {
	t.Helper()
	found, err := filepath.Glob(postgresPattern)
	require.NoError(t, err)
	require.NotEmpty(t, found, "these tests need a PostgreSQL server: apt-get install postgresql")
	bin := slices.Max(found)
	dir, err := os.MkdirTemp(l.Dir, "postgres.")
	require.NoError(t, err)
	// A server refuses to run as root.
	user := []string{"setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"}
	require.NoError(t, l.do(lasting(t), "chown", "postgres:postgres", dir))
	data := filepath.Join(dir, "data")
	require.NoError(t, l.do(lasting(t), append(user, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")...))
	p, err := l.start(filepath.Join(l.Dir, filepath.Base(dir)+".log"), 0, nil, append(user, filepath.Join(bin, "postgres"), "-D", data, "-k", dir,
		"-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=60")...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.signal(syscall.SIGINT, 20*time.Second)) })
	require.NoError(t, Eventually(30*time.Second, func() error {
		if !p.alive() {
			return nil
		}
		return l.do(lasting(t), filepath.Join(bin, "pg_isready"), "-q", "-h", dir)
	}))
	require.True(t, p.alive(), "the server lives:\n%s", tail(p.log, 20, nil))
	dsnFile = filepath.Join(l.Dir, filepath.Base(dir)+".dsn")
	require.NoError(t, os.WriteFile(dsnFile, fmt.Appendf(nil, "host=%s user=postgres dbname=postgres\n", dir), 0o600))
	return dsnFile
}
