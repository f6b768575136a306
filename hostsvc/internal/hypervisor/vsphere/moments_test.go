package vsphere

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

func (w *world) since(t *testing.T, moment string, id volspec.SnapshotID) (all []image.Extent, err error) {
	t.Helper()
	for e, err := range w.v.ChangedSince(t.Context(), w.src, moment, id) {
		if err != nil {
			require.Empty(t, all, "the error is the only element")
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func TestChangesAreToldSinceASnapshotThatIsGone(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	moment, err := w.v.Moment(t.Context(), w.src, "s1")
	require.NoError(t, err)
	require.NotEmpty(t, moment)
	point := w.content(t, "s1")
	require.NoError(t, w.v.DeleteSnapshot(t.Context(), w.src, "s1"))
	w.write(t, w.src, "two")
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s2"))
	changed, err := w.since(t, moment, "s2")
	require.NoError(t, err)
	require.Len(t, changed, 1)
	now := w.content(t, "s2")
	for _, e := range changed {
		copy(point[e.Offset:e.End()], now[e.Offset:])
	}
	assert.Equal(t, now, point)

	for _, c := range []struct{ moment, reason string }{{"", "not tracked"}, {"junk", "shape"}, {"52 c0 0d c1 33 1b 2e 5a-9f 6c 3a 27 2e 22 9b 11/1", "begun anew"}} {
		_, err := w.since(t, c.moment, "s2")
		require.Equal(t, errkind.Unsupported, errkind.Of(err), "%q: %v", c.moment, err)
		assert.Contains(t, errkind.Text(err), c.reason)
	}
	require.NoError(t, w.sim.ResetCBT(t.Context(), w.class(t).id.Id))
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s3"))
	_, err = w.since(t, moment, "s3")
	require.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", err)
	_, err = w.since(t, moment, "s9")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	_, err = w.v.Moment(t.Context(), w.src, "s9")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))

	// content that was replaced since is no change of the old disk
	require.NoError(t, w.v.Build(t.Context(), w.src, small, volspec.Thin, "s4", word("new")))
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s5"))
	_, err = w.since(t, moment, "s5")
	assert.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", err)
	kept, err := w.v.Moment(t.Context(), w.src, "s4")
	require.NoError(t, err)
	assert.Empty(t, kept, "the content of a replaced disk has none")
}

func TestAPlainDiskHasNoMoments(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w := s.world(t)
	require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
	moment, err := w.v.Moment(t.Context(), w.src, "s1")
	require.NoError(t, err)
	assert.Empty(t, moment)
	_, err = w.since(t, moment, "s1")
	assert.Equal(t, errkind.Unsupported, errkind.Of(err))
}
