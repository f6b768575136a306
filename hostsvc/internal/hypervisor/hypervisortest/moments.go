package hypervisortest

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var moments = []sentence{
	{"Moment", `Moment names the moment of a snapshot for a later ChangedSince; "" where changes are not tracked.`, momentOutlives},
	{"Moment", "No such disk or snapshot: not-found.", momentAbsent},
	{"ChangedSince", "ChangedSince is Imager.Changed from a moment on.", momentOutlives},
	{"ChangedSince", "It works after the snapshot of that moment is gone.", momentOutlives},
	{"ChangedSince", "Where changes were not tracked all the time, or the moment is of another disk: unsupported with the reason, as the only element.", momentOfAnother},
}

// tracker is nil, and the test skipped, where the hypervisor has no such
// ability.
func (e *env) tracker(t *testing.T) hypervisor.Moments {
	m, ok := hypervisor.As[hypervisor.Moments](e.h)
	if !ok {
		t.Skip("the hypervisor does not remember what changed")
	}
	return m
}

// moment takes a snapshot and names its moment.
func (e *env) moment(t *testing.T, r hypervisor.Ref, id volspec.SnapshotID) string {
	e.snapshot(t, r, id)
	at, err := e.tracker(t).Moment(e.ctx, r, id)
	require.NoError(t, err)
	again, err := e.tracker(t).Moment(e.ctx, r, id)
	require.NoError(t, err)
	assert.Equal(t, at, again)
	return at
}

func momentOutlives(t *testing.T, e *env) {
	m, r := e.tracker(t), e.disk(t)
	e.put(t, r, 0, bytes.Repeat([]byte("a"), 1<<20))
	at := e.moment(t, r, "s1")
	if at == "" {
		e.snapshot(t, r, "s2")
		requireKind(t, errkind.Unsupported, refused(t, m.ChangedSince(e.ctx, r, at, "s2")))
		return
	}
	point := e.whole(t, e.openSnapshot(t, r, "s1"))
	require.NoError(t, e.snapshotter(t).DeleteSnapshot(e.ctx, r, "s1"))
	e.put(t, r, 64<<10, []byte("inside"))
	e.put(t, r, 8<<20, []byte("new"))
	next := e.moment(t, r, "s2")
	e.put(t, r, 0, []byte("later"))
	assert.NotEqual(t, at, next)
	now := e.whole(t, e.openSnapshot(t, r, "s2"))
	changed := int64(0)
	for _, x := range extents(t, m.ChangedSince(e.ctx, r, at, "s2"), int64(size)) {
		copy(point[x.Offset:x.End()], now[x.Offset:])
		changed += x.Length
	}
	assert.True(t, bytes.Equal(now, point))
	assert.LessOrEqual(t, changed, int64(256<<10), "it costs what changed")
	assert.Empty(t, extents(t, m.ChangedSince(e.ctx, r, next, "s2"), int64(size)))
}

func momentAbsent(t *testing.T, e *env) {
	m, r := e.tracker(t), e.disk(t)
	at := e.moment(t, r, "s1")
	for _, c := range []struct {
		r  hypervisor.Ref
		id volspec.SnapshotID
	}{{r, "s9"}, {e.ref(), "s1"}} {
		_, err := m.Moment(e.ctx, c.r, c.id)
		requireKind(t, errkind.NotFound, err)
		requireKind(t, errkind.NotFound, refused(t, m.ChangedSince(e.ctx, c.r, at, c.id)))
	}
}

func momentOfAnother(t *testing.T, e *env) {
	m, r, other := e.tracker(t), e.disk(t), e.disk(t)
	foreign := e.moment(t, other, "s1")
	own := e.moment(t, r, "s1")
	for _, at := range []string{"", "junk", foreign} {
		err := refused(t, m.ChangedSince(e.ctx, r, at, "s1"))
		requireKind(t, errkind.Unsupported, err)
		assert.Contains(t, errkind.Text(err), string(r.Volume), "the reason")
	}
	require.NoError(t, e.build(r, "before", word("new")))
	e.snapshot(t, r, "s2")
	requireKind(t, errkind.Unsupported, refused(t, m.ChangedSince(e.ctx, r, own, "s2")))
}
