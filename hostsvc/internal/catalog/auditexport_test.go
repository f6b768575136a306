package catalog_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/volspec/volspectest"
	"mooring.dev/mooring/pkg/wire"
)

// An export is one line for each that was written, whatever things are called,
// and says what they are called. The chain is whole.
func TestNamesAreWordsInAnExport(t *testing.T) {
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	defer func() { require.NoError(t, c.Close()) }()
	names := slices.Sorted(maps.Values(volspectest.Hostile))
	require.NoError(t, c.AuditLog().Update(t.Context(), func(tx audit.Tx) error {
		for _, name := range names {
			if err := tx.AddAudit(volspec.Audit{Actor: "user:" + name, Action: "volume rm", Object: name, Detail: "volume " + name + " is gone", Outcome: "ok"}); err != nil {
				return err
			}
		}
		return nil
	}))
	log := audit.New(c.AuditLog())
	var b bytes.Buffer
	require.NoError(t, log.Export(t.Context(), "", audit.Query{}, &b))
	assert.Equal(t, -1, strings.IndexFunc(b.String(), func(r rune) bool { return r != '\n' && visible.Hidden(r) }))
	var have []string
	s := bufio.NewScanner(&b)
	for s.Buffer(nil, 1<<20); s.Scan(); {
		var l wire.AuditLine
		require.NoError(t, json.Unmarshal(s.Bytes(), &l), s.Text())
		have = append(have, l.Object)
	}
	require.NoError(t, s.Err())
	want := slices.Clone(names)
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], "\x00", "\ufffd") // PostgreSQL cannot store it
		if len(want[i]) > 4000 {
			want[i] = want[i][:4000] + "…"
		}
	}
	assert.Equal(t, want, have)
	found, err := log.Verify(t.Context(), "", nil)
	require.NoError(t, err)
	assert.True(t, found[0].Whole, found[0].Detail)
}
