package job

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/volspec"
)

// drain takes jobs one after the other, each of which ends before the next.
func drain(open []Job, o Options, turns map[volspec.VMGroupID]uint64) (order []string) {
	for n := uint64(1); ; n++ {
		j, ok := next(open, o, turns, n%2 == 0)
		if !ok {
			return order
		}
		turns[j.Group] = n
		order = append(order, string(j.ID))
		for i := range open {
			if open[i].ID == j.ID {
				open = append(append([]Job{}, open[:i]...), open[i+1:]...)
				break
			}
		}
	}
}

func queued(id string, g volspec.VMGroupID, priority int) Job {
	return Job{ID: volspec.JobID(id), Group: g, Kind: "k", State: Queued, Priority: priority}
}

func running(g volspec.VMGroupID, kind, object, owner string) Job {
	return Job{ID: volspec.JobID(fmt.Sprint(g, kind, object)), Group: g, Kind: kind, Object: object, State: Running, Owner: owner, Priority: 3}
}

func options() Options {
	return Options{Instance: "me", Total: 2, PerGroup: 2, Kinds: map[string]Handler{"k": {}, "one": {Limit: 1}, "free": {Free: true}}}
}

func TestNextTakesTurns(t *testing.T) {
	open := []Job{
		queued("b9", "b", 1), // priority first
		queued("a1", "a", 3), queued("a2", "a", 3), queued("a3", "a", 3), queued("b1", "b", 3), queued("b2", "b", 3), queued("c1", "c", 3),
		queued("c9", "c", 4),
	}
	// Every second turn is by turns alone: c9 does not wait for a3 and b2.
	assert.Equal(t, []string{"b9", "a1", "c1", "b1", "a2", "c9", "b2", "a3"}, drain(open, options(), map[volspec.VMGroupID]uint64{}))
}

func TestNextKeepsLimits(t *testing.T) {
	for why, c := range map[string]struct {
		open []Job
		want string
	}{
		"nothing":                     {nil, ""},
		"fewer running":               {[]Job{running("a", "k", "", "me"), queued("a1", "a", 3), queued("b1", "b", 3)}, "b1"},
		"total":                       {[]Job{running("a", "k", "1", "me"), running("b", "k", "2", "me"), queued("c1", "c", 3)}, ""},
		"others' do not count":        {[]Job{running("a", "k", "1", "me"), running("b", "k", "2", "other"), queued("c1", "c", 3)}, "c1"},
		"but for the vmgroup":         {[]Job{running("a", "k", "1", "x"), running("a", "k", "2", "other"), queued("a1", "a", 3), queued("c1", "c", 4)}, "c1"},
		"free ones do not count":      {[]Job{running("a", "free", "1", "me"), running("b", "free", "2", "me"), queued("c1", "c", 3)}, "c1"},
		"free ones need no room":      {[]Job{running("a", "k", "1", "me"), running("b", "k", "2", "me"), {ID: "f", Kind: "free", State: Queued}}, "f"},
		"of a kind":                   {[]Job{running("a", "one", "1", "other"), {ID: "o", Kind: "one", State: Queued}, queued("b1", "b", 4)}, "b1"},
		"busy object":                 {[]Job{running("a", "k", "1", "other"), {ID: "x", Group: "a", Kind: "k", Object: "1", State: Queued}}, ""},
		"another vmgroup's object":    {[]Job{running("a", "k", "1", "other"), {ID: "x", Group: "b", Kind: "k", Object: "1", State: Queued}}, "x"},
		"a kind that is not ours":     {[]Job{{ID: "n", Kind: "new", State: Queued}, queued("b1", "b", 4)}, "b1"},
		"priority waits for no group": {[]Job{running("a", "k", "", "me"), queued("a1", "a", 1), queued("b1", "b", 2)}, "a1"},
	} {
		j, ok := next(c.open, options(), map[volspec.VMGroupID]uint64{}, false)
		assert.Equal(t, c.want, string(j.ID), why)
		assert.Equal(t, c.want != "", ok, why)
	}
}
