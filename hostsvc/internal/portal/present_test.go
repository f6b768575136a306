package portal_test

import (
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The last run of a job is the one of its schedule, of which the parts are in
// the calendar too, or a later one that was asked for by hand.
func TestAJobShowsItsLastRun(t *testing.T) {
	at := func(minute int) time.Time { return time.Date(2026, 3, 1, 2, minute, 0, 0, time.UTC) }
	run := func(object, state string, begun, ended int) wire.Run {
		return wire.Run{Policy: "db", Task: "backup", Object: object, State: state, Job: object + state, Time: at(begun), Ended: at(ended)}
	}
	whole := run("", "partial", 0, 9)
	for name, c := range map[string]struct {
		runs []wire.Run
		want string
	}{
		"none":             {nil, "never ran"},
		"by hand":          {[]wire.Run{run("a", "done", 0, 1)}, "Done"},
		"with its parts":   {[]wire.Run{whole, run("a", "done", 1, 2), run("b", "failed", 2, 9)}, "Partly done"},
		"by hand later":    {[]wire.Run{whole, run("a", "failed", 1, 2), run("b", "done", 12, 13)}, "Done"},
		"of another task":  {[]wire.Run{{Policy: "db", Task: "verify", State: "done", Job: "v", Time: at(0)}}, "never ran"},
		"of another job":   {[]wire.Run{{Policy: "x", Task: "backup", State: "done", Job: "v", Time: at(0)}}, "never ran"},
		"the one to come":  {[]wire.Run{{Policy: "db", Task: "backup", State: "due", Time: at(0)}}, "never ran"},
		"of two schedules": {[]wire.Run{whole, run("", "failed", 20, 21)}, "Failed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, owner)
			w.fillData("db")
			w.answers["GET /calendar"] = wire.Calendar{Runs: c.runs}
			cell := regexp.MustCompile(`(?s)data-label="Last result">(.*?)</td>`).FindStringSubmatch(w.get("/jobs").Body.String())
			require.NotNil(t, cell)
			assert.Contains(t, cell[1], c.want)
		})
	}
}

// A line of time ends now, and a point of just now is at its end.
func TestANewPointIsAtTheEndOfItsLine(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	w.answers["GET /vmgroups/acme/points"] = wire.PointList{Points: []wire.Point{
		{ID: "p1", Kind: "volume", Volume: "db@fast", Repository: "db", State: volspec.Completed, Created: time.Now().Add(-164 * time.Second)},
	}}
	page := w.get("/points?of=db@fast").Body.String()
	mark := regexp.MustCompile(`class="mark mark-completed mark-info" x1="(\d+)"`).FindStringSubmatch(page)
	require.NotNil(t, mark, "%s", page)
	x, err := strconv.Atoi(mark[1])
	require.NoError(t, err)
	assert.Greater(t, x, 950)
	assert.LessOrEqual(t, x, 1000)
}

// Sizes and distances in time are short.
func TestNumbersAreShort(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	now := time.Now()
	w.answers["GET /session/sessions"] = []wire.OpenSession{{ID: "s", Created: now, Seen: now.Add(-165 * time.Second), Expires: now}}
	assert.Contains(t, w.get("/account/sessions").Body.String(), ">2 minutes ago<")
	w.answers["GET /vmgroups/acme/backup-usage"] = wire.BackupUsage{VMGroup: "acme", Stored: 8<<20 + 1000}
	assert.Contains(t, w.get("/repositories").Body.String(), "8 MiB stored")
}

func TestHowLongSomethingTook(t *testing.T) {
	for want, d := range map[string]time.Duration{
		"under a second": 999 * time.Millisecond, "1 second": time.Second, "2 minutes 10 seconds": 130 * time.Second,
		"3 hours": 3*time.Hour + time.Minute, "1 day 2 hours": 26 * time.Hour,
	} {
		assert.Equal(t, want, portal.DurationText(d))
	}
}
