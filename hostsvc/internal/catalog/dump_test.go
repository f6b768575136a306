package catalog_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// notDumped are the tables that a dump leaves out on purpose.
var notDumped = []string{"schema_version", "instances", "sessions", "idempotency", "guest_codes"}

func dump(t *testing.T, c *catalog.Catalog) (text string, rows int64) {
	t.Helper()
	var b bytes.Buffer
	rows, err := c.Dump(t.Context(), &b)
	require.NoError(t, err)
	return b.String(), rows
}

func restored(t *testing.T, o catalog.Options, text string) *catalog.Catalog {
	t.Helper()
	require.NoError(t, catalog.Restore(t.Context(), o, strings.NewReader(text)))
	return openCatalog(t, o)
}

// Every table goes from each backend to each, and comes back byte for byte.
func TestDumpRestoresIntoBothBackends(t *testing.T) {
	const rows = 250 // more than one statement takes
	var dumps []string
	for name, o := range backends(t) {
		c := openCatalog(t, o)
		tables := catalog.FillTables(t, c, rows)
		text, n := dump(t, c)
		dumps = append(dumps, text)
		seen := 0
		for _, table := range tables {
			if !slices.Contains(notDumped, table) {
				seen++
				assert.Contains(t, text, `{"table":"`+table+`",`, "%s: a new table must be dumped, or stand in notDumped", name)
			}
		}
		assert.EqualValues(t, seen*rows, n)
		for to, o := range backends(t) {
			again, _ := dump(t, restored(t, o, text))
			assert.True(t, text == again, "from %s to %s", name, to)
		}
	}
	assert.True(t, dumps[0] == dumps[1], "both backends write the same")
}

// What is restored is a catalog like any other: the audit log of it only grows,
// and jobs that had not ended are not run again.
func TestARestoredCatalogIsOne(t *testing.T) {
	for name, o := range backends(t) {
		t.Run(name, func(t *testing.T) {
			from := openCatalog(t, o)
			putGroup(t, from, "kept")
			raw(t, o, "INSERT INTO jobs (id, group_id, kind, object, state, created, begun, ended, priority, policy_id, owner, fence, expires, cancel, unique_key, body) "+
				"VALUES ('j', 'kept', 'restore', 'o', 'running', 1, 1, 0, 1, '', 'i', 1, 1, 0, '', '{}')")
			line := func(tx audit.Tx) error {
				return tx.AddAudit(volspec.Audit{Action: "volume rm", Object: "db", Outcome: "ok"})
			}
			require.NoError(t, from.AuditLog().Update(t.Context(), line))
			text, _ := dump(t, from)
			assert.NotContains(t, text, "restore")
			to := backends(t)[name]
			c := restored(t, to, text)
			assert.Equal(t, []string{"kept"}, groupNames(t, c))
			require.NoError(t, c.Check(t.Context()))
			putGroup(t, c, "new")
			require.NoError(t, c.AuditLog().Update(t.Context(), line))
			chains, err := audit.New(c.AuditLog()).Verify(t.Context(), "", nil)
			require.NoError(t, err)
			require.Len(t, chains, 1)
			assert.True(t, chains[0].Whole)
			assert.EqualValues(t, 2, chains[0].Lines)
			require.ErrorContains(t, rawError(t, to, "DELETE FROM audit"), "append-only")

			err = catalog.Restore(t.Context(), to, strings.NewReader(text))
			assert.Equal(t, errkind.Exists, errkind.Of(err))
			assert.ElementsMatch(t, []string{"kept", "new"}, groupNames(t, c), "what is there stays")
		})
	}
}

// cut is a reader that fails when n bytes are read.
type cut struct {
	io.Reader
	n int
}

func (c *cut) Read(p []byte) (int, error) {
	if c.n == 0 {
		return 0, errors.New("the disk is gone")
	}
	n, err := c.Reader.Read(p[:min(len(p), c.n)])
	c.n -= n
	return n, err
}

// A restore that breaks off leaves an empty database, and the next one succeeds.
func TestARestoreThatBreaksOffCanBeRepeated(t *testing.T) {
	from := openCatalog(t, sqliteOptions(t))
	catalog.FillTables(t, from, 120)
	text, _ := dump(t, from)
	for name, o := range backends(t) {
		for _, n := range []int{0, 10, len(text) / 3, len(text) / 2, len(text) - 1} {
			err := catalog.Restore(t.Context(), o, &cut{strings.NewReader(text), n})
			assert.Equal(t, errkind.Corrupt, errkind.Of(err), "%s at %d", name, n)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.Error(t, catalog.Restore(ctx, o, strings.NewReader(text)))
		again, _ := dump(t, restored(t, o, text))
		assert.True(t, text == again, name)
	}
}

func TestWhatIsNoDumpIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		kind errkind.Kind
	}{
		"empty":           {"", errkind.Corrupt},
		"no header":       {"[1]", errkind.Corrupt},
		"newer":           {`{"schema":99,"tables":["vmgroups"]}`, errkind.Unsupported},
		"no tables":       {`{"schema":1,"tables":[]}`, errkind.Corrupt},
		"statement":       {`{"schema":1,"tables":["audit; DROP"]}`, errkind.Corrupt},
		"column":          {`{"schema":1,"tables":["settings"]}` + "\n" + `{"table":"settings","columns":["name) --"]}`, errkind.Corrupt},
		"row of no table": {`{"schema":1,"tables":["settings"]}` + "\n" + `["a"]`, errkind.Corrupt},
		"short row":       {`{"schema":1,"tables":["settings"]}` + "\n" + `{"table":"settings","columns":["name","value"]}` + "\n" + `["a"]`, errkind.Corrupt},
		"fraction":        {`{"schema":1,"tables":["settings"]}` + "\n" + `{"table":"settings","columns":["name","value"]}` + "\n" + `["a",1.5]`, errkind.Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			o := sqliteOptions(t)
			assert.Equal(t, c.kind, errkind.Of(catalog.Restore(t.Context(), o, strings.NewReader(c.text))))
			assert.Empty(t, groupNames(t, openCatalog(t, o)))
		})
	}
}

// A dump of an older schema is brought up to date.
func TestAnOlderDumpIsMigrated(t *testing.T) {
	text := `{"schema":2,"tables":["vmgroups","backup_limits"]}
{"table":"vmgroups","columns":["id","name","description","default_datastore","source","removing"]}
["g","old","","","",0]
{"table":"backup_limits","columns":["group_id","max_stored"]}
["g",4096]
`
	for name, o := range backends(t) {
		c := restored(t, o, text)
		assert.Equal(t, []string{"old"}, groupNames(t, c), name)
		again, _ := dump(t, c)
		assert.Contains(t, again, `["g",-1,-1,-1,4096]`, "%s: its limit is an allowance now", name)
	}
}
