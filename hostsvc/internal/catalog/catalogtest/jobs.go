package catalogtest

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func jobs(t require.TestingT, c Catalog, fn func(job.Tx) error) {
	require.NoError(t, c.Jobs().Update(context.Background(), fn))
}

func viewJobs(t require.TestingT, c Catalog, fn func(job.Tx) error) {
	require.NoError(t, c.Jobs().View(context.Background(), fn))
}

func jobN(n int, g volspec.VMGroupID, s job.State) job.Job {
	at := time.Unix(int64(n)+1, 0).UTC()
	j := job.Job{ID: volspec.JobID(fmt.Sprintf("j%03d", n)), Group: g, Kind: "k", State: s, Created: at, Priority: 3}
	if j.Ended() {
		j.EndedAt = at
	}
	return j
}

func jobIDs(all []job.Job) (out []string) {
	for _, j := range all {
		out = append(out, string(j.ID))
	}
	return out
}

// jobRecords: every field comes back as it was put.
func jobRecords(t *testing.T, b Backend) {
	c := open(t, b)
	at := func(s int64) time.Time { return time.Unix(s, 123456000).UTC() }
	full := job.Job{
		ID: "id", Group: groupA, Kind: "kind", Object: "object", State: job.Running, Created: at(1), Begun: at(2), EndedAt: at(3),
		Priority: 5, Policy: "policy", Owner: "owner", Fence: 4, Expires: at(5), Cancel: true, Unique: "unique",
		Params: json.RawMessage(`{"a":1}`), Saved: json.RawMessage(`{"b":"ü"}`), Result: json.RawMessage(`[1,2]`),
		Stage: "stage", Steps: []job.Step{{Name: "one", Begun: at(6), Ended: at(7), Error: "e"}, {Name: "two", Begun: at(8)}},
		Progress: job.Progress{Done: 1, Total: 2, Read: 3, Stored: 4, Rate: 5.5},
		Warnings: []string{"w", "x"}, Error: "error", Kept: errkind.Quota, Attempts: 6,
	}
	v := reflect.ValueOf(full)
	for i := range v.NumField() {
		require.False(t, v.Field(i).IsZero(), "the test must fill %s", v.Type().Field(i).Name)
	}
	empty := job.Job{ID: "empty", Group: groupB, State: job.Queued}
	for range 2 { // inserted, then replaced by the same
		jobs(t, c, func(tx job.Tx) error {
			require.NoError(t, tx.PutJob(full))
			return tx.PutJob(empty)
		})
		viewJobs(t, c, func(tx job.Tx) error {
			got, err := tx.Job(full.ID)
			require.NoError(t, err)
			assert.Equal(t, full, got)
			got, err = tx.JobByUnique("unique")
			require.NoError(t, err)
			assert.Equal(t, full, got)
			got, err = tx.Job(empty.ID)
			assert.Equal(t, empty, got)
			return err
		})
	}
	full.Unique, full.State = "", job.Done
	jobs(t, c, func(tx job.Tx) error { return tx.PutJob(full) })
	viewJobs(t, c, func(tx job.Tx) error {
		for _, err := range []error{second(tx.JobByUnique("unique")), second(tx.JobByUnique("")), second(tx.Job("none"))} {
			require.Equal(t, errkind.NotFound, errkind.Of(err))
		}
		got, err := tx.Job(full.ID)
		assert.Equal(t, full, got)
		return err
	})

	other := jobN(1, groupB, job.Queued)
	full.Unique, other.Unique = "same", "same"
	jobs(t, c, func(tx job.Tx) error { return tx.PutJob(full) })
	err := c.Jobs().Update(t.Context(), func(tx job.Tx) error { return tx.PutJob(other) })
	require.Equal(t, errkind.Exists, errkind.Of(err))
	jobs(t, c, func(tx job.Tx) error { // without a key there is nothing to be the same
		require.NoError(t, tx.PutJob(jobN(2, groupA, job.Queued)))
		return tx.PutJob(jobN(3, groupA, job.Queued))
	})
}

// jobLists: what is selected, in which order, page by page.
func jobLists(t *testing.T, b Backend) {
	c := open(t, b)
	states := []job.State{job.Queued, job.Running, job.Done, job.Partial, job.Failed, job.Canceled}
	jobs(t, c, func(tx job.Tx) error {
		for n := range 24 {
			j := jobN(n/2, []volspec.VMGroupID{groupA, groupB}[n%2], states[n%6]) // two of each moment
			j.ID = volspec.JobID(fmt.Sprintf("j%02d", n))
			j.Kind, j.Object = fmt.Sprint("k", n%3), fmt.Sprint("o", n%4)
			j.Priority = 1 + n%5
			if n%12 == 4 {
				j.Kind = "policy"
			}
			if j.Ended() {
				j.EndedAt = time.Unix(int64(1000+n/2), 0)
			}
			if n%4 == 0 {
				j.Policy = "p"
			}
			require.NoError(t, tx.PutJob(j))
		}
		return nil
	})
	viewJobs(t, c, func(tx job.Tx) error {
		all, err := tx.Jobs(job.Query{})
		require.NoError(t, err)
		require.Len(t, all, 24)
		newestFirst := slices.Clone(jobIDs(all))
		slices.Sort(newestFirst)
		slices.Reverse(newestFirst)
		assert.Equal(t, newestFirst, jobIDs(all))
		for name, x := range map[string]struct {
			q    job.Query
			want func(job.Job) bool
		}{
			"group":  {job.Query{Group: groupA}, func(j job.Job) bool { return j.Group == groupA }},
			"state":  {job.Query{State: job.Failed}, func(j job.Job) bool { return j.State == job.Failed }},
			"open":   {job.Query{Open: true}, func(j job.Job) bool { return !j.Ended() }},
			"ended":  {job.Query{Ended: true, Group: groupB}, func(j job.Job) bool { return j.Ended() && j.Group == groupB }},
			"kind":   {job.Query{Kind: "k1"}, func(j job.Job) bool { return j.Kind == "k1" }},
			"object": {job.Query{Object: "o1", Kind: "k2"}, func(j job.Job) bool { return j.Object == "o1" && j.Kind == "k2" }},
			"policy": {job.Query{Policy: "p"}, func(j job.Job) bool { return j.Policy == "p" }},
			"since":  {job.Query{Since: time.Unix(1007, 0)}, func(j job.Job) bool { return !j.Ended() || !j.EndedAt.Before(time.Unix(1007, 0)) }},
			"work":   {job.Query{Work: true, Group: groupA}, func(j job.Job) bool { return j.Kind != "policy" && j.Group == groupA }},
			"none":   {job.Query{Policy: "q"}, func(job.Job) bool { return false }},
		} {
			got, err := tx.Jobs(x.q)
			require.NoError(t, err)
			want := slices.DeleteFunc(slices.Clone(all), func(j job.Job) bool { return !x.want(j) })
			assert.Equal(t, jobIDs(want), jobIDs(got), name)

			var paged []string
			q := x.q
			q.Limit = 5
			for {
				page, err := tx.Jobs(q)
				require.NoError(t, err)
				if len(page) == 0 {
					break
				}
				require.LessOrEqual(t, len(page), 5)
				paged = append(paged, jobIDs(page)...)
				q.Before, q.BeforeID = page[len(page)-1].Created, page[len(page)-1].ID
			}
			assert.Equal(t, jobIDs(want), paged, "%s, page by page", name)
		}
		open, err := tx.OpenJobs(wire.BuiltInTransporter)
		require.NoError(t, err)
		require.Len(t, open, 8)
		assert.True(t, slices.IsSortedFunc(open, func(a, b job.Job) int {
			if a.Priority != b.Priority {
				return a.Priority - b.Priority
			}
			return a.Created.Compare(b.Created)
		}))
		return nil
	})
}

// jobTrim: old ended jobs go, but for the newest of each vmgroup and policy.
func jobTrim(t *testing.T, b Backend) {
	c := open(t, b)
	jobs(t, c, func(tx job.Tx) error {
		for n := range 10 {
			require.NoError(t, tx.PutJob(jobN(n, groupA, job.Done)))
			b := jobN(100+n, groupB, job.Failed)
			require.NoError(t, tx.PutJob(b))
			p := jobN(200+n, groupA, job.Canceled)
			p.Policy, p.EndedAt = "p", time.Unix(int64(n)+1, 0)
			require.NoError(t, tx.PutJob(p))
		}
		require.NoError(t, tx.PutJob(jobN(300, groupA, job.Queued)))
		open := jobN(301, groupA, job.Running)
		open.Created = time.Unix(1, 0)
		return tx.PutJob(open)
	})
	jobs(t, c, func(tx job.Tx) error {
		n, err := tx.TrimJobs(time.Unix(6, 0), 3) // ended in 1 to 5
		assert.Equal(t, 10, n)
		return err
	})
	jobs(t, c, func(tx job.Tx) error {
		n, err := tx.TrimJobs(time.Unix(1000, 0), 3)
		assert.Equal(t, 2+7+2, n)
		return err
	})
	viewJobs(t, c, func(tx job.Tx) error {
		all, err := tx.Jobs(job.Query{})
		assert.Equal(t, []string{"j300", "j209", "j208", "j207", "j109", "j108", "j107", "j009", "j008", "j007", "j301"}, jobIDs(all))
		return err
	})
}

func jobMarks(t *testing.T, b Backend) {
	c := open(t, b)
	check := func(p volspec.PolicyID, task string, since, last time.Time) {
		t.Helper()
		viewJobs(t, c, func(tx job.Tx) error {
			s, l, err := tx.Mark(p, task)
			assert.True(t, since.Equal(s) && last.Equal(l), "%s %s: %s %s", p, task, s, l)
			return err
		})
	}
	zero, one, two := time.Time{}, time.Unix(1, 5).UTC(), time.Unix(2, 0).UTC()
	check("p", "backup", zero, zero)
	jobs(t, c, func(tx job.Tx) error {
		require.NoError(t, tx.PutMark("p", "backup", one, zero))
		require.NoError(t, tx.PutMark("p", "verify", two, one))
		return tx.PutMark("q", "backup", two, two)
	})
	check("p", "backup", one, zero)
	check("p", "verify", two, one)
	jobs(t, c, func(tx job.Tx) error { return tx.PutMark("p", "backup", one, two) })
	check("p", "backup", one, two)
	check("q", "backup", two, two)

	viewJobs(t, c, func(tx job.Tx) error {
		clock, err := tx.Clock()
		assert.WithinDuration(t, time.Now(), clock, time.Minute)
		return err
	})
}
