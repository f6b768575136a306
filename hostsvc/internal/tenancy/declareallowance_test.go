package tenancy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (w *world) allowance(group string) wire.Allowance {
	w.t.Helper()
	a, err := w.Allowance(w.t.Context(), group)
	require.NoError(w.t, err)
	return a
}

func (w *world) bound(group string) (names []string) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Tenancy().View(w.t.Context(), func(tx tenancy.Tx) error {
		g, err := tx.GroupByName(group)
		if err == nil {
			names, err = tx.Bound(g.ID)
		}
		return err
	}))
	return names
}

// amounts are those of a file, which says nothing of storage.
func amounts(sockets, vms, volumes int64) *volspec.Amounts {
	return &volspec.Amounts{Sockets: sockets, VMs: vms, Volumes: volumes, Storage: volspec.Unbounded}
}

func TestApplyAllowances(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("a")
	_, err := w.SetAllowance(ctx, root, "a", wire.Amounts{VMs: n(2), Storage: n(int64(gib))})
	require.NoError(t, err)
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{{Name: "a"}, {Name: "b"}}))
	assert.EqualValues(t, 2, w.allowance("a").VMs.Desired, "what the file does not say stays")
	_, err = w.SetAllowance(ctx, root, "a", wire.Amounts{VMs: n(3), Storage: n(int64(gib))})
	require.NoError(t, err, "and is set by hand")

	both := func(a, b *volspec.Amounts) error {
		return w.Apply(ctx, file, []tenancy.Declared{{Name: "a", Allowance: a}, {Name: "b", Allowance: b}})
	}
	require.NoError(t, both(amounts(4, 6, volspec.Unbounded), amounts(2, 4, 7)))
	a, b := w.allowance("a"), w.allowance("b")
	assert.Equal(t, []int64{4, 6, 0, int64(gib)}, []int64{a.Sockets.Desired, a.VMs.Desired, a.Volumes.Desired, a.Storage.Desired})
	assert.False(t, a.Volumes.Bounded)
	assert.Equal(t, []int64{2, 4, 7}, []int64{b.Sockets.Desired, b.VMs.Desired, b.Volumes.Desired})
	lines := len(w.audit())
	require.NoError(t, both(amounts(4, 6, volspec.Unbounded), amounts(2, 4, 7)))
	assert.Len(t, w.audit(), lines, "the same again is no change")

	_, err = w.SetPool(ctx, root, wire.Amounts{VMs: n(10)})
	require.NoError(t, err)
	require.NoError(t, both(amounts(4, 7, volspec.Unbounded), amounts(2, 3, 7)), "the first gets what the second gives")
	require.NoError(t, both(amounts(4, 3, volspec.Unbounded), amounts(2, 7, 7)))

	err = w.Apply(ctx, file, []tenancy.Declared{{Name: "a", Description: "new", Allowance: amounts(4, 4, 0)}, {Name: "b", Allowance: amounts(2, 7, 7)}, {Name: "c"}})
	assert.Equal(t, errkind.Quota, errkind.Of(err))
	assert.ErrorContains(t, err, "vmgroup a ("+file+"): vmgroup a cannot have 4 protected VMs: the pool has 10, of which 7 are delegated to other vmgroups and 3 are left")
	assert.EqualValues(t, 3, w.allowance("a").VMs.Desired)
	assert.Empty(t, w.get("a").Description, "nothing of the file is applied")
	_, err = w.Get(ctx, "c")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))

	_, err = w.SetAllowance(ctx, root, "a", wire.Amounts{VMs: n(1), Storage: n(int64(gib))})
	refused(t, err, errkind.Denied, "the allowance of vmgroup a is declared in "+file+": change it there and reload")
	require.NoError(t, w.Apply(ctx, file, nil))
	_, err = w.SetAllowance(ctx, root, "a", wire.Amounts{VMs: n(1)})
	require.NoError(t, err, "out of the file it is the administrator's again")
}

func TestApplyTransporters(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	require.NoError(t, w.cat.Transporters().Update(ctx, func(tx transporter.Tx) error {
		return tx.PutTransporter(transporter.Transporter{Name: "site-b"})
	}))
	apply := func(names []string) error {
		return w.Apply(ctx, file, []tenancy.Declared{{Name: "a", Transporters: names}})
	}
	for _, c := range []struct {
		names, want []string
		lines       int
	}{
		{nil, []string{"built-in"}, 1},
		{[]string{"site-b", "built-in"}, []string{"built-in", "site-b"}, 2},
		{[]string{"built-in", "site-b"}, []string{"built-in", "site-b"}, 2},
		{[]string{"site-b"}, []string{"site-b"}, 3},
		{[]string{}, []string{}, 4},
		{[]string{}, []string{}, 4},
		{nil, []string{}, 5},
	} {
		require.NoError(t, apply(c.names))
		assert.ElementsMatch(t, c.want, w.bound("a"))
		assert.Len(t, w.audit(), c.lines, "%v", c.names)
	}
	err := apply([]string{"site-b", "site-c"})
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.ErrorContains(t, err, "vmgroup a ("+file+"): transporter site-c does not exist: there are built-in, site-b, see `mooring transporter ls`")
	assert.Empty(t, w.bound("a"))

	require.NoError(t, apply([]string{"built-in"}))
	s := transporter.New(transporter.Options{Store: w.cat.Transporters()})
	_, err = s.Set(ctx, root, "a", []string{"site-b"})
	refused(t, err, errkind.Denied, "the transporters of vmgroup a are declared in "+file+": change them there and reload")
	assert.Equal(t, []string{"built-in"}, w.bound("a"))
	require.NoError(t, apply(nil))
	_, err = s.Set(ctx, root, "a", []string{"site-b"})
	require.NoError(t, err)
}
