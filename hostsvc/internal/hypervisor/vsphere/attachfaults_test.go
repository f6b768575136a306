package vsphere

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// plugging is a change of who has a disk, and what is true after it.
type plugging struct {
	name  string
	held  bool // before
	do    func(ctx context.Context, v *VSphere, vm volspec.VMID, r hypervisor.Ref) error
	after []bool // the modes in which it is attached then: read-only or not
}

func pluggings() []plugging {
	attach := func(readOnly bool) func(context.Context, *VSphere, volspec.VMID, hypervisor.Ref) error {
		return func(ctx context.Context, v *VSphere, vm volspec.VMID, r hypervisor.Ref) error {
			_, err := v.Attach(ctx, vm, r, readOnly)
			return err
		}
	}
	return []plugging{
		{"attach", false, attach(false), []bool{false}},
		{"attach read-only", false, attach(true), []bool{true}},
		{"detach", true, func(ctx context.Context, v *VSphere, vm volspec.VMID, r hypervisor.Ref) error {
			return v.Detach(ctx, vm, r)
		}, nil},
		{"fence", true, func(ctx context.Context, v *VSphere, vm volspec.VMID, r hypervisor.Ref) error {
			return v.Fence(ctx, vm, r)
		}, nil},
	}
}

// bench is a site on which a plugging is made again and again.
type bench struct {
	*site
	v  *VSphere
	vm volspec.VMID
}

func newBench(t *testing.T, disk string) bench {
	s := newSite(t, disk, control.Options{})
	v := s.open(t)
	return bench{s, v, s.vm(t, v, "vm-0").ID}
}

// ready makes a disk that is as p needs it.
func (b bench) ready(t *testing.T, p plugging) hypervisor.Ref {
	t.Helper()
	r := newDisk(t, b.v)
	if p.held {
		_, err := b.v.Attach(t.Context(), b.vm, r, false)
		require.NoError(t, err)
	}
	_, err := b.v.Attached(t.Context()) // a session, and the inventory, are there
	require.NoError(t, err)
	return r
}

// settled checks that r is as it is to be after p, and takes it away.
func (b bench) settled(t *testing.T, p plugging, r hypervisor.Ref) {
	t.Helper()
	all, err := b.v.Attached(t.Context())
	require.NoError(t, err)
	var modes []bool
	for _, d := range all {
		require.Equal(t, r, d.Ref)
		modes = append(modes, d.ReadOnly)
	}
	assert.Equal(t, p.after, modes)
	require.NoError(t, b.v.Detach(t.Context(), b.vm, r))
	require.NoError(t, b.v.Delete(t.Context(), r))
}

// calls are how often p calls each method.
func (b bench) calls(t *testing.T, p plugging) map[string]int {
	t.Helper()
	r := b.ready(t, p)
	require.NoError(t, b.sim.ResetCalls(t.Context()))
	require.NoError(t, p.do(t.Context(), b.v, b.vm, r))
	made, err := b.sim.Calls(t.Context())
	require.NoError(t, err)
	b.settled(t, p, r)
	return made
}

// Each call's reply is lost once, after it was carried out: what was asked for
// is done once, and a repetition says so.
func TestALostReplyIsNoLostAttachment(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		b := newBench(t, disk)
		for _, p := range pluggings() {
			t.Run(disk+": "+p.name, func(t *testing.T) {
				for method, times := range b.calls(t, p) {
					for skip := range times {
						r := b.ready(t, p)
						require.NoError(t, b.sim.Fault(t.Context(), control.Fault{Method: method, Skip: skip, Count: 1, DropReply: true}))
						err := p.do(t.Context(), b.v, b.vm, r)
						require.NoError(t, b.sim.ClearFaults(t.Context()))
						if err != nil {
							assert.Equal(t, errkind.Unavailable, errkind.Of(err), "the reply of %s %d: %v", method, skip, err)
							require.NoError(t, p.do(t.Context(), b.v, b.vm, r), "the reply of %s %d was lost", method, skip)
						}
						b.settled(t, p, r)
					}
				}
			})
		}
	}
}

// The session ends before each call: nobody but vCenter notices.
func TestASessionThatEndsDoesNotShow(t *testing.T) {
	b := newBench(t, FCD)
	for _, p := range pluggings() {
		t.Run(p.name, func(t *testing.T) {
			for method, times := range b.calls(t, p) {
				if method == strings.ToUpper(method) {
					continue // a file, which has no faults
				}
				for skip := range times {
					r := b.ready(t, p)
					require.NoError(t, b.sim.Fault(t.Context(), control.Fault{Method: method, Skip: skip, Count: 1, Kind: "NotAuthenticated"}))
					err := p.do(t.Context(), b.v, b.vm, r)
					require.NoError(t, b.sim.ClearFaults(t.Context()))
					require.NoError(t, err, "before %s %d", method, skip)
					b.settled(t, p, r)
				}
			}
		})
	}
}

// What passes is waited for.
func TestABusyVMIsWaitedFor(t *testing.T) {
	b := newBench(t, VMDK)
	for _, p := range pluggings() {
		for _, kind := range []string{"TaskInProgress", "ConcurrentAccess"} {
			for _, inTask := range []bool{false, true} {
				r := b.ready(t, p)
				require.NoError(t, b.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Count: 2, Kind: kind, InTask: inTask}))
				require.NoError(t, p.do(t.Context(), b.v, b.vm, r), "%s: %s", p.name, kind)
				b.settled(t, p, r)
			}
		}
		r := b.ready(t, p)
		require.NoError(t, b.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Kind: "TaskInProgress"}))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := p.do(ctx, b.v, b.vm, r)
		cancel()
		requireKind(t, errkind.Unavailable, err)
		assert.Contains(t, errkind.Text(err), "vm-0")
		require.NoError(t, b.sim.ClearFaults(t.Context()))
		require.NoError(t, p.do(t.Context(), b.v, b.vm, r))
		b.settled(t, p, r)
	}
}

// What vSphere refuses is told in the words of somebody who can act on it.
func TestRefusalsOfAnAttachment(t *testing.T) {
	b := newBench(t, VMDK)
	for kind, want := range map[string]struct {
		kind errkind.Kind
		says string
	}{
		"FileLocked":            {errkind.InUse, "locked"},
		"ResourceInUse":         {errkind.InUse, "detach it first"},
		"NoPermission":          {errkind.Denied, "privilege"},
		"HostNotConnected":      {errkind.Unavailable, "host"},
		"InvalidPowerState":     {errkind.Unavailable, "power state"},
		"InaccessibleDatastore": {errkind.Unavailable, "datastore"},
	} {
		r := newDisk(t, b.v)
		for _, inTask := range []bool{false, true} {
			require.NoError(t, b.sim.Fault(t.Context(), control.Fault{Method: "ReconfigVM_Task", Kind: kind, InTask: inTask}))
			_, err := b.v.Attach(t.Context(), b.vm, r, false)
			require.NoError(t, b.sim.ClearFaults(t.Context()))
			require.Equal(t, want.kind, errkind.Of(err), "%s: %v", kind, err)
			assert.Contains(t, errkind.Text(err), want.says, kind)
			assert.Contains(t, errkind.Text(err), "vm-0", kind)
		}
	}
}

// What is asked for anew is asked in few calls, and the devices only of VMs
// that have changed.
func TestCallsAreFew(t *testing.T) {
	s := newSite(t, FCD, control.Options{VMs: 20})
	v, ctx := s.open(t), t.Context()
	made := func(do func()) map[string]int {
		require.NoError(t, s.sim.ResetCalls(ctx))
		do()
		calls, err := s.sim.Calls(ctx)
		require.NoError(t, err)
		return calls
	}
	sum := func(calls map[string]int) (n int) {
		for _, c := range calls {
			n += c
		}
		return n
	}
	attached := func() {
		_, err := v.Attached(ctx)
		require.NoError(t, err)
	}
	attached()
	assert.Equal(t, map[string]int{"WaitForUpdatesEx": 1}, made(attached), "nothing has changed")
	require.NoError(t, s.sim.Power(ctx, "vm-7", false))
	assert.Equal(t, 2, sum(made(attached)), "one has changed")
	assert.Equal(t, 1, sum(made(func() {
		_, err := v.VMs(ctx)
		require.NoError(t, err)
	})))
	assert.LessOrEqual(t, sum(made(func() {
		_, err := v.Datastores(ctx)
		require.NoError(t, err)
	})), 2)

	vm, r := s.vm(t, v, "vm-0"), newDisk(t, v)
	attach := made(func() {
		_, err := v.Attach(ctx, vm.ID, r, false)
		require.NoError(t, err)
	})
	t.Logf("attach: %v", attach)
	assert.LessOrEqual(t, sum(attach), 16)
	again := made(func() {
		_, err := v.Attach(ctx, vm.ID, r, false)
		require.NoError(t, err)
	})
	t.Logf("attach again: %v", again)
	assert.LessOrEqual(t, sum(again), 12)
	detach := made(func() { require.NoError(t, v.Detach(ctx, vm.ID, r)) })
	t.Logf("detach: %v", detach)
	assert.LessOrEqual(t, sum(detach), 8)
	none := made(func() {
		require.NoError(t, v.Detach(ctx, vm.ID, hypervisor.Ref{Datastore: "ds-0", Group: testGroup, Volume: volspec.VolumeID(uuid.NewString())}))
	})
	assert.LessOrEqual(t, sum(none), 3)
}
