package overview_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// world is what an overview is about: two vmgroups in memory.
type world struct {
	counts  map[volspec.VMGroupID][]overview.Count
	things  map[volspec.VMGroupID]overview.Things
	health  overview.TenantHealth
	found   []overview.Match
	asked   []string // texts that were searched for, and whether with users
	states  map[string]map[string]int
	storage map[string]wire.Share
	jobs    []wire.Job
	alarms  []wire.Alarm
	plans   []overview.Plan
	ran     []overview.Ran
}

func (w *world) service() *overview.Service {
	return overview.New(overview.Options{Store: w, Backups: w, Shares: w, Keep: 90 * 24 * time.Hour})
}

func (w *world) View(_ context.Context, fn func(overview.Tx) error) error { return fn(w) }

func (w *world) GroupByName(name string) (volspec.VMGroup, error) {
	if name != "a" && name != "b" {
		return volspec.VMGroup{}, errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return volspec.VMGroup{ID: volspec.VMGroupID("id-" + name), Name: name}, nil
}

func (w *world) Counts(g volspec.VMGroupID, since time.Time) ([]overview.Count, error) {
	return slices.DeleteFunc(slices.Clone(w.counts[g]), func(c overview.Count) bool { return c.At.Before(since) }), nil
}

func (w *world) Things(g volspec.VMGroupID) (overview.Things, error) { return w.things[g], nil }

func (w *world) TenantHealth() (overview.TenantHealth, error) { return w.health, nil }

func (w *world) Search(g volspec.VMGroupID, text string, users bool, _ int) ([]overview.Match, error) {
	if users {
		text += " users"
	}
	w.asked = append(w.asked, text)
	return slices.DeleteFunc(slices.Clone(w.found), func(m overview.Match) bool { return g != "" && "id-"+m.VMGroup != string(g) }), nil
}

func (w *world) Allowance(_ context.Context, group string) (wire.Allowance, error) {
	return wire.Allowance{Storage: w.storage[group]}, nil
}

func (w *world) Pool(context.Context) (wire.Pool, error) {
	return wire.Pool{Storage: wire.PoolShare{Bounded: true, Size: 100, Used: 70}}, nil
}

func (w *world) Protected(_ context.Context, group string) (map[string]int, error) {
	return w.states[group], nil
}

func (w *world) Working(_ context.Context, group string, limit int) (out []wire.Job, _ error) {
	for _, j := range w.jobs {
		if !j.Over() && (group == "" || j.VMGroup == group) && len(out) < limit {
			out = append(out, j)
		}
	}
	return out, nil
}

func (w *world) Made(_ context.Context, group string, since time.Time, limit int) (out []wire.Job, _ error) {
	for _, j := range w.jobs {
		if !j.Created.Before(since) && (group == "" || j.VMGroup == group) && len(out) < limit {
			out = append(out, j)
		}
	}
	return out, nil
}

func (w *world) JobOf(_ context.Context, group string, id volspec.JobID) (wire.Job, error) {
	for _, j := range w.jobs {
		if j.ID == id && j.VMGroup == group {
			return j, nil
		}
	}
	return wire.Job{}, errkind.New(errkind.NotFound, "Job %s not found", id)
}

func (w *world) Alarms(_ context.Context, group string) ([]wire.Alarm, error) {
	return slices.DeleteFunc(slices.Clone(w.alarms), func(a wire.Alarm) bool { return group != "" && a.VMGroup != group }), nil
}

func (w *world) Plans(_ context.Context, group string) ([]overview.Plan, error) {
	return slices.DeleteFunc(slices.Clone(w.plans), func(p overview.Plan) bool { return group != "" && p.VMGroup != group }), nil
}

func (w *world) Ran(_ context.Context, q overview.Window) (out []overview.Ran, _ error) {
	for _, r := range w.ran {
		if (q.VMGroup == "" || r.VMGroup == q.VMGroup) && (q.Policy == "" || r.Run.Policy == q.Policy) &&
			!r.Time.Before(q.From) && r.Time.Before(q.To) && len(out) < q.Limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func plan(t *testing.T, group, name, task, expr, zone string, since time.Time) overview.Plan {
	t.Helper()
	sc, err := schedule.Parse(expr, zone)
	require.NoError(t, err)
	return overview.Plan{Policy: volspec.PolicyID("id of " + name), VMGroup: group, Name: name, Task: task, Schedule: sc, Since: since}
}
