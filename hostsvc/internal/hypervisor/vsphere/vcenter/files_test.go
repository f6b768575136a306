package vcenter_test

import (
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/simvc/control"
)

func TestFiles(t *testing.T) {
	sim := start(t, control.Options{})
	ctx := t.Context()
	f := connect(t, options(sim)).Files()
	read := func(name string, off, n int64) string {
		r, err := f.Get(ctx, "ds-0", name, off, n)
		require.NoError(t, err)
		defer r.Close()
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		return string(b)
	}

	_, err := f.Get(ctx, "ds-0", "mooring/x/absent", 0, 10)
	require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	require.NoError(t, f.Delete(ctx, "ds-0", "mooring/x/absent"))

	require.NoError(t, f.MakeFolder(ctx, "ds-0", "mooring/x"))
	require.NoError(t, f.MakeFolder(ctx, "ds-0", "mooring/x"))
	require.NoError(t, f.Put(ctx, "ds-0", "mooring/x/a b.json", strings.NewReader("0123456789"), 10))
	size, err := f.Size(ctx, "ds-0", "mooring/x/a b.json")
	require.NoError(t, err)
	assert.EqualValues(t, 10, size)
	assert.Equal(t, "0123456789", read("mooring/x/a b.json", 0, -1))
	assert.Equal(t, "345", read("mooring/x/a b.json", 3, 3))
	assert.Equal(t, "789", read("mooring/x/a b.json", 7, 100))
	assert.Equal(t, "56789", read("mooring/x/a b.json", 5, -1))
	assert.Empty(t, read("mooring/x/a b.json", 10, 5))
	assert.Empty(t, read("mooring/x/a b.json", 2, 0))

	require.NoError(t, f.Put(ctx, "ds-0", "mooring/x/new", strings.NewReader("new"), 3))
	require.NoError(t, f.Move(ctx, "ds-0", "mooring/x/new", "mooring/x/a b.json"))
	assert.Equal(t, "new", read("mooring/x/a b.json", 0, -1))
	require.NoError(t, f.Put(ctx, "ds-0", "mooring/x/empty", strings.NewReader(""), 0))
	assert.Empty(t, read("mooring/x/empty", 0, -1))
	require.NoError(t, f.Delete(ctx, "ds-0", "mooring/x/empty"))
	_, err = f.Size(ctx, "ds-0", "mooring/x/empty")
	require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
}
