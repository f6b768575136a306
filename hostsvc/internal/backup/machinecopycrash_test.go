package backup_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Calls of a copy fail, or are the last of their process, each third or fifth in
// turn, which is enough to meet each step: the copy is there whole or not at
// all, and the next one succeeds. So do drills.
func TestVMCopyAndDrillKilled(t *testing.T) {
	w := newWorld(t)
	vm := w.addVM(w.group, "web", "")
	setup := w.start(t, &plug{})
	setup.makeRepository(t, "main")
	setup.makeRepository(t, "far")
	require.Equal(t, job.Done, setup.runVM(t, "web").State)
	point := string(setup.in(t, "main")[0].ID)
	setup.end()
	want := w.disksOf(t, vm)
	whole := func(proc *process, n int, at string) {
		t.Helper()
		all := proc.in(t, "far")
		assert.Len(t, all, n, at)
		for _, c := range all {
			assert.Equal(t, volspec.Completed, c.State, at)
		}
	}
	// settle has the copy made if it is not there, and removed for the next round.
	settle := func(proc *process, there bool, at string) {
		t.Helper()
		if !there {
			require.Equal(t, job.Done, proc.copyTo(t, point, "far").State, at)
		}
		whole(proc, 1, at)
		c := proc.in(t, "far")[0]
		require.NoError(t, proc.DeletePoint(t.Context(), admin, "Dev", string(c.ID)), at)
	}
	t.Run("a call fails", func(t *testing.T) {
		p := &plug{}
		proc := w.start(t, p)
		for i := 1; ; i += 3 {
			p.arm(i, false)
			wj, err := proc.CopyPoint(t.Context(), admin, "Dev", point, wire.RunCopy{Repository: "far"})
			if err != nil {
				assert.ErrorContains(t, err, "injected")
				p.disarm()
				proc.idle(t)
				continue
			}
			j := proc.finish(t, wj.ID)
			name := p.disarm()
			at := fmt.Sprintf("call %d (%s): %s %q %v", i, name, j.State, j.Error, j.Warnings)
			switch {
			case j.State == job.Done:
			case strings.Contains(j.Error, "step record"):
				// It may be there: a look at the repository finds it.
			default:
				assert.Contains(t, j.Error, "step ", at)
				whole(proc, 0, at)
			}
			settle(proc, j.State == job.Done, at)
			if name == "" {
				require.Greater(t, i, 20)
				return
			}
		}
	})
	t.Run("the process dies", func(t *testing.T) {
		for i := 1; ; i += 5 {
			next, id, died, at := w.killedAt(t, i, func(proc *process) (volspec.JobID, error) {
				wj, err := proc.CopyPoint(t.Context(), admin, "Dev", point, wire.RunCopy{Repository: "far"})
				return wj.ID, err
			})
			if id != "" {
				j := next.finish(t, id)
				require.Equal(t, job.Done, j.State, "%s: %s", at, j.Error)
			}
			if !died {
				whole(next, 1, at)
				for i, key := range []string{"2000", "2001"} {
					assert.True(t, bytes.Equal(want[key], next.content(t, string(next.in(t, "far")[0].Disks[i].Point))))
				}
			}
			settle(next, id != "", at)
			next.end()
			if !died {
				require.Greater(t, i, 20)
				return
			}
		}
	})
	t.Run("the process dies in a drill", func(t *testing.T) {
		for i := 1; ; i += 3 {
			next, id, died, at := w.killedAt(t, i, func(proc *process) (volspec.JobID, error) {
				wj, err := proc.Drill(t.Context(), admin, "Dev", point)
				return wj.ID, err
			})
			if id != "" {
				j := next.finish(t, id)
				require.Equal(t, job.Done, j.State, "%s: %s", at, j.Error)
				assert.Equal(t, volspec.Proven, next.in(t, "main")[0].State, at)
			}
			next.end()
			if !died {
				require.Greater(t, i, 8)
				return
			}
		}
	})
}
