package catalog

import (
	"cmp"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// Pragmas reads settings of the writing connection.
func Pragmas(t *testing.T, c *Catalog, names ...string) map[string]string {
	values := map[string]string{}
	for _, name := range names {
		var v string
		require.NoError(t, c.write.QueryRow("PRAGMA "+name).Scan(&v))
		values[name] = v
	}
	return values
}

// Plan is how the database would run the listing of one filter.
func Plan(t *testing.T, c *Catalog, explain, query string, args ...any) (plan string) {
	require.NoError(t, c.view(t.Context(), func(x *tx) error {
		return x.each(func(s scanner) error {
			var line string
			dest := []any{&line}
			if c.dialect.clock == "" { // SQLite: id, parent, unused, detail
				var a, b, d int
				dest = []any{&a, &b, &d, &line}
			}
			err := s.Scan(dest...)
			plan += line + "\n"
			return err
		}, explain+" "+query, args...)
	}))
	return plan
}

// Fleet fills an empty catalog with vmgroups g0, g1, … of ten volumes each, of
// which the last lies in the trash. It is made by the database, since ten
// thousand PutVolume are slow under the race detector.
func Fleet(tb testing.TB, c *Catalog, groups int) {
	tb.Helper()
	template := volume.Record{ID: "template", Key: volume.Key{Group: "template"}, State: volspec.Trashed, Size: volspec.GiB, Spec: volspec.Spec{Size: volspec.GiB}.Defaulted()}
	special := map[string]string{
		"id": "'v' || CAST(i AS TEXT)", "group_id": "'g' || CAST(i / 10 AS TEXT)", "name": "'volume' || CAST(i % 10 AS TEXT)",
		"datastore": "'ds' || CAST(i % 3 AS TEXT)", "state": "CASE WHEN i % 10 = 9 THEN 'trashed' ELSE 'ready' END",
	}
	names := strings.Split(strings.Join(strings.Fields(volumeCols), " "), ", ")
	values := make([]string, len(names))
	for i, name := range names {
		values[i] = cmp.Or(special[name], name)
	}
	numbers := "WITH RECURSIVE numbers (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < ?) "
	require.NoError(tb, c.update(context.Background(), func(x *tx) error {
		require.NoError(tb, x.PutGroup(volspec.VMGroup{ID: "template", Name: "template"}))
		require.NoError(tb, x.PutVolume(template))
		_, err := x.exec("INSERT INTO vmgroups ("+groupCols+") "+numbers+
			"SELECT 'g' || CAST(i AS TEXT), 'group' || CAST(i AS TEXT), '', '', '', 0, 'enabled' FROM numbers", groups)
		require.NoError(tb, err)
		_, err = x.exec("INSERT INTO volumes ("+volumeCols+") "+numbers+
			"SELECT "+strings.Join(values, ", ")+" FROM numbers, volumes WHERE id = 'template'", 10*groups)
		require.NoError(tb, err)
		require.NoError(tb, x.DeleteVolume("template"))
		return x.DeleteGroup("template")
	}))
}

// ListQuery is the statement of Volumes.
var ListQuery = listQuery

// SchemaVersion is the newest that this build knows.
func SchemaVersion(t *testing.T) int {
	all, err := migrations()
	require.NoError(t, err)
	return len(all)
}
