// Command estate fills a new catalog with many tenants, as if they had been
// there for a month: volumes, policies, recovery points, jobs, alarms and lines
// of the audit log. Nothing of it is in a datastore or a repository. The
// benchmarks in e2e/bench run it, before a mooringd is started on the catalog:
//
//	estate -path FILE [-tenants N] [-policies N] [-points N] [-queued N]
//	estate -dsn TEXT ...
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers that the catalog has, too
	_ "modernc.org/sqlite"

	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "estate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	t := first{now: time.Now().UTC()}
	o := catalog.Options{Driver: catalog.SQLite}
	tenants := flag.Int("tenants", 1000, "number of tenants")
	queued := flag.Int("queued", 0, "jobs of the first tenant that wait")
	flag.StringVar(&o.Path, "path", "", "file of the catalog")
	flag.StringVar(&o.DSN, "dsn", "", "of a PostgreSQL server, instead of a file")
	flag.StringVar(&t.datastore, "datastore", "scale", "datastore of the volumes")
	flag.IntVar(&t.policies, "policies", 20, "policies of each tenant, each with a volume")
	flag.IntVar(&t.points, "points", 30, "recovery points of each volume, one for each day")
	flag.Parse()
	if o.DSN != "" {
		o.Driver = catalog.Postgres
	}
	cat, err := catalog.Open(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cat.Close()) }()
	if err := t.make(ctx, cat); err != nil {
		return err
	}
	if err := copyFirst(ctx, o, *tenants); err != nil {
		return err
	}
	if err := cat.Tenancy().Update(ctx, func(tx tenancy.Tx) error { return t.putAudit(tx, *tenants) }); err != nil {
		return err
	}
	return cat.Jobs().Update(ctx, func(tx job.Tx) error { return t.putQueue(tx, *queued) })
}

// copied are the tables in which a tenant has rows, with the column that tells
// whose they are, in the order in which they can be filled.
var copied = []struct{ table, column string }{
	{"vmgroups", "id"},
	{"labels", "group_id"},
	{"group_transporters", "group_id"},
	{"volumes", "group_id"},
	{"repositories", "group_id"},
	{"policies", "group_id"},
	{"schedule_marks", "policy_id"},
	{"points", "group_id"},
	{"jobs", "group_id"},
	{"job_counts", "group_id"},
	{"protected", "group_id"},
	{"alarms", "group_id"},
}

// copyFirst makes all other tenants of the first: rows are copied with the mark
// replaced in whatever text has it. That takes a tenth of the time that writing
// them through the catalog takes.
func copyFirst(ctx context.Context, o catalog.Options, tenants int) (err error) {
	driver, place := "sqlite", "file:"+o.Path+"?_pragma=busy_timeout(10000)"
	if o.Driver == catalog.Postgres {
		driver, place = "pgx", o.DSN
	}
	db, err := sql.Open(driver, place)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit: does nothing
	for _, c := range copied {
		into, from, err := columns(ctx, tx, c.table)
		if err != nil {
			return err
		}
		for n := 1; n < tenants; n++ {
			if c.table == "alarms" && n%20 != 0 {
				continue // most have none
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO %s (%s) SELECT %s FROM %[1]s WHERE %[4]s >= '%[5]s' AND %[4]s < '%[5]s~'`,
				c.table, into, fmt.Sprintf(from, markOf(n), n%60), c.column, markOf(0))); err != nil {
				return fmt.Errorf("copying %s: %w", c.table, err)
			}
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE job_counts SET jobs = jobs * %d, bytes = bytes * %[1]d, stored = stored * %[1]d WHERE group_id = ''", tenants)); err != nil {
		return err
	}
	return tx.Commit()
}

// columns are those of a table, and what they are in a copy: a format of the
// mark and of the minute of schedules.
func columns(ctx context.Context, tx *sql.Tx, table string) (into, from string, err error) {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table+" LIMIT 1")
	if err != nil {
		return "", "", err
	}
	defer rows.Close()
	all, err := rows.ColumnTypes()
	for i, c := range all {
		if i > 0 {
			into, from = into+", ", from+", "
		}
		into += c.Name()
		if c.DatabaseTypeName() != "TEXT" {
			from += c.Name()
			continue
		}
		from += fmt.Sprintf(`REPLACE(REPLACE(%s, '%s', '%%[1]s'), ':00"', ':%%02[2]d"')`, c.Name(), markOf(0))
	}
	return into, from, errors.Join(err, rows.Err())
}

// markOf is what is in all ids and names of a tenant.
func markOf(n int) string { return fmt.Sprintf("e57a%04x", n) }
