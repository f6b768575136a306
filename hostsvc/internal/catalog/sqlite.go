package catalog

import (
	"database/sql"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"runtime"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"mooring.dev/mooring/pkg/durable"
	"mooring.dev/mooring/pkg/errkind"
)

// busyTimeout is how long a statement waits for a lock of another process,
// in ms. There is none but a person's sqlite3 shell or a copy being made.
const busyTimeout = "busy_timeout(10000)"

func openSQLite(o Options) (*Catalog, error) {
	if o.Path == "" {
		return nil, errkind.New(errkind.Invalid, "the sqlite catalog needs a path")
	}
	path, err := filepath.Abs(o.Path)
	if err != nil {
		return nil, errkind.Wrap(errkind.Invalid, err, "catalog path %q", o.Path)
	}
	// SQLite would make the file readable to all; its -wal and -shm take the
	// mode of the file.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot open the catalog")
	}
	if err := errors.Join(f.Close(), durable.SyncDir(filepath.Dir(path))); err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "cannot create the catalog")
	}

	write, err := sql.Open("sqlite", sqliteDSN(path, "immediate",
		busyTimeout, "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"))
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, err, "open %s", path)
	}
	read, err := sql.Open("sqlite", sqliteDSN(path, "deferred", busyTimeout, "query_only(1)"))
	if err != nil {
		return nil, errkind.Wrap(errkind.Internal, errors.Join(err, write.Close()), "open %s", path)
	}
	write.SetMaxOpenConns(1)
	write.SetMaxIdleConns(1)
	readers := max(4, runtime.GOMAXPROCS(0))
	read.SetMaxOpenConns(readers)
	read.SetMaxIdleConns(readers)
	return &Catalog{dialect: sqliteDialect(path), write: write, read: read}, nil
}

func sqliteDSN(path, txlock string, pragmas ...string) string {
	q := url.Values{"_txlock": {txlock}, "_pragma": pragmas}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}

const sqliteGuard = `
CREATE TRIGGER IF NOT EXISTS audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
`

func sqliteDialect(path string) dialect {
	return dialect{
		guard:     sqliteGuard,
		place:     "sqlite " + path,
		view:      sql.TxOptions{ReadOnly: true},
		check:     `SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok' UNION ALL SELECT 'foreign key of ' || "table" FROM pragma_foreign_key_check`,
		text:      func(s string) string { return s },
		kind:      func(err error) (errkind.Kind, string) { return sqliteKind(path, err) },
		transient: sqliteBusy,
		undone:    sqliteBusy,
	}
}

// sqliteBusy: another process has held the lock for longer than the timeout.
func sqliteBusy(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

func sqliteKind(path string, err error) (errkind.Kind, string) {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return "", ""
	}
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return errkind.Exists, "the catalog has another entry of that name"
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return errkind.NotFound, "the catalog has no entry that this one belongs to"
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return errkind.Corrupt, "the catalog " + path + " is damaged: restore it from a copy, or move it away and rebuild it with 'mooring datastore scan --adopt'"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return errkind.Unavailable, "the catalog " + path + " is locked by another program: end it and repeat the command"
	case sqlite3.SQLITE_FULL:
		return errkind.Unavailable, "no room left where the catalog " + path + " lies: make room and repeat the command"
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM:
		return errkind.Unavailable, "the catalog " + path + " cannot be read or written"
	}
	return "", ""
}
