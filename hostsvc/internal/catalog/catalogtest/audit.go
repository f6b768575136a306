package catalogtest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/volspec"
)

// auditChains checks that lines hang together by the id of a vmgroup, whoever
// writes, and that nobody's lines tell of others'.
func auditChains(t *testing.T, b Backend) {
	c := open(t, b)
	log := audit.New(c.AuditLog())
	add := func(c Catalog, group, object string) {
		require.NoError(t, c.AuditLog().Update(context.Background(), func(tx audit.Tx) error {
			return tx.AddAudit(volspec.Audit{VMGroup: group, Action: "volume create", Object: object, Outcome: "ok", Detail: "a\x00b"})
		}))
	}

	// Two processes write at a time: no chain forks.
	var wg sync.WaitGroup
	other := b.Again(t, c)
	for n, writer := range []Catalog{c, other} {
		wg.Go(func() {
			for i := range 20 {
				add(writer, []string{"A", "B", ""}[i%3], fmt.Sprint(n, " ", i))
			}
		})
	}
	wg.Wait()
	checks, err := log.Verify(t.Context(), "", nil)
	require.NoError(t, err)
	require.Len(t, checks, 3)
	heads, lines := []string{}, int64(0)
	for i, name := range []string{"", "A", "B"} {
		assert.Equal(t, name, checks[i].VMGroup)
		assert.True(t, checks[i].Whole, checks[i].Detail)
		heads, lines = append(heads, checks[i].Head), lines+checks[i].Lines
	}
	assert.EqualValues(t, 40, lines)

	// Heads stay when more comes; one that never was is told.
	add(c, "A", "later")
	checks, err = log.Verify(t.Context(), "", append(heads, "0000"))
	require.NoError(t, err)
	require.Len(t, checks, 4)
	assert.False(t, checks[3].Whole)
	assert.Equal(t, "0000", checks[3].Head)

	// The cursor of one vmgroup counts its own lines; a confined reader has no
	// other, whatever it asks for.
	confined := volspec.Confine(t.Context(), groupA)
	page, err := log.Page(confined, "A", audit.Query{Limit: 3})
	require.NoError(t, err)
	assert.Equal(t, "13", page.Next, "15 lines of A, of which three are shown")
	seen := len(page.Entries)
	for page.Next != "" {
		page, err = log.Page(confined, "", audit.Query{Limit: 3, After: page.Next})
		require.NoError(t, err)
		for _, e := range page.Entries {
			assert.Equal(t, "A", e.VMGroup)
		}
		seen += len(page.Entries)
	}
	assert.Equal(t, 15, seen)
	_, err = log.Page(confined, "B", audit.Query{})
	require.Error(t, err)

	// The line of a removal is in the chain of what was removed; who has the
	// name next sees nothing of it.
	groups(t, c, func(tx tenancy.Tx) error {
		if err := tx.DeleteGroup(groupA); err != nil {
			return err
		}
		return tx.AddAudit(volspec.Audit{VMGroup: "A", Action: "vmgroup rm"})
	})
	groups(t, c, func(tx tenancy.Tx) error { return tx.PutGroup(volspec.VMGroup{ID: "new", Name: "A"}) })
	page, err = log.Page(t.Context(), "A", audit.Query{})
	require.NoError(t, err)
	assert.Empty(t, page.Entries)
	checks, err = log.Verify(t.Context(), "", nil)
	require.NoError(t, err)
	assert.EqualValues(t, 16, checks[1].Lines)
	assert.Contains(t, checks[1].Detail, "gone")
}
