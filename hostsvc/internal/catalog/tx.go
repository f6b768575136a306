package catalog

import (
	"context"
	"database/sql"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// tx is one transaction and lives no longer than it; that is why it may keep
// the context.
type tx struct {
	ctx     context.Context
	sql     *sql.Tx
	dialect *dialect
	asked   *atomic.Int64
	failed  error // the first failure of a statement, as the driver gave it
	// left are the names that vmgroups lost in this transaction, by which its
	// audit lines still find them.
	left map[string]volspec.VMGroupID
}

var (
	_ volume.Tx  = (*tx)(nil)
	_ tenancy.Tx = (*tx)(nil)
)

func (t *tx) fail(err error) error {
	if t.failed == nil {
		t.failed = err
	}
	return t.dialect.failure(t.ctx, err)
}

// exec runs a statement and returns the number of rows it touched.
func (t *tx) exec(statement string, args ...any) (int64, error) {
	t.asked.Add(1)
	res, err := t.sql.ExecContext(t.ctx, t.dialect.text(statement), plain(args)...)
	if err != nil {
		return 0, t.fail(err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, t.fail(err)
	}
	return n, nil
}

// scanner is one row.
type scanner interface{ Scan(dest ...any) error }

// each calls fn for every row; an error of fn ends it.
func (t *tx) each(fn func(scanner) error, query string, args ...any) error {
	t.asked.Add(1)
	rows, err := t.sql.QueryContext(t.ctx, t.dialect.text(query), plain(args)...)
	if err != nil {
		return t.fail(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := fn(rows); err != nil {
			if _, ok := errors.AsType[*errkind.Error](err); ok {
				return err
			}
			return t.fail(err)
		}
	}
	if err := rows.Err(); err != nil {
		return t.fail(err)
	}
	return nil
}

// list collects the rows of a query.
func list[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	var all []T
	err := t.each(func(s scanner) error {
		v, err := scan(s)
		if err == nil {
			all = append(all, v)
		}
		return err
	}, query, args...)
	return all, err
}

// one reads the only row of a query; none is found=false.
func one[T any](t *tx, scan func(scanner) (T, error), query string, args ...any) (v T, found bool, err error) {
	all, err := list(t, scan, query, args...)
	if err != nil || len(all) == 0 {
		return v, false, err
	}
	return all[0], true, nil
}

func word[T any](s scanner) (v T, err error) {
	err = s.Scan(&v)
	return v, err
}

// count reads one number.
func (t *tx) count(query string, args ...any) (int, error) {
	n, _, err := one(t, word[int], query, args...)
	return n, err
}

// now is the time in ns on the clock that all processes on this catalog share.
func (t *tx) now() (int64, error) {
	if t.dialect.clock == "" {
		return time.Now().UnixNano(), nil
	}
	n, _, err := one(t, word[int64], t.dialect.clock)
	return n, err
}

// plain turns named types into what both drivers take, and makes every text
// storable: PostgreSQL refuses NUL and invalid UTF-8, which a guest may send.
func plain(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		switch v := reflect.ValueOf(a); v.Kind() {
		case reflect.String:
			out[i] = storable(v.String())
		case reflect.Bool:
			out[i] = int64(0)
			if v.Bool() {
				out[i] = int64(1)
			}
		case reflect.Int, reflect.Int64:
			out[i] = v.Int()
		default:
			out[i] = a
		}
	}
	return out
}

func storable(s string) string {
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Times are stored in ns since 1970, the zero time as 0.
func fromTime(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func toTime(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
