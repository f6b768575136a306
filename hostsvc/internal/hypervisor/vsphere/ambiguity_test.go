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
						s.broken(t, d, control.Fault{Method: method, Skip: i, Count: 1, DropReply: true})
					}
				}
			})
		}
	}
}

// TestACutConnectionIsNoLostDisk cuts the content of each file that a deed reads
// or writes in its middle, one in each run.
func TestACutConnectionIsNoLostDisk(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		cut := 0
		for _, d := range deeds() {
			t.Run(disk+": "+d.name, func(t *testing.T) {
				t.Cleanup(func() { s.clean(t) })
				made := s.calls(t, d)
				for _, method := range []string{"PUT", "GET"} {
					for i := range made[method] {
						s.broken(t, d, control.Fault{Method: method, Skip: i, Count: 1, CutAfter: 3})
						cut++
					}
				}
			})
		}
		assert.Positive(t, cut)
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

// broken carries a deed out with a fault, and again if it failed.
func (s *site) broken(t *testing.T, d deed, f control.Fault) {
	t.Helper()
	w := s.prepared(t, d)
	require.NoError(t, s.sim.Fault(t.Context(), f))
	err := d.do(t.Context(), w)
	require.NoError(t, s.sim.ClearFaults(t.Context()))
	if err != nil {
		assert.Equal(t, errkind.Unavailable, errkind.Of(err), "%+v: %v", f, err)
		err = d.do(t.Context(), w)
	}
	if d.once && errkind.Is(err, errkind.Exists) {
		err = nil
	}
	require.NoError(t, err, "%+v", f)
	d.check(t, w)
	w.nothingLeft(t)
	if t.Failed() {
		t.Logf("%+v", f)
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
