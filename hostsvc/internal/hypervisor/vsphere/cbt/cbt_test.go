package cbt_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

const (
	genA = "52 c0 0d c1 33 1b 2e 5a-9f 6c 3a 27 2e 22 9b 11"
	genB = "52 c0 0d c1 33 1b 2e 5a-9f 6c 3a 27 2e 22 9b 12"
)

// The numbers are those of the rules in the documentation of backup.

func TestAnIDOfAnotherShapeIsNeverSent(t *testing.T) {
	for _, bad := range []string{"", "*", "x", genA, genA + "/", genA + "/x", genA + "/-1", "zz" + genA[2:] + "/1", genA + "/1 ", strings.ReplaceAll(genA, "-", " ") + "/1", genA + "/123456789012345678901"} {
		_, err := cbt.ParseID(bad)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%q", bad)
	}
	id, err := cbt.ParseID(strings.ToUpper(genA) + "/17")
	require.NoError(t, err)
	assert.Equal(t, cbt.ID{Generation: genA, Counter: "17"}, id)
	assert.Equal(t, genA+"/17", id.String())
}

func FuzzParseID(f *testing.F) {
	f.Add(genA + "/1")
	f.Add("*")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := cbt.ParseID(s)
		if err != nil {
			return
		}
		again, err := cbt.ParseID(id.String())
		require.NoError(t, err)
		assert.Equal(t, id, again)
	})
}

func TestChangesAreAskedForWithinOneGeneration(t *testing.T) {
	for _, c := range []struct{ base, now, reason string }{
		{genA + "/1", genA + "/2", ""},
		{genA + "/2", genA + "/2", ""},
		{genA + "/9", genA + "/10", ""},
		{"", genA + "/2", "not tracked when the older"},
		{genA + "/2", "", "not tracked when the newer"},
		{"junk", genA + "/2", "shape"},
		{genA + "/2", "junk", "shape"},
		{genA + "/1", genB + "/2", "begun anew"},
		{genA + "/10", genA + "/9", "older than"},
		{genA + "/18446744073709551616", genA + "/18446744073709551615", "older than"},
	} {
		id, err := cbt.Compare(c.base, c.now)
		if c.reason == "" {
			require.NoError(t, err)
			assert.Equal(t, c.base, id.String(), "the older one is what is asked with")
			continue
		}
		assert.Equal(t, errkind.Unsupported, errkind.Of(err), "%v", c)
		assert.ErrorContains(t, err, c.reason)
	}
}

// tracked answers as a server does: so many areas at a time, some of them
// beyond the end, in no order.
type tracked struct {
	areas []image.Extent
	step  int64
	asked []int64
}

func (q *tracked) Query(_ context.Context, offset int64) (cbt.Batch, error) {
	q.asked = append(q.asked, offset)
	b := cbt.Batch{Offset: offset, Length: q.step}
	for i := len(q.areas) - 1; i >= 0; i-- {
		e := q.areas[i]
		if e.End() > offset && e.Offset < offset+q.step {
			b.Areas = append(b.Areas, e)
		}
	}
	return b, nil
}

func collect(t require.TestingT, seq image.Extents) (all []image.Extent) {
	for e, err := range seq {
		require.NoError(t, err)
		all = append(all, e)
	}
	return all
}

func TestAreasAreAskedForUntilTheEnd(t *testing.T) {
	q := &tracked{step: 100, areas: []image.Extent{{Offset: 10, Length: 5}, {Offset: 380, Length: 90}}}
	got := collect(t, cbt.Areas(t.Context(), q, 400))
	assert.Equal(t, []int64{0, 100, 200, 300}, q.asked, "a batch without areas is not the end")
	assert.Equal(t, []image.Extent{{Offset: 10, Length: 5}, {Offset: 380, Length: 20}}, got, "cut at the capacity")
	q = &tracked{step: 1000}
	assert.Empty(t, collect(t, cbt.Areas(t.Context(), q, 400)))
	assert.Len(t, q.asked, 1)
}

func TestAreasAreOrderedMergedAndComplete(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const capacity = 4000
		q := &tracked{step: rapid.Int64Range(1, 900).Draw(rt, "step")}
		want := make([]bool, capacity)
		for range rapid.IntRange(0, 12).Draw(rt, "areas") {
			e := image.Extent{Offset: rapid.Int64Range(0, capacity+50).Draw(rt, "offset"), Length: rapid.Int64Range(0, 500).Draw(rt, "length")}
			q.areas = append(q.areas, e)
			for i := e.Offset; i < min(e.End(), capacity); i++ {
				want[i] = true
			}
		}
		got := make([]bool, capacity)
		end := int64(-1)
		for _, e := range collect(rt, cbt.Areas(context.Background(), q, capacity)) {
			require.Greater(rt, e.Offset, end, "in order, and merged where they touch")
			require.Positive(rt, e.Length)
			end = e.End()
			for i := e.Offset; i < end; i++ {
				got[i] = true
			}
		}
		assert.Equal(rt, want, got)
	})
}

func TestAnAnswerThatDoesNotGoOnIsCorrupt(t *testing.T) {
	for _, b := range []cbt.Batch{{Offset: 0, Length: 0}, {Offset: 0, Length: -5}, {Offset: 50, Length: 100}} {
		var errs []error
		for _, err := range cbt.Areas(t.Context(), cbt.QuerierFunc(func(context.Context, int64) (cbt.Batch, error) { return b, nil }), 1000) {
			errs = append(errs, err)
		}
		require.Len(t, errs, 1)
		assert.Equal(t, errkind.Corrupt, errkind.Of(errs[0]))
	}
}

func TestTheFirstErrorEndsAreas(t *testing.T) {
	boom := errors.New("boom")
	calls := 0
	var got []image.Extent
	var last error
	for e, err := range cbt.Areas(t.Context(), cbt.QuerierFunc(func(_ context.Context, at int64) (cbt.Batch, error) {
		if calls++; calls == 2 {
			return cbt.Batch{}, boom
		}
		return cbt.Batch{Offset: at, Length: 100, Areas: []image.Extent{{Offset: 0, Length: 10}, {Offset: 50, Length: 10}}}, nil
	}), 1000) {
		got, last = append(got, e), err
	}
	assert.ErrorIs(t, last, boom)
	assert.Len(t, got, 2, "what was complete before it, and the error")
	for range cbt.Areas(t.Context(), &tracked{step: 100, areas: []image.Extent{{Offset: 0, Length: 1}, {Offset: 300, Length: 1}}}, 400) {
		break // no more are wanted
	}
}

func vimFault(f types.BaseMethodFault) error { return soap.WrapVimFault(f) }

func keyed(key string) types.BaseMethodFault {
	return &types.FileFault{VimFault: types.VimFault{MethodFault: types.MethodFault{FaultMessage: []types.LocalizableMessage{{Key: key}}}}}
}

func TestFaultsHaveAMeaning(t *testing.T) {
	for _, c := range []struct {
		err  error
		kind errkind.Kind
		says string
	}{
		{vimFault(keyed("vim.hostd.vmsvc.cbt.noTrack")), errkind.Unsupported, "not tracked"},
		{vimFault(keyed("vim.hostd.vmsvc.cbt.noEpoch")), errkind.Unsupported, "begun anew"},
		{vimFault(keyed("vim.hostd.vmsvc.cbt.cannotGetChanges")), errkind.Unsupported, "does not know"},
		{vimFault(keyed("vim.hostd.vmsvc.cbt.corrupted")), errkind.Unsupported, "damaged"},
		{vimFault(&types.InvalidArgument{InvalidProperty: "changeId"}), errkind.Unsupported, "does not know"},
		{vimFault(&types.InvalidArgument{InvalidProperty: "startOffset"}), errkind.Internal, "wrongly"},
		{vimFault(&types.InvalidArgument{InvalidProperty: "snapshotId"}), errkind.Internal, "wrongly"},
		{vimFault(&types.InvalidArgument{InvalidProperty: "deviceKey"}), errkind.Internal, "wrongly"},
		{errkind.Wrap(errkind.Unavailable, vimFault(keyed("vim.hostd.vmsvc.cbt.noTrack")), "asking"), errkind.Unsupported, "not tracked"},
	} {
		got := cbt.Explain(c.err)
		assert.Equal(t, c.kind, errkind.Of(got), "%v", c.err)
		assert.ErrorContains(t, got, c.says)
	}
	for _, passing := range []error{vimFault(keyed("msg.fileio.lock")), vimFault(&types.SystemError{Reason: "busy"}), vimFault(&types.InvalidArgument{InvalidProperty: "id"}), errors.New("cut")} {
		assert.Equal(t, passing, cbt.Explain(passing), "it may pass: nothing is concluded from it")
	}
	assert.NoError(t, cbt.Explain(nil))
}
