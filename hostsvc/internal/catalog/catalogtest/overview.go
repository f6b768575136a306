package catalogtest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

func viewOverview(t require.TestingT, c Catalog, fn func(overview.Tx) error) {
	require.NoError(t, c.Overview().View(context.Background(), fn))
}

// jobCounts: a job counts once, when it has ended, in the quarter of an hour in
// which it did, for its vmgroup and for all; also when its row is gone.
func jobCounts(t *testing.T, b Backend) {
	c := open(t, b)
	base := time.Now().UTC().Truncate(24 * time.Hour)
	ended := func(n int, g volspec.VMGroupID, s job.State, at time.Time, read int64) job.Job {
		j := jobN(n, g, s)
		j.EndedAt, j.Progress = at, job.Progress{Read: read, Stored: read / 2}
		return j
	}
	running := jobN(1, groupA, job.Running)
	jobs(t, c, func(tx job.Tx) error { return tx.PutJob(running) })
	viewOverview(t, c, func(tx overview.Tx) error {
		all, err := tx.Counts("", base)
		assert.Empty(t, all)
		return err
	})
	for range 2 { // written again, as when a result is added
		for _, j := range []job.Job{
			ended(1, groupA, job.Done, base.Add(14*time.Minute), 100),
			ended(2, groupA, job.Done, base.Add(time.Minute), 60),
			ended(3, groupA, job.Failed, base.Add(time.Minute), 2),
			ended(4, groupA, job.Done, base.Add(15*time.Minute), 8),
			ended(5, groupB, job.Done, base.Add(2*time.Minute), 1000),
			ended(6, groupB, job.Done, base.Add(-time.Minute), 4), // the day before
		} {
			jobs(t, c, func(tx job.Tx) error { return tx.PutJob(j) })
		}
	}
	want := map[volspec.VMGroupID][]overview.Count{
		groupA: {
			{At: base, Kind: "k", State: "done", Jobs: 2, Bytes: 160, Stored: 80},
			{At: base, Kind: "k", State: "failed", Jobs: 1, Bytes: 2, Stored: 1},
			{At: base.Add(15 * time.Minute), Kind: "k", State: "done", Jobs: 1, Bytes: 8, Stored: 4},
		},
		groupB: {{At: base, Kind: "k", State: "done", Jobs: 1, Bytes: 1000, Stored: 500}},
		"": {
			{At: base, Kind: "k", State: "done", Jobs: 3, Bytes: 1160, Stored: 580},
			{At: base, Kind: "k", State: "failed", Jobs: 1, Bytes: 2, Stored: 1},
			{At: base.Add(15 * time.Minute), Kind: "k", State: "done", Jobs: 1, Bytes: 8, Stored: 4},
		},
	}
	check := func() {
		viewOverview(t, c, func(tx overview.Tx) error {
			for g, w := range want {
				got, err := tx.Counts(g, base)
				require.NoError(t, err)
				assert.ElementsMatch(t, w, got, "of %q", g)
			}
			return nil
		})
	}
	check()
	jobs(t, c, func(tx job.Tx) error {
		_, err := tx.TrimJobs(base.Add(24*time.Hour), 0)
		return err
	})
	check()
}

// calendarRuns: a span of time is listed forwards, without what other jobs began.
func calendarRuns(t *testing.T, b Backend) {
	c := open(t, b)
	jobs(t, c, func(tx job.Tx) error {
		for n := range 8 {
			j := jobN(n, groupA, job.Done)
			switch n {
			case 3:
				j.Unique = "part of a run"
			case 4:
				j.Unique, j.Kind = "the run", "policy"
			case 5:
				j.Group = groupB
			}
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		return nil
	})
	from, to := jobN(2, "", "").Created, jobN(7, "", "").Created
	viewJobs(t, c, func(tx job.Tx) error {
		for _, tc := range []struct {
			q    job.Query
			want []string
		}{
			{job.Query{From: from, To: to, Runs: true, OldestFirst: true}, []string{"j002", "j004", "j005", "j006"}},
			{job.Query{Group: groupA, From: from, To: to, Runs: true, OldestFirst: true, Limit: 2}, []string{"j002", "j004"}},
			{job.Query{Group: groupA, From: from}, []string{"j007", "j006", "j004", "j003", "j002"}},
		} {
			got, err := tx.Jobs(tc.q)
			require.NoError(t, err)
			assert.Equal(t, tc.want, jobIDs(got))
		}
		return nil
	})
}

// lastJobs: of each object the newest that has ended, whatever is open after it.
func lastJobs(t *testing.T, b Backend) {
	c := open(t, b)
	jobs(t, c, func(tx job.Tx) error {
		for n, x := range []struct {
			g      volspec.VMGroupID
			object string
			state  job.State
		}{
			{groupA, "one", job.Done}, {groupA, "one", job.Failed}, {groupA, "one", job.Running}, {groupA, "two", job.Done},
			{groupA, "three", job.Queued}, {groupB, "four", job.Done}, {groupA, "", job.Done},
		} {
			j := jobN(n, x.g, x.state)
			j.Object = x.object
			if err := tx.PutJob(j); err != nil {
				return err
			}
		}
		other := jobN(50, groupA, job.Done)
		other.Object, other.Kind = "one", "other"
		return tx.PutJob(other)
	})
	viewJobs(t, c, func(tx job.Tx) error {
		got, err := tx.Jobs(job.Query{Group: groupA, Kind: "k", Last: true})
		require.NoError(t, err)
		assert.Equal(t, []string{"j003", "j001"}, jobIDs(got))
		got, err = tx.Jobs(job.Query{Kind: "k", Last: true})
		assert.Equal(t, []string{"j005", "j003", "j001"}, jobIDs(got))
		return err
	})
}

// goodPoints: damaged ones and those whose removal has begun are not good.
func goodPoints(t *testing.T, b Backend) {
	c := open(t, b)
	backups(t, c, func(tx backup.Tx) error {
		r := repoN(1, groupA)
		if err := errors.Join(tx.PutRepository(r), tx.PutSealed(r.ID, "sealed")); err != nil {
			return err
		}
		for n := range 4 {
			p := pointN(n*2, r)
			if n == 3 {
				p.State = volspec.Damaged
			}
			if n == 1 {
				p.State = volspec.Verified
			}
			p.Deleting = n == 2
			if err := tx.PutPoint(p); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, c.Backup().View(context.Background(), func(tx backup.Tx) error {
		got, err := tx.Points(backup.PointQuery{Group: groupA, VolumeID: "v1", Volume: "db", Good: true, Limit: 1})
		require.NoError(t, err)
		require.Len(t, got, 1)
		assert.Equal(t, volspec.PointID("p002"), got[0].ID)
		unverified := backup.PointQuery{Unverified: true, Limit: 1}
		got, err = tx.Points(unverified)
		require.NoError(t, err)
		require.Len(t, got, 1)
		assert.Equal(t, volspec.PointID("p000"), got[0].ID, "the oldest")
		unverified.After, unverified.AfterID = got[0].Created, got[0].ID
		got, err = tx.Points(unverified)
		require.NoError(t, err)
		assert.Empty(t, got)
		got, err = tx.Points(backup.PointQuery{VolumeID: "v1", Good: true, Limit: 1})
		require.NoError(t, err)
		for g, want := range map[volspec.VMGroupID]map[volspec.VolumeID]backup.Newest{
			groupA: {"v1": {ID: "p002", Created: got[0].Created, State: got[0].State}}, groupB: {}, "": {"v1": {ID: "p002", Created: got[0].Created, State: got[0].State}},
		} {
			newest, err := tx.Newest(g)
			require.NoError(t, err)
			assert.Equal(t, want, newest, "of %q", g)
		}
		return err
	}))
}

// twoTenants fills both groups with things of the same names.
func twoTenants(t *testing.T, c Catalog) {
	t.Helper()
	for n, g := range []volspec.VMGroupID{groupA, groupB} {
		volumes(t, c, func(tx volume.Tx) error {
			for i, name := range []string{"data", "100%", "a_b"} {
				r := record(n*10+i, g, "d1", name)
				if err := tx.PutVolume(r); err != nil {
					return err
				}
			}
			gone := record(n*10+5, g, "d1", "data")
			gone.State, gone.TrashedAt = volspec.Trashed, time.Unix(5, 0)
			return tx.PutVolume(gone)
		})
		groups(t, c, func(tx tenancy.Tx) error {
			return tx.PutMember(volspec.Member{VM: volspec.VMID(fmt.Sprintf("vm%d", n)), Name: "Database", Group: g})
		})
		backups(t, c, func(tx backup.Tx) error {
			r := repoN(n+1, g)
			if err := errors.Join(tx.PutRepository(r), tx.PutSealed(r.ID, "sealed")); err != nil {
				return err
			}
			for i := range 5 {
				p := pointN(n*10+i, r)
				if i < 2 { // of one VM
					p.Set, p.VMID, p.VM = volspec.PointID(fmt.Sprintf("set%d", n)), "v", "Database"
				}
				if err := tx.PutPoint(p); err != nil {
					return err
				}
			}
			return tx.PutPolicy(backup.Policy{ID: volspec.PolicyID(fmt.Sprint("policy", n)), Group: g, Name: "data nightly"})
		})
		jobs(t, c, func(tx job.Tx) error {
			j := jobN(n, g, job.Done)
			j.ID = volspec.JobID(fmt.Sprintf("da0%d", n))
			return tx.PutJob(j)
		})
	}
}

// things: what is counted is what lists show, of one vmgroup or of all.
func things(t *testing.T, b Backend) {
	c := open(t, b)
	twoTenants(t, c)
	viewOverview(t, c, func(tx overview.Tx) error {
		for g, want := range map[volspec.VMGroupID]overview.Things{
			groupA: {Volumes: 3, VMs: 1, Points: 4},
			groupB: {Volumes: 3, VMs: 1, Points: 4},
			"":     {Volumes: 6, VMs: 2, Points: 8},
		} {
			got, err := tx.Things(g)
			require.NoError(t, err)
			assert.Equal(t, want, got, "of %q", g)
		}
		return nil
	})
}

// protectedIsCounted: however points come, change and go, what is counted is what
// there is.
func protectedIsCounted(t *testing.T, b Backend) {
	c := open(t, b)
	r := [2]backup.Repo{repoN(1, groupA), repoN(2, groupA)}
	backups(t, c, func(tx backup.Tx) error {
		return errors.Join(tx.PutRepository(r[0]), tx.PutRepository(r[1]), tx.PutSealed(r[0].ID, "sealed"), tx.PutSealed(r[1].ID, "sealed"))
	})
	set := func(n int, set volspec.PointID, vm volspec.VMID, disk volspec.VolumeID) backup.Point {
		p := pointN(n, r[n%2])
		p.Set, p.VMID, p.VM, p.VolumeID = set, vm, string(vm), disk
		return p
	}
	for _, step := range []struct {
		do     func(tx backup.Tx) error
		points int
		uses   volspec.Use
	}{
		{func(tx backup.Tx) error { return tx.PutPoint(pointN(2, r[0])) }, 1, volspec.Use{Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error { return tx.PutPoint(pointN(2, r[0])) }, 1, volspec.Use{Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error {
			return errors.Join(tx.PutPoint(set(10, "s1", "m", "d1")), tx.PutPoint(set(12, "s1", "m", "d2")), tx.PutPoint(set(11, "s2", "m", "d1")))
		}, 3, volspec.Use{VMs: []volspec.VMID{"m"}, Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error { return tx.DeletePoint("p010") }, 3, volspec.Use{VMs: []volspec.VMID{"m"}, Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error { return errors.Join(tx.DeletePoint("p012"), tx.DeletePoint("p012")) }, 2, volspec.Use{VMs: []volspec.VMID{"m"}, Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error { return tx.DeleteRepository(r[1].ID) }, 1, volspec.Use{Volumes: []volspec.VolumeID{"v1"}}},
		{func(tx backup.Tx) error { // it turns out to be another volume's
			p := pointN(2, r[0])
			p.VolumeID = "v9"
			return tx.PutPoint(p)
		}, 1, volspec.Use{Volumes: []volspec.VolumeID{"v9"}}},
		{func(tx backup.Tx) error { return tx.DeletePoint("p002") }, 0, volspec.Use{}},
	} {
		backups(t, c, step.do)
		viewOverview(t, c, func(tx overview.Tx) error {
			got, err := tx.Things(groupA)
			assert.Equal(t, step.points, got.Points)
			return err
		})
		groups(t, c, func(tx tenancy.Tx) error {
			got, err := tx.Use(groupA)
			got.Stored = 0
			assert.Equal(t, step.uses, got)
			return err
		})
	}
}

// tenantHealth: the worst that a vmgroup has, and who is disabled.
func tenantHealth(t *testing.T, b Backend) {
	c := open(t, b)
	twoTenants(t, c)
	backups(t, c, func(tx backup.Tx) error {
		return tx.PutAlarm(backup.Alarm{ID: "a", Group: groupA, Kind: "drill-failed"})
	})
	groups(t, c, func(tx tenancy.Tx) error {
		return errors.Join(tx.Bind(groupB, []string{"built-in"}),
			tx.PutGroup(volspec.VMGroup{ID: volspec.DefaultGroupID, Name: volspec.DefaultGroup, State: volspec.GroupDisabled}))
	})
	viewOverview(t, c, func(tx overview.Tx) error {
		got, err := tx.TenantHealth()
		assert.Equal(t, overview.TenantHealth{ByRank: map[int]int{0: 1, 1: 1, 2: 1}, Disabled: 1, Own: 1}, got)
		return err
	})
}

// search: parts of names in any case, the beginnings of ids, nothing but text,
// nothing of another vmgroup.
func search(t *testing.T, b Backend) {
	c := open(t, b)
	twoTenants(t, c)
	viewOverview(t, c, func(tx overview.Tx) error {
		for _, tc := range []struct {
			text string
			want []string // of A
		}{
			{"DATA", []string{"policy data nightly", "vm Database", "volume data@d1", "volume data@d1"}},
			{"0%", []string{"volume 100%@d1"}},
			{"_", []string{"volume a_b@d1"}},
			{"%", []string{"volume 100%@d1"}},
			{"da00", []string{"job da00"}},
			{"DA0", []string{"job da00"}},
			{"a00", nil},
			{"p00", []string{"point p000", "point p001", "point p002", "point p003", "point p004"}},
			{"repo", []string{"repository repo1"}},
			{`\`, nil}, {"'", nil}, {"nothing", nil},
		} {
			got, err := tx.Search(groupA, tc.text, true, 10)
			require.NoError(t, err)
			var names []string
			for _, m := range got {
				assert.Equal(t, "A", m.VMGroup)
				names = append(names, m.Kind+" "+m.Name)
			}
			assert.ElementsMatch(t, tc.want, names, tc.text)
		}
		all, err := tx.Search("", "data", true, 10)
		require.NoError(t, err)
		assert.Len(t, all, 8)
		few, err := tx.Search("", "data", true, 1)
		assert.Len(t, few, 3, "at most one of each kind")
		return err
	})
}
