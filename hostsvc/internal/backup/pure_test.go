package backup

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/job/retention"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestPlanBelievesOnlyWhatMatches(t *testing.T) {
	base := &Base{Snapshot: "s1", Point: "p2", Size: 100}
	parents := []Point{{ID: "p3"}, {ID: "p2"}, {ID: "p1"}}
	kept := []volspec.SnapshotID{"s1", "s2"}
	for name, c := range map[string]struct {
		f      facts
		parent volspec.PointID
		base   volspec.SnapshotID
		why    string
	}{
		"all matches":          {facts{size: 100, base: base, parents: parents, kept: kept}, "p2", "s1", "changed extents since"},
		"the disk has grown":   {facts{size: 200, base: base, parents: parents, kept: kept}, "p2", "s1", "changed extents since"},
		"the disk has shrunk":  {facts{size: 50, base: base, parents: parents, kept: kept}, "p3", "", "smaller"},
		"asked for":            {facts{size: 100, base: base, parents: parents, kept: kept, full: true}, "p3", "", "asked for"},
		"first":                {facts{size: 100, kept: kept}, "", "", "first backup"},
		"nothing is kept":      {facts{size: 100, parents: parents, kept: kept}, "p3", "", "no earlier backup has left"},
		"its snapshot is gone": {facts{size: 100, base: base, parents: parents, kept: kept[1:]}, "p3", "", "snapshot of the last backup is gone"},
		"its point is gone":    {facts{size: 100, base: base, parents: parents[:1], kept: kept}, "p3", "", "gone or damaged"},
		"no point is left":     {facts{size: 100, base: base, kept: kept}, "", "", "first backup"},
	} {
		d := plan(c.f)
		assert.Equal(t, c.parent, d.parent, name)
		assert.Equal(t, c.base, d.base, name)
		assert.Contains(t, d.why, c.why, name)
	}
}

// A base that names a moment needs no snapshot, but a disk of the same size.
func TestPlanOfVMDisks(t *testing.T) {
	base := &Base{Point: "p1", Size: 100, Change: "m1"}
	parents := []Point{{ID: "p1"}}
	d := plan(facts{size: 100, base: base, parents: parents})
	assert.Equal(t, []any{volspec.PointID("p1"), "m1", false}, []any{d.parent, d.change, d.full()})
	for why, f := range map[string]facts{
		"has grown":       {size: 101, base: base, parents: parents},
		"smaller":         {size: 99, base: base, parents: parents},
		"asked for":       {size: 100, base: base, parents: parents, full: true},
		"gone or damaged": {size: 100, base: base, parents: []Point{{ID: "p2"}}},
	} {
		d := plan(f)
		assert.True(t, d.full(), why)
		assert.NotEmpty(t, d.parent, why)
		assert.Contains(t, d.why, why)
	}
}

func TestProtectionIsJudgedByTheNewestGoodPoint(t *testing.T) {
	at := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	daily := Policy{Name: "daily", PolicyBody: PolicyBody{Spec: wire.Policy{RPO: "26h"}}}
	hourly := Policy{Name: "hourly", PolicyBody: PolicyBody{Spec: wire.Policy{RPO: "2h"}}}
	free := Policy{Name: "free"}
	old := Volume{Created: at.Add(-1000 * time.Hour)}
	point := func(age time.Duration) *Newest { return &Newest{Created: at.Add(-age), State: volspec.Verified} }
	failed := &job.Job{State: job.Failed, Error: "no room"}
	for name, c := range map[string]struct {
		f     protectionFacts
		state string
	}{
		"no policy":                     {protectionFacts{volume: old, newest: point(time.Hour)}, stateUnprotected},
		"young enough":                  {protectionFacts{volume: old, policies: []Policy{daily}, newest: point(25 * time.Hour)}, stateOK},
		"too old":                       {protectionFacts{volume: old, policies: []Policy{daily}, newest: point(27 * time.Hour)}, stateLate},
		"the strictest counts":          {protectionFacts{volume: old, policies: []Policy{daily, hourly}, newest: point(3 * time.Hour)}, stateLate},
		"never":                         {protectionFacts{volume: old, policies: []Policy{daily}}, stateLate},
		"a new volume has time":         {protectionFacts{volume: Volume{Created: at.Add(-time.Hour)}, policies: []Policy{daily}}, statePending},
		"no objective":                  {protectionFacts{volume: old, policies: []Policy{free}, newest: point(9999 * time.Hour)}, stateOK},
		"no objective and no point":     {protectionFacts{volume: old, policies: []Policy{free}}, statePending},
		"the last job failed":           {protectionFacts{volume: old, policies: []Policy{daily}, newest: point(time.Hour), lastJob: failed}, stateFailed},
		"late is worse than failed":     {protectionFacts{volume: old, policies: []Policy{daily}, newest: point(99 * time.Hour), lastJob: failed}, stateLate},
		"failed, but nobody wanted one": {protectionFacts{volume: old, lastJob: failed}, stateUnprotected},
	} {
		c.f.now = at
		p := judgeProtection(c.f)
		assert.Equal(t, c.state, p.State, name)
		if c.f.newest == nil {
			assert.EqualValues(t, -1, p.AgeSeconds, name)
		}
	}
}

func TestWhichPointsATaskIsAbout(t *testing.T) {
	at := time.Unix(1000, 0)
	point := func(id volspec.PointID, s volspec.PointState, verified time.Time) Point {
		return Point{ID: id, State: s, Body: PointBody{VerifiedAt: verified}}
	}
	points := []Point{ // newest first
		point("p5", volspec.Damaged, time.Time{}),
		point("p4", volspec.Completed, time.Time{}),
		point("p3", volspec.Verified, at.Add(time.Hour)),
		point("p2", volspec.Verified, at),
		point("p1", volspec.Completed, time.Time{}),
	}
	ids := func(all []Point) (out []string) {
		for _, p := range all {
			out = append(out, string(p.ID))
		}
		return out
	}
	assert.Equal(t, []string{"p4"}, ids(choosePoints(kindDrill, points, nil, "")), "the newest good one")
	assert.Equal(t, []string{"p4", "p1", "p2"}, ids(choosePoints(kindVerify, points, nil, "")), "unverified ones, and the oldest proof")
	assert.Equal(t, []string{"p1", "p2", "p3", "p4"}, ids(choosePoints(kindCopy, points, nil, "far")), "oldest first")
	copied := []Point{{ID: copyID("p2", "far")}}
	assert.Equal(t, []string{"p3", "p4"}, ids(choosePoints(kindCopy, points, copied, "far")), "only what is newer than the newest copy")
	assert.Equal(t, []string{"p1", "p2", "p3", "p4"}, ids(choosePoints(kindCopy, points, copied, "elsewhere")), "copies elsewhere do not count")
	assert.Empty(t, choosePoints(kindDrill, points[:1], nil, ""))
}

func TestMoments(t *testing.T) {
	for text, want := range map[string]time.Time{
		"latest":               {},
		"2026-11-24T10:00:00Z": time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
		"2026-11-24T10:00:05":  time.Date(2026, 11, 24, 10, 0, 5, 0, time.Local),
		"2026-11-24T10:00":     time.Date(2026, 11, 24, 10, 0, 59, 999999999, time.Local),
		"2026-11-24":           time.Date(2026, 11, 24, 23, 59, 59, 999999999, time.Local),
	} {
		got, err := parseMoment(text)
		require.NoError(t, err, text)
		assert.True(t, want.Equal(got), "%s is %s", text, got)
	}
	for _, text := range []string{"", "yesterday", "2026-13-01", "10:00"} {
		_, err := parseMoment(text)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), text)
	}
}

func TestPlacesAreCanonical(t *testing.T) {
	same := [][2]repository.Location{
		{{Type: "directory", Path: "/srv/b"}, {Type: "directory", Path: "/srv//x/../b/"}},
		{{Type: "s3", Endpoint: "S3.example.org", Bucket: "b", Prefix: "p"}, {Type: "s3", Endpoint: "s3.example.org", Bucket: "b", Prefix: "/p/"}},
		{{Type: "sftp", Host: "H", User: "u", HostKey: "k", Path: "/b"}, {Type: "sftp", Host: "h", Port: 22, User: "u", HostKey: "other", Path: "/b/."}},
	}
	for _, pair := range same {
		a, err := place(pair[0])
		require.NoError(t, err)
		b, err := place(pair[1])
		require.NoError(t, err)
		assert.Equal(t, a, b)
	}
	for _, l := range []repository.Location{
		{}, {Type: "ftp"}, {Type: "directory", Path: "b"}, {Type: "directory", Path: "/"}, {Type: "s3", Bucket: "b"},
		{Type: "s3", Endpoint: "https://s3.example.org", Bucket: "b"}, {Type: "sftp", Host: "h", User: "u", Path: "/b"}, {Type: "sftp", Host: "h", User: "u", HostKey: "k", Path: "b"},
	} {
		_, err := place(l)
		assert.Equal(t, errkind.Invalid, errkind.Of(err), "%+v", l)
	}
}

func TestAPolicySelects(t *testing.T) {
	g := volspec.VMGroup{ID: "g"}
	vol := func(name, own string) Volume {
		return Volume{Group: g, Name: volspec.Name{Volume: name, Datastore: "d1"}, Spec: volspec.Spec{BackupPolicy: own}}
	}
	all := Policy{Name: "all", Group: "g", PolicyBody: PolicyBody{Spec: wire.Policy{Volumes: []string{"*"}, Exclude: []string{"tmp-*", "x@d1"}}}}
	assert.True(t, selects(all, vol("db", "")))
	assert.False(t, selects(all, vol("tmp-1", "")))
	assert.False(t, selects(all, vol("x", "")), "excluded by its full name")
	assert.False(t, selects(all, vol("db", "gold")), "a volume that names a policy is of no other's patterns")
	named := Policy{Name: "gold", Group: "g"}
	assert.True(t, selects(named, vol("db", "gold")))
	assert.False(t, selects(named, vol("db", "")), "no pattern, no volume")
	named.Group = "other"
	assert.False(t, selects(named, vol("db", "gold")), "another vmgroup's policy of that name")
}

func TestAPolicyTellsEverythingThatIsWrong(t *testing.T) {
	err := checkPolicy(complete(wire.Policy{
		Name: "a/b", Volumes: []string{"["}, Schedule: "sometimes", Overlap: "both", RPO: "soon", Priority: 9, Consistency: "maybe",
		Keep: wire.Keep{Daily: -1}, Copy: wire.CopyPolicy{Schedule: "daily"}, Verify: wire.VerifyPolicy{Schedule: "daily", Mode: "half"},
	}, "UTC"))
	for _, text := range []string{"policy name", "pattern", "needs a repository", "schedule", "overlap", "rpo", "priority", "consistency", "keep -1", "copy schedule needs", "verify mode"} {
		assert.ErrorContains(t, err, text)
	}
	assert.NoError(t, checkPolicy(complete(wire.Policy{Name: "ok", Volumes: []string{"*"}, Repository: "main", Schedule: "02:30", RPO: "2d"}, "Europe/Berlin")))
}

// Whatever the points and the rules are, if there was a good one, a good one
// stays, and a held one does.
func TestDecideKeepsAGoodPoint(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var all []Point
		good := false
		for i := range rapid.IntRange(0, 30).Draw(rt, "points") {
			p := Point{ID: volspec.PointID(strings.Repeat("p", i+1)), State: rapid.SampledFrom([]volspec.PointState{volspec.Completed, volspec.Proven, volspec.Damaged}).Draw(rt, "state"),
				Created: now().Add(-time.Duration(rapid.IntRange(0, 10000).Draw(rt, "hours")) * time.Hour), Hold: rapid.IntRange(0, 9).Draw(rt, "hold") == 0,
				Deleting: rapid.IntRange(0, 9).Draw(rt, "deleting") == 0}
			good = good || p.good()
			all = append(all, p)
		}
		k := func(name string) int { return rapid.IntRange(0, 3).Draw(rt, name) }
		decisions := decide(all, retention.Rules{Last: k("last"), Daily: k("daily"), Weekly: k("weekly"), Yearly: k("yearly")})
		kept := map[string]bool{}
		for _, d := range decisions {
			kept[d.ID] = d.Keep
			assert.NotEmpty(rt, d.Reasons)
		}
		left := false
		for _, p := range all {
			left = left || p.good() && kept[string(p.ID)]
			if p.Hold && !p.Deleting {
				assert.True(rt, kept[string(p.ID)], "a held point")
			}
		}
		assert.Equal(rt, good, left)
	})
}
