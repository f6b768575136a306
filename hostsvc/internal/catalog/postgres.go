package catalog

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"mooring.dev/mooring/pkg/errkind"
)

// writerLock is the advisory lock that makes one writer at a time of all
// processes on one database: "mooring" and a version, in ASCII.
const writerLock = 0x6d6f6f72696e6701

const (
	pgConnectTimeout = 10 * time.Second
	pgReaders        = 8
)

func openPostgres(o Options) (*Catalog, error) {
	cfg, err := pgx.ParseConfig(o.DSN)
	if err != nil { // pgx redacts the password
		return nil, errkind.Wrap(errkind.Invalid, err, "the postgres catalog needs a valid dsn")
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = pgConnectTimeout
	}
	for name, value := range map[string]string{
		"application_name":   "mooring",
		"synchronous_commit": "on",
		"client_encoding":    "UTF8",
		// A writer whose machine froze must not hold the lock for ever.
		"idle_in_transaction_session_timeout": "60s",
	} {
		cfg.RuntimeParams[name] = value
	}
	place := "postgres " + net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))) + "/" + cfg.Database
	if strings.HasPrefix(cfg.Host, "/") {
		place = "postgres " + cfg.Host + "/" + cfg.Database
	}
	c := &Catalog{dialect: postgresDialect(place), write: stdlib.OpenDB(*cfg), read: stdlib.OpenDB(*cfg)}
	c.write.SetMaxOpenConns(1)
	c.write.SetMaxIdleConns(1)
	c.read.SetMaxOpenConns(pgReaders)
	c.read.SetMaxIdleConns(pgReaders)
	for _, db := range []*sql.DB{c.write, c.read} {
		db.SetConnMaxIdleTime(5 * time.Minute)
	}
	return c, nil
}

const postgresGuard = `
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$;
DROP TRIGGER IF EXISTS audit_no_change ON audit;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
`

func postgresDialect(place string) dialect {
	return dialect{
		guard:     postgresGuard,
		place:     place,
		view:      sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true},
		update:    sql.TxOptions{Isolation: sql.LevelReadCommitted},
		lock:      "SELECT pg_advisory_xact_lock(" + strconv.Itoa(writerLock) + ")",
		clock:     "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000 AS BIGINT)",
		text:      func(s string) string { return numbered(strings.ReplaceAll(s, "COLLATE BINARY", `COLLATE "C"`)) },
		kind:      func(err error) (errkind.Kind, string) { return postgresKind(place, err) },
		transient: postgresTransient,
		undone:    postgresUndone,
	}
}

func sqlstate(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// postgresUndone: the server says itself that it undid the transaction.
func postgresUndone(err error) bool {
	switch sqlstate(err) {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	}
	return false
}

func postgresTransient(err error) bool {
	if postgresUndone(err) || postgresLost(err) {
		return true
	}
	switch sqlstate(err) {
	case "57P01", "57P02", "57P03", "53300", "25P03":
		// shutting down, crashed, starting, too many connections, idle for too
		// long in a transaction
		return true
	}
	return false
}

func postgresLost(err error) bool {
	if sqlstate(err) != "" {
		return strings.HasPrefix(sqlstate(err), "08")
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return true
	}
	if ne, ok := errors.AsType[net.Error](err); ok && !errors.Is(err, context.DeadlineExceeded) {
		return !ne.Timeout()
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed)
}

func postgresKind(place string, err error) (errkind.Kind, string) {
	code := sqlstate(err)
	switch {
	case code == "23505":
		return errkind.Exists, "the catalog has another entry of that name"
	case code == "23503":
		return errkind.NotFound, "the catalog has no entry that this one belongs to"
	case strings.HasPrefix(code, "XX00"):
		return errkind.Corrupt, "the catalog (" + place + ") is damaged: restore it from a copy, or move it away and rebuild it with 'mooring datastore scan --adopt'"
	case strings.HasPrefix(code, "28"), code == "3D000", code == "3F000", code == "42501":
		return errkind.Invalid, "the database server refused the catalog's account or database (" + place + "): correct the dsn"
	case code == "40001", code == "40P01", code == "55P03", code == "57014":
		// the last two: a limit that the server's administrator has set
		return errkind.Unavailable, "the catalog (" + place + ") is busy: repeat the command"
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "58"), code == "25006", code == "25P03", postgresLost(err):
		return errkind.Unavailable, "the catalog (" + place + ") is not available: repeat the command when the database server is back"
	case code == "":
		if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
			return errkind.Unavailable, "the catalog (" + place + ") does not answer: repeat the command when the database server is back"
		}
	}
	return "", ""
}
