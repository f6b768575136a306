package overview_test

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// until lets the clock of a synctest bubble go to a moment.
func until(t *testing.T, at string) time.Time {
	t.Helper()
	to, err := time.Parse(time.RFC3339, at)
	require.NoError(t, err)
	require.True(t, to.After(time.Now()))
	time.Sleep(time.Until(to))
	return to
}

func counted(at time.Time, kind, state string, jobs int) overview.Count {
	return overview.Count{At: at, Kind: kind, State: state, Jobs: jobs, Bytes: 10, Stored: 5}
}

// What ended counts in the day of the zone, across changes of clocks, and runs
// of policies do not count beside their parts.
func TestDashboardCountsByDaysOfTheZone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := until(t, "2026-03-30T12:07:00Z") // the day after clocks went forward in Berlin
		w := &world{
			counts: map[volspec.VMGroupID][]overview.Count{
				"id-a": {
					counted(now.Add(-7*time.Minute), "backup", "done", 2),
					counted(now.Add(-7*time.Minute), "policy", "done", 1),
					counted(now.Add(-7*time.Minute), "maintain", "failed", 1),
					counted(time.Date(2026, 3, 29, 21, 45, 0, 0, time.UTC), "drill", "failed", 1),    // 23:45 in Berlin
					counted(time.Date(2026, 3, 29, 22, 0, 0, 0, time.UTC), "backup", "partial", 1),   // 00:00
					counted(time.Date(2026, 3, 28, 22, 45, 0, 0, time.UTC), "backup", "canceled", 1), // 23:45, before the change
					counted(time.Date(2026, 3, 17, 10, 0, 0, 0, time.UTC), "backup", "done", 4),      // the first of 14 days
				},
				"id-b": {counted(now, "backup", "failed", 99)},
			},
			things:  map[volspec.VMGroupID]overview.Things{"id-a": {Volumes: 3, VMs: 2, Points: 7}},
			storage: map[string]wire.Share{"a": {Used: 50, Bounded: true, Desired: 40, Effective: 50}},
			states:  map[string]map[string]int{"a": {"ok": 1, "late": 2, "failed": 3, "unprotected": 4, "pending": 5}},
			alarms:  []wire.Alarm{{VMGroup: "a", Kind: "k"}, {VMGroup: "b", Kind: "k"}},
			jobs:    []wire.Job{{ID: "1", VMGroup: "a", State: "running"}, {ID: "2", VMGroup: "b", State: "running"}, {ID: "3", VMGroup: "a", State: "done"}},
			plans: []overview.Plan{
				plan(t, "a", "nightly", "backup", "01:00", "Europe/Berlin", time.Time{}),
				plan(t, "a", "hourly", "verify", "every 6h", "UTC", time.Time{}),
				plan(t, "b", "other", "backup", "hourly", "UTC", time.Time{}),
			},
		}
		d, err := w.service().Dashboard(t.Context(), "a", "Europe/Berlin")
		require.NoError(t, err)
		days := map[string]wire.Runs{}
		for _, x := range d.Days {
			if x.Runs != (wire.Runs{}) {
				days[x.Date] = x.Runs
			}
		}
		require.Len(t, d.Days, 14)
		assert.Equal(t, "2026-03-17", d.Days[0].Date)
		assert.Equal(t, "2026-03-30", d.Days[13].Date)
		assert.Equal(t, map[string]wire.Runs{
			"2026-03-30": {Done: 2, Partial: 1, Bytes: 20, Stored: 10},
			"2026-03-29": {Failed: 1, Bytes: 10, Stored: 5},
			"2026-03-28": {Canceled: 1, Bytes: 10, Stored: 5},
			"2026-03-17": {Done: 4, Bytes: 10, Stored: 5},
		}, days)
		assert.Equal(t, wire.Runs{Done: 2, Partial: 1, Failed: 1, Bytes: 30, Stored: 15}, d.Day)
		assert.Equal(t, wire.Runs{Done: 2, Partial: 1, Failed: 1, Canceled: 1, Bytes: 40, Stored: 20}, d.Week)
		assert.Equal(t, []int{1, 2, 3, 4, 5}, []int{d.Protected, d.Late, d.Failed, d.Unprotected, d.Pending})
		assert.Equal(t, []int{3, 2, 7}, []int{d.Volumes, d.VMs, d.Points})
		assert.Equal(t, wire.Share{Used: 50, Bounded: true, Desired: 40, Effective: 50}, d.Storage)
		assert.Len(t, d.Running, 1)
		assert.Equal(t, 1, d.AlarmCount)
		require.Len(t, d.Next, 10)
		assert.Equal(t, wire.Run{Time: time.Date(2026, 3, 30, 18, 0, 0, 0, time.UTC), VMGroup: "a", Policy: "hourly", Task: "verify", State: "due"}, d.Next[0])
		assert.Equal(t, wire.Run{Time: time.Date(2026, 3, 30, 23, 0, 0, 0, time.UTC), VMGroup: "a", Policy: "nightly", Task: "backup", State: "due"}, d.Next[1])
	})
}

// The service's own dashboard adds everybody up, and tells of the pool.
func TestDashboardOfTheMaster(t *testing.T) {
	w := &world{
		things: map[volspec.VMGroupID]overview.Things{"": {Volumes: 9}}, states: map[string]map[string]int{"": {"ok": 8}},
		counts: map[volspec.VMGroupID][]overview.Count{"": {counted(time.Now(), "backup", "done", 5)}},
		alarms: make([]wire.Alarm, 150),
		health: overview.TenantHealth{ByRank: map[int]int{0: 5, 2: 3}, Disabled: 2, Own: 1},
	}
	d, err := w.service().Dashboard(t.Context(), "", "")
	require.NoError(t, err)
	assert.Equal(t, []int{9, 8, 5, 150, 100}, []int{d.Volumes, d.Protected, d.Day.Done, d.AlarmCount, len(d.Alarms)})
	assert.Equal(t, wire.Share{Used: 70, Bounded: true, Desired: 100, Effective: 100}, d.Storage)
	require.NotNil(t, d.Pool)
	assert.Equal(t, map[string]int{"good": 5, "notices": 0, "alarms": 3, "disabled": 2, "all": 7}, d.Tenants)
}

// What comes next in all vmgroups is remembered as long as the plans are the
// same, and told as if each had been asked.
func TestAgendaIsWhatPlansSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		until(t, "2026-03-28T22:59:30Z")
		w := &fixed{}
		for _, p := range []struct{ group, name, expr string }{
			{"a", "nightly", "01:00"}, {"b", "nightly", "01:00"}, {"a", "hourly", "hourly"}, {"b", "often", "*:00/7"}, {"c", "once a year", "01-05 03:00"},
		} {
			w.all = append(w.all, plan(t, p.group, p.name, "backup", p.expr, "Europe/Berlin", time.Date(2026, 3, 28, 23, 20, 0, 0, time.UTC)))
		}
		s := overview.New(overview.Options{Store: w, Backups: w, Shares: w, Keep: time.Hour})
		for range 40 {
			got, err := s.Dashboard(t.Context(), "", "")
			require.NoError(t, err)
			fresh := overview.New(overview.Options{Store: w, Backups: w, Shares: w, Keep: time.Hour})
			want, err := fresh.Dashboard(t.Context(), "", "")
			require.NoError(t, err)
			require.Equal(t, want.Next, got.Next)
			require.Len(t, got.Next, 10)
			time.Sleep(9 * time.Minute)
		}
		w.all = w.all[:1:1]
		got, err := s.Dashboard(t.Context(), "", "")
		require.NoError(t, err)
		require.Equal(t, "nightly", got.Next[0].Policy)
		ahead, err := s.Calendar(t.Context(), "", overview.Request{From: "2026-06-01"})
		require.NoError(t, err)
		require.Len(t, ahead.Runs, 30)
	})
}

// fixed is a world whose plans are always the same list.
type fixed struct {
	world
	all []overview.Plan
}

func (f *fixed) Plans(context.Context, string) ([]overview.Plan, error) { return f.all, nil }

func TestDashboardRefuses(t *testing.T) {
	w := &world{}
	_, err := w.service().Dashboard(t.Context(), "none", "")
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
	for _, zone := range []string{"Local", "Nowhere/Else", "../etc/passwd"} {
		_, err = w.service().Dashboard(t.Context(), "a", zone)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), zone)
	}
}

// A day begins at midnight, or with the first moment that it has.
func TestDaysBegin(t *testing.T) {
	for _, tc := range []struct{ zone, at, first string }{
		{"UTC", "2026-03-14T12:00:00Z", "2026-03-01T00:00:00Z"},
		{"Europe/Berlin", "2026-04-05T12:00:00Z", "2026-03-23T00:00:00+01:00"},
		{"America/Sao_Paulo", "2018-11-17T12:00:00Z", "2018-11-04T01:00:00-02:00"}, // there was no midnight
		{"America/Havana", "2026-11-14T12:00:00Z", "2026-11-01T00:00:00-04:00"},    // there are two
		{"Asia/Kolkata", "2026-03-14T12:00:00Z", "2026-03-01T00:00:00+05:30"},
	} {
		at, err := time.Parse(time.RFC3339, tc.at)
		require.NoError(t, err)
		loc, err := time.LoadLocation(tc.zone)
		require.NoError(t, err)
		assert.Equal(t, tc.first, overview.DaysBefore(at, loc, 14)[0].Format(time.RFC3339), tc.zone)
	}
}

func TestSearchKeepsBounds(t *testing.T) {
	w := &world{found: []overview.Match{{Kind: "volume", VMGroup: "a", Name: "x"}, {Kind: "volume", VMGroup: "b", Name: "y"}}}
	s := w.service()
	for c, users := range map[volspec.Role]bool{
		volspec.MasterAdmin: true, volspec.MasterViewer: true, volspec.TenantAdmin: true,
		volspec.Operator: false, volspec.RestoreOperator: false, volspec.TenantGuest: false,
	} {
		w.asked = nil
		got, err := s.Search(t.Context(), volspec.Caller{Role: c}, "a", "  text ")
		require.NoError(t, err)
		assert.Equal(t, []wire.Found{{Kind: "volume", VMGroup: "a", Name: "x"}}, got)
		want := "text"
		if users {
			want += " users"
		}
		assert.Equal(t, []string{want}, w.asked, c)
	}
	w.asked = nil
	got, err := s.Search(t.Context(), volspec.Caller{}, "", " ")
	require.NoError(t, err)
	assert.Equal(t, []wire.Found{}, got)
	_, err = s.Search(t.Context(), volspec.Caller{}, "", "x")
	assert.Equal(t, errkind.Invalid, errkind.Of(err))
	assert.Empty(t, w.asked)
}

// A watch tells what is there, then only what changed, of its vmgroup alone.
func TestWatchTellsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{
			jobs:   []wire.Job{{ID: "1", VMGroup: "a", State: "running"}, {ID: "2", VMGroup: "b", State: "running"}},
			alarms: []wire.Alarm{{VMGroup: "a", Kind: "k", Detail: "old"}, {VMGroup: "b", Kind: "k"}},
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		var said []string
		looks := 0
		for e, err := range w.service().Watch(ctx, "a") {
			require.NoError(t, err)
			switch e.Kind {
			case wire.EventJob:
				said = append(said, e.Job.VMGroup+" job "+string(e.Job.ID)+" "+e.Job.State)
				continue
			case wire.EventAlarm, wire.EventCleared:
				said = append(said, e.Alarm.VMGroup+" "+e.Kind+" "+e.Alarm.Detail)
				continue
			}
			switch looks++; looks {
			case 1:
				assert.Equal(t, []string{"a job 1 running", "a alarm old"}, said)
			case 2:
				assert.Empty(t, said, "nothing has changed")
				w.jobs[0].State = "done"
				w.jobs[1].Stage = "x"
				w.alarms[0].Detail = "new"
			case 3:
				assert.Equal(t, []string{"a job 1 done", "a alarm new"}, said)
				w.alarms = nil
			case 4:
				assert.Equal(t, []string{"a cleared new"}, said)
				stop()
			}
			said = nil
		}
		assert.Equal(t, 4, looks)
	})
}

// A job that begins and ends between two looks is told, once; one that had
// ended before the watch is not.
func TestWatchTellsBriefJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		job := func(id, group, state string) wire.Job {
			return wire.Job{ID: volspec.JobID(id), VMGroup: group, State: state, Created: time.Now()}
		}
		w := &world{jobs: []wire.Job{job("before", "a", "done")}}
		time.Sleep(time.Second)
		said, looks := []string{}, 0
		for e, err := range w.service().Watch(t.Context(), "a") {
			require.NoError(t, err)
			if e.Kind != "" {
				said = append(said, string(e.Job.ID)+" "+e.Job.State)
				continue
			}
			switch looks++; looks {
			case 1:
				w.jobs = append(w.jobs, job("brief", "a", "failed"), job("other", "b", "done"), job("long", "a", "running"))
			case 2:
				w.jobs[3].State = "done"
			}
			if looks == 10 {
				break
			}
		}
		assert.Equal(t, []string{"long running", "brief failed", "long done"}, said)
	})
}

func TestManyJobsAreWatchedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{}
		for n := range 150 {
			w.jobs = append(w.jobs, wire.Job{ID: volspec.JobID(strconv.Itoa(n)), VMGroup: "a", State: "running"})
		}
		seen := 0
		for e, err := range w.service().Watch(t.Context(), "a") {
			require.NoError(t, err)
			if e.Kind == "" {
				break
			}
			seen++
		}
		assert.Equal(t, 100, seen)
	})
}
