package catalog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
)

// A dump is the catalog as lines of JSON, the same from both backends. The first
// line is its header; then come tables, each an object with name and columns and
// after it one array for each row, of texts and numbers. A table that others
// refer to comes before them.

// dumped are the tables of a dump. What is left out ends with the process or the
// session: instances, sessions, open requests, one-time codes, and jobs that have
// not ended, which nobody wants to run days later.
var dumped = []struct{ name, order, where string }{
	{"vmgroups", "id", ""}, {"labels", "group_id, label", ""}, {"members", "vm", ""}, {"access_rows", "group_id, datastore", ""},
	{"vm_folders", "folder", ""}, {"volumes", "id", ""}, {"snapshots", "id", ""}, {"datastores", "name", ""}, {"settings", "name", ""},
	{"repositories", "id", ""}, {"repository_secrets", "repository_id", ""}, {"policies", "id", ""}, {"schedule_marks", "policy_id, task", ""},
	{"points", "id", ""}, {"bases", "volume_id, repository_id", ""}, {"protected", "group_id, vm_id, volume_id", ""},
	{"jobs", "id", "state NOT IN ('queued', 'running')"}, {"job_counts", "group_id, at, kind, state", ""}, {"alarms", "id", ""},
	{"guest_vms", "vm", ""}, {"guest_certificates", "serial", ""}, {"allowances", "group_id", ""},
	{"transporters", "name", ""}, {"group_transporters", "group_id, transporter", ""},
	{"users", "id", ""}, {"tokens", "id", ""}, {"oidc", "group_id", ""}, {"notify_targets", "group_id", ""},
	{"audit", "seq", ""},
}

type dumpHeader struct {
	Schema int      `json:"schema"`
	Tables []string `json:"tables"`
}

type dumpTable struct {
	Table   string   `json:"table"`
	Columns []string `json:"columns"`
}

// Dump writes the catalog as it is at one moment, and returns the number of its
// rows. Memory is bounded by one row. After an error what was written is no dump.
func (c *Catalog) Dump(ctx context.Context, w io.Writer) (rows int64, err error) {
	steps, err := migrations()
	if err != nil {
		return 0, err
	}
	b := bufio.NewWriterSize(w, 1<<16)
	out := json.NewEncoder(b)
	// Not repeated after a failure, as view does: the lines are written.
	_, err = c.run(ctx, c.read, &c.dialect.view, "", func(t *tx) error {
		h := dumpHeader{Schema: len(steps)}
		for _, d := range dumped {
			h.Tables = append(h.Tables, d.name)
		}
		if err := unwritten(out.Encode(h)); err != nil {
			return err
		}
		for _, d := range dumped {
			n, err := t.dump(out, d.name, d.order, d.where)
			if err != nil {
				return errkind.Wrap(errkind.Of(err), err, "read table %s", d.name)
			}
			rows += n
		}
		return nil
	})
	if err == nil {
		err = unwritten(b.Flush())
	}
	return rows, err
}

func unwritten(err error) error {
	return errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be written: make room and repeat it")
}

func (t *tx) dump(out *json.Encoder, table, order, where string) (n int64, err error) {
	query := "SELECT * FROM " + table
	if where != "" {
		query += " WHERE " + where
	}
	var row, dest []any
	err = t.each(func(s scanner) error {
		if row == nil {
			columns, err := columnsOf(s)
			if err != nil {
				return err
			}
			if err := unwritten(out.Encode(dumpTable{table, columns})); err != nil {
				return err
			}
			row, dest = make([]any, len(columns)), make([]any, len(columns))
			for i := range row {
				dest[i] = &row[i]
			}
		}
		if err := s.Scan(dest...); err != nil {
			return err
		}
		n++
		return unwritten(out.Encode(row))
	}, query+" ORDER BY "+order)
	return n, err
}

func columnsOf(s scanner) ([]string, error) {
	rows, ok := s.(interface{ Columns() ([]string, error) })
	if !ok {
		return nil, errkind.New(errkind.Internal, "a row does not tell its columns")
	}
	return rows.Columns()
}

// Restore fills the empty database at o with a dump, in one transaction: after
// a crash it is empty still. A database that is a catalog already is exists and
// untouched, a dump of a newer schema unsupported, one that is damaged corrupt.
// One of an older schema is brought up to date.
func Restore(ctx context.Context, o Options, r io.Reader) (err error) {
	c, err := connect(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	steps, err := migrations()
	if err != nil {
		return err
	}
	l := loader{in: json.NewDecoder(bufio.NewReaderSize(r, 1<<16))}
	l.in.UseNumber()
	if err := l.head(len(steps)); err != nil {
		return err
	}
	// Not repeated after a failure, as update does: the lines are read.
	_, err = c.run(ctx, c.write, &c.dialect.update, c.dialect.lock, func(t *tx) error {
		if err := t.vacant(); err != nil {
			return err
		}
		if _, err := t.migrate(steps[:l.header.Schema]); err != nil {
			return err
		}
		if err := l.load(t); err != nil {
			return err
		}
		if _, err := t.migrate(steps); err != nil {
			return err
		}
		_, err = t.exec(t.dialect.guard)
		return err
	})
	return err
}

// Vacant is exists if the database at o is a catalog, nil if Restore can make it
// one.
func Vacant(ctx context.Context, o Options) (err error) {
	c, err := connect(o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.update(ctx, func(t *tx) error { return t.vacant() })
}

func (t *tx) vacant() error {
	have, err := t.schema()
	if err == nil && have > 0 {
		err = errkind.New(errkind.Exists, "there is a catalog already (%s): nothing was put in its place; move it away if it is not needed", t.dialect.place)
	}
	return err
}

// loader reads a dump.
type loader struct {
	in     *json.Decoder
	header dumpHeader
}

func brokenDump(err error) error {
	return errkind.Wrap(errkind.Corrupt, err, "the copy of the catalog is damaged: take another one")
}

func (l *loader) head(newest int) error {
	if err := l.in.Decode(&l.header); err != nil {
		return brokenDump(err)
	}
	if l.header.Schema > newest {
		return errkind.New(errkind.Unsupported, "the copy is of a newer mooringd: its schema is version %d, this build knows up to %d; install the newer version", l.header.Schema, newest)
	}
	if l.header.Schema < 1 || len(l.header.Tables) == 0 {
		return brokenDump(errors.New("it has no header"))
	}
	return names(l.header.Tables)
}

// names refuses what cannot be the name of a table or column of ours.
func names(all []string) error {
	for _, s := range all {
		if s == "" || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz_") != "" {
			return brokenDump(errors.New("a name is not one"))
		}
	}
	return nil
}

// batch is how many rows one statement inserts: with 40 columns still far below
// what either backend takes.
const batch = 100

// load puts all rows into tables of the schema of the dump.
func (l *loader) load(t *tx) error {
	for i := len(l.header.Tables) - 1; i >= 0; i-- { // rows that the schema came with
		if _, err := t.exec("DELETE FROM " + l.header.Tables[i]); err != nil {
			return err
		}
	}
	var at dumpTable
	var args []any
	rows := 0
	insert := func() error {
		if rows == 0 {
			return nil
		}
		one := ", (" + marks(len(at.Columns)) + ")"
		_, err := t.exec("INSERT INTO "+at.Table+" ("+strings.Join(at.Columns, ", ")+") VALUES "+strings.Repeat(one, rows)[2:], args...)
		args, rows = args[:0], 0
		return err
	}
	for {
		var line json.RawMessage
		err := l.in.Decode(&line)
		if errors.Is(err, io.EOF) {
			return insert()
		}
		if err != nil {
			return brokenDump(err)
		}
		if line[0] == '{' {
			if err := insert(); err != nil {
				return err
			}
			at = dumpTable{}
			if err := json.Unmarshal(line, &at); err != nil {
				return brokenDump(err)
			}
			if err := names(append([]string{at.Table}, at.Columns...)); err != nil {
				return err
			}
			continue
		}
		if args, err = values(args, line, len(at.Columns)); err != nil {
			return err
		}
		if rows++; rows == batch {
			if err := insert(); err != nil {
				return err
			}
		}
	}
}

// values appends those of one row.
func values(to []any, line json.RawMessage, columns int) ([]any, error) {
	var row []any
	in := json.NewDecoder(strings.NewReader(string(line)))
	in.UseNumber()
	if err := in.Decode(&row); err != nil {
		return to, brokenDump(err)
	}
	if columns == 0 || len(row) != columns {
		return to, brokenDump(errors.New("a row does not fit its table"))
	}
	for _, v := range row {
		switch v := v.(type) {
		case string:
			to = append(to, v)
		case json.Number:
			n, err := v.Int64()
			if err != nil {
				return to, brokenDump(err)
			}
			to = append(to, n)
		default:
			return to, brokenDump(errors.New("a value is neither text nor number"))
		}
	}
	return to, nil
}
