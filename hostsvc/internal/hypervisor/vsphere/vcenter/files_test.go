package vcenter_test

import (
	"io"
	"os"
	"path/filepath"
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

// An operation whose answer is lost, or whose connection is cut in its middle,
// can be repeated, and then has happened once.
func TestFilesWhoseAnswerIsLost(t *testing.T) {
	sim := start(t, control.Options{})
	ctx := t.Context()
	f := connect(t, options(sim)).Files()
	put := func(name string) error {
		return f.Put(ctx, "ds-0", name, strings.NewReader("0123456789"), 10)
	}
	for _, c := range []struct {
		name  string
		fault control.Fault
		do    func() error
		left  map[string]string
	}{
		{"put", control.Fault{Method: "PUT", DropReply: true}, func() error { return put("mooring/x/a") }, map[string]string{"a": "0123456789"}},
		{"put cut", control.Fault{Method: "PUT", CutAfter: 3}, func() error { return put("mooring/x/a") }, map[string]string{"a": "0123456789"}},
		{"move", control.Fault{Method: "MoveDatastoreFile_Task", DropReply: true}, func() error {
			return f.Move(ctx, "ds-0", "mooring/x/from", "mooring/x/to")
		}, map[string]string{"to": "0123456789"}},
		{"delete", control.Fault{Method: "DeleteDatastoreFile_Task", DropReply: true}, func() error {
			return f.Delete(ctx, "ds-0", "mooring/x/from")
		}, map[string]string{}},
		{"folder", control.Fault{Method: "MakeDirectory", DropReply: true}, func() error {
			return f.MakeFolder(ctx, "ds-0", "mooring/x/y")
		}, map[string]string{"y": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(sim.Dir, "ds-0", "mooring", "x")
			require.NoError(t, os.RemoveAll(dir))
			require.NoError(t, f.MakeFolder(ctx, "ds-0", "mooring/x"))
			if c.name == "move" || c.name == "delete" {
				require.NoError(t, put("mooring/x/from"))
			}
			c.fault.Count = 1
			require.NoError(t, sim.Fault(ctx, c.fault))
			err := c.do()
			require.NoError(t, sim.ClearFaults(ctx))
			if err != nil {
				require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
				require.NoError(t, c.do(), "again")
			}
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			left := map[string]string{}
			for _, e := range entries {
				data, _ := os.ReadFile(filepath.Join(dir, e.Name())) // a folder has none
				left[e.Name()] = string(data)
			}
			assert.Equal(t, c.left, left)
		})
	}
}
