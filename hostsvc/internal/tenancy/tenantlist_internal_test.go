package tenancy

import (
	"encoding/base64"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

// A cursor is refused in words, or names the same place when it is written
// again.
func FuzzTenantCursor(f *testing.F) {
	word := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	f.Add(cursor{SortName, false, TenantPlace{Name: "a", ID: "g1"}}.encode(), SortName, false)
	f.Add(cursor{SortUsers, true, TenantPlace{Number: 1 << 62, ID: "g1"}}.encode(), SortUsers, true)
	f.Add(word(`{"sort":"name","name":"\u0000","id":"'; --"}`), SortName, false)
	f.Add(word("{\"sort\":\"name\",\"id\":\"\xff\"}"), SortName, false)
	f.Add(word(`{"sort":"users","number":1e99}`), SortUsers, false)
	f.Add(word("null"), "", false)
	f.Add("%", "no such order", false)
	f.Fuzz(func(t *testing.T, after, sort string, desc bool) {
		q := TenantQuery{After: after, Sort: sort, Desc: desc}
		got, err := q.filter()
		if err != nil {
			assert.Equal(t, errkind.Invalid, errkind.Of(err), "%v", err)
			return
		}
		if got.After == nil {
			assert.Empty(t, after)
			return
		}
		q.After = cursor{got.Sort, got.Desc, *got.After}.encode()
		again, err := q.filter()
		require.NoError(t, err)
		assert.Equal(t, got, again)
	})
}
