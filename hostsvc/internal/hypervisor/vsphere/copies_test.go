package vsphere

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/simvc/control"
)

// copies are the flat files of copies that were made to be read.
func (w *world) copies(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(w.sim.Dir, w.src.Datastore, layout.Folder(w.src.Group), "read-*-flat.vmdk"))
	require.NoError(t, err)
	return found
}

func TestWhatDoesNotLieInFlatFilesIsReadFromACopy(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	w.write(t, w.src, "two")
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
	f, err := w.v.at(t.Context(), w.src, false)
	require.NoError(t, err)
	at, err := w.v.findSnapshot(t.Context(), f, "s2")
	require.NoError(t, err)
	// as ESXi keeps what was written since an earlier snapshot
	descriptor := filepath.Join(s.sim.Dir, w.src.Datastore, at.file)
	text, err := os.ReadFile(descriptor)
	require.NoError(t, err)
	require.Contains(t, string(text), " VMFS ")
	require.NoError(t, os.WriteFile(descriptor, []byte(strings.Replace(string(text), " VMFS ", " SESPARSE ", 1)), 0o600))

	img, err := w.v.OpenSnapshot(t.Context(), w.src, "s2")
	require.NoError(t, err)
	b := make([]byte, 3)
	_, err = img.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, "two", string(b))
	left := w.copies(t)
	require.Len(t, left, 1)
	for d, err := range w.v.List(t.Context(), w.src.Datastore) {
		require.NoError(t, err)
		assert.Equal(t, w.src, d.Ref, "a copy is no disk")
	}
	require.NoError(t, img.Close())
	assert.Empty(t, w.copies(t))

	// what a process that was killed has left goes when it is old
	killed, err := w.v.openSnapshot(t.Context(), w.src, "s2")
	require.NoError(t, err)
	killed.end()
	left = w.copies(t)
	require.Len(t, left, 1)
	again, err := w.v.OpenSnapshot(t.Context(), w.src, "s2")
	require.NoError(t, err)
	require.NoError(t, again.Close())
	assert.Equal(t, left, w.copies(t), "it may be read by another mooringd")
	old := time.Now().Add(-abandoned - time.Hour)
	require.NoError(t, os.Chtimes(left[0], old, old))
	again, err = w.v.OpenSnapshot(t.Context(), w.src, "s2")
	require.NoError(t, err)
	require.NoError(t, again.Close())
	assert.Empty(t, w.copies(t))
}

func TestOnlyOldSnapshotsOfCopiesAreLeftovers(t *testing.T) {
	old, fresh := time.Now().Add(-abandoned-time.Minute), time.Now()
	assert.True(t, classSnapshot{label: copyLabel + "v", created: old}.left())
	assert.False(t, classSnapshot{label: copyLabel + "v", created: fresh}.left())
	assert.False(t, classSnapshot{label: snapshotLabel + "s1", created: old}.left())
	assert.False(t, classSnapshot{label: "of somebody else", created: old}.left())
	assert.Equal(t, `s1, one for a copy to volume v, "of somebody else"`, inWordsOf([]classSnapshot{{label: snapshotLabel + "s1"}, {label: copyLabel + "v"}, {label: "of somebody else"}}))
}
