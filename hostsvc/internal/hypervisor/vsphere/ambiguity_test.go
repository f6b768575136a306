package vsphere

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// asks are calls that change nothing.
func asks(method string) bool {
	for _, p := range []string{"Retrieve", "VslmRetrieve", "VslmQuery", "VslmList", "Query", "Search", "CreateContainerView", "DestroyView", "Login", "CreateFilter", "WaitForUpdates", "CancelWait", "DestroyPropertyFilter", "CreatePropertyCollector", "DestroyPropertyCollector", "ContinueRetrieve", "CurrentTime"} {
		if strings.HasPrefix(method, p) {
			return true
		}
	}
	return false
}

// TestALostReplyIsNoLostDisk loses the reply of each call that a deed makes,
// one in each run, after vSphere has carried it out.
func TestALostReplyIsNoLostDisk(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		for _, d := range deeds() {
			t.Run(disk+": "+d.name, func(t *testing.T) {
				t.Cleanup(func() { s.clean(t) })
				for method, times := range s.calls(t, d) {
					for i := range times {
						s.lost(t, d, method, i)
					}
				}
			})
		}
	}
}

// calls are the calls of a deed that change something.
func (s *site) calls(t *testing.T, d deed) map[string]int {
	w := s.prepared(t, d)
	require.NoError(t, s.sim.ResetCalls(t.Context()))
	require.NoError(t, d.do(t.Context(), w))
	made, err := s.sim.Calls(t.Context())
	require.NoError(t, err)
	maps.DeleteFunc(made, func(method string, _ int) bool { return asks(method) })
	require.NotEmpty(t, made)
	return made
}

func (s *site) lost(t *testing.T, d deed, method string, skip int) {
	t.Helper()
	w := s.prepared(t, d)
	require.NoError(t, s.sim.Fault(t.Context(), control.Fault{Method: method, Skip: skip, Count: 1, DropReply: true}))
	err := d.do(t.Context(), w)
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	if err != nil {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "the reply of %s %d: %v", method, skip, err)
		err = d.do(t.Context(), w)
	}
	if d.once && errkind.Is(err, errkind.Exists) {
		err = nil
	}
	require.NoError(t, err, "the reply of %s %d was lost", method, skip)
	d.check(t, w)
	w.nothingLeft(t)
	if t.Failed() {
		t.Logf("the reply of %s %d was lost", method, skip)
	}
}

// bounds are how many calls one operation may make of vCenter, on a disk alone,
// with a session that lives.
var bounds = map[string]int{
	"create": 24, "create again": 16, "stat": 8, "list": 8, "delete": 26, "snapshot": 18, "snapshots": 12, "delete snapshot": 18, "metadata": 9,
}

func TestCallsOfOneOperationAreFew(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	v := s.open(t)
	r := hypervisor.Ref{Datastore: "ds-0", Group: "g", Volume: "v"}
	ctx := t.Context()
	_, err := v.Datastores(ctx) // logs in
	require.NoError(t, err)
	for _, op := range []struct {
		name string
		do   func() error
	}{
		{"create", func() error { return v.Create(ctx, r, small, volspec.Thin) }},
		{"create again", func() error { return v.Create(ctx, r, small, volspec.Thin) }},
		{"metadata", func() error { return v.PutMeta(ctx, r, []byte("record")) }},
		{"stat", func() error { _, err := v.Stat(ctx, r); return err }},
		{"list", func() error {
			for _, err := range v.List(ctx, "ds-0") {
				if err != nil {
					return err
				}
			}
			return nil
		}},
		{"snapshot", func() error { return v.Snapshot(ctx, r, "s1") }},
		{"snapshots", func() error { _, err := v.Snapshots(ctx, r); return err }},
		{"delete snapshot", func() error { return v.DeleteSnapshot(ctx, r, "s1") }},
		{"delete", func() error { return v.Delete(ctx, r) }},
	} {
		require.NoError(t, s.sim.ResetCalls(ctx))
		require.NoError(t, op.do(), op.name)
		made, err := s.sim.Calls(ctx)
		require.NoError(t, err)
		sum := 0
		for _, n := range made {
			sum += n
		}
		t.Logf("%s: %d calls %v", op.name, sum, slices.Sorted(maps.Keys(made)))
		assert.LessOrEqual(t, sum, bounds[op.name], "%s: %v", op.name, made)
	}
}
