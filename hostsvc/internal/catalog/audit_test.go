package catalog_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/pkg/volspec"
)

// The database refuses to change lines, and what is changed all the same is
// found.
func TestAuditLinesCannotChangeUnseen(t *testing.T) {
	for name, tc := range map[string]struct {
		statement string
		broken    int64 // 0: only the head that was kept shows it
	}{
		"changed":    {"UPDATE audit SET object = 'other' WHERE link = 2", 2},
		"taken out":  {"DELETE FROM audit WHERE link = 2", 2},
		"the first":  {"DELETE FROM audit WHERE link = 1", 1},
		"cut off":    {"DELETE FROM audit WHERE link = 4", 0},
		"renumbered": {"UPDATE audit SET link = 9 WHERE link = 4", 4},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: path})
			require.NoError(t, err)
			defer func() { require.NoError(t, c.Close()) }()
			for range 4 {
				require.NoError(t, c.AuditLog().Update(t.Context(), func(tx audit.Tx) error {
					return tx.AddAudit(volspec.Audit{Action: "volume rm", Object: "db", Outcome: "ok"})
				}))
			}
			log := audit.New(c.AuditLog())
			before, err := log.Verify(t.Context(), "", nil)
			require.NoError(t, err)
			require.True(t, before[0].Whole)

			db, err := sql.Open("sqlite", path)
			require.NoError(t, err)
			defer func() { require.NoError(t, db.Close()) }()
			_, err = db.ExecContext(t.Context(), tc.statement)
			require.ErrorContains(t, err, "append-only")
			for _, s := range []string{"DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete", tc.statement} {
				_, err = db.ExecContext(context.Background(), s)
				require.NoError(t, err)
			}
			after, err := log.Verify(t.Context(), "", []string{before[0].Head})
			require.NoError(t, err)
			assert.Equal(t, tc.broken == 0, after[0].Whole)
			assert.Equal(t, tc.broken, after[0].Broken)
			require.Len(t, after, 2, "the head that was kept is not there any more")
			assert.False(t, after[1].Whole)
		})
	}
}
