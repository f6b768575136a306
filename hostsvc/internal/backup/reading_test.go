package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// oneFile is a filesystem with one file.
type oneFile struct{ text string }

func (f oneFile) List(context.Context, string, string, int) ([]wire.File, string, error) {
	return []wire.File{{Name: "a.txt"}}, "", nil
}

func (f oneFile) OpenFile(context.Context, string) (io.ReadCloser, wire.File, error) {
	return io.NopCloser(strings.NewReader(f.text)), wire.File{Name: "a.txt", Size: int64(len(f.text))}, nil
}

func (f oneFile) Tar(_ context.Context, w io.Writer, _ []string) error {
	_, err := io.WriteString(w, f.text)
	return err
}

func (f oneFile) Close() error { return nil }

// cutWriter takes so many bytes, as one whose reader leaves.
type cutWriter struct{ left int }

func (c *cutWriter) Write(b []byte) (int, error) {
	n := min(len(b), c.left)
	c.left -= n
	if n < len(b) {
		return n, errors.New("connection reset")
	}
	return n, nil
}

// Whoever reads content leaves two lines: that it began, and how much was
// given.
func TestReadingContentIsAudited(t *testing.T) {
	w := newWorld(t)
	w.files = oneFile{"hello"}
	w.disks.write(w.disks.add(w.group, "db", 1<<20), 0, noise(1, 1<<20))
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	proc.run(t, "db")
	point := string(proc.in(t, "main")[0].ID)
	anna := volspec.Caller{Role: volspec.TenantAdmin, Group: w.group.ID, GroupName: "Dev", As: "Dev", Actor: "user:anna", From: "192.0.2.7"}
	none := func(string, int64) {}
	for name, tc := range map[string]struct {
		read   func(io.Writer) error
		bytes  int
		action string
	}{
		"file":    {func(w io.Writer) error { return proc.File(t.Context(), anna, "Dev", point, "/a.txt", none, w) }, 5, "point get"},
		"archive": {func(w io.Writer) error { return proc.Tar(t.Context(), anna, "Dev", point, []string{"/"}, none, w) }, 5, "point tar"},
		"disk":    {func(w io.Writer) error { return proc.Image(t.Context(), anna, "Dev", point, none, w) }, 1 << 20, "point export"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, tc.read(&cutWriter{tc.bytes}))
			require.Error(t, tc.read(&cutWriter{3}))
			lines := w.lines(t, tc.action)
			require.Len(t, lines, 4)
			for _, l := range lines {
				assert.Equal(t, []string{"user:anna", "Dev", "192.0.2.7", "Dev"}, []string{l.Actor, l.As, l.From, l.VMGroup})
				assert.Contains(t, l.Object, point)
			}
			assert.Equal(t, []string{"begun", "ok"}, []string{lines[0].Detail, lines[0].Outcome})
			assert.Equal(t, []string{fmt.Sprintf("%d bytes", tc.bytes), "ok"}, []string{lines[1].Detail, lines[1].Outcome})
			assert.Equal(t, "begun", lines[2].Detail)
			assert.NotEqual(t, "ok", lines[3].Outcome)
			assert.Contains(t, lines[3].Detail, "cut off after 3 bytes")
		})
	}
	_, err := proc.Files(t.Context(), anna, "Dev", point, "/", "", 0)
	require.NoError(t, err)
	assert.Len(t, w.lines(t, "point files"), 1)
	_, err = proc.Kit(t.Context(), anna, "Dev", "main", wire.KitOptions{})
	require.NoError(t, err)
	assert.Len(t, w.lines(t, "repository kit"), 1)
}

// lines are those of one action, oldest first.
func (w *world) lines(t *testing.T, action string) []wire.AuditEntry {
	t.Helper()
	page, err := audit.New(w.store.AuditLog()).Page(t.Context(), "Dev", audit.Query{Action: action, Limit: 100})
	require.NoError(t, err)
	out := []wire.AuditEntry{}
	for i := len(page.Entries) - 1; i >= 0; i-- {
		out = append(out, page.Entries[i])
	}
	return out
}
