package schedule_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/errkind"
)

func parse(tb testing.TB, expr, zone string) schedule.Schedule {
	tb.Helper()
	s, err := schedule.Parse(expr, zone)
	require.NoError(tb, err)
	return s
}

// at reads a moment; with an offset where the wall clock is ambiguous.
func at(tb testing.TB, text string) time.Time {
	tb.Helper()
	t, err := time.Parse(time.RFC3339, text)
	require.NoError(tb, err)
	return t
}

func run(tb testing.TB, s schedule.Schedule, after string, n int) (got []string) {
	tb.Helper()
	t := at(tb, after)
	for range n {
		t = s.Next(t)
		if t.IsZero() {
			return append(got, "never")
		}
		got = append(got, t.Format(time.RFC3339))
	}
	return got
}

func TestNext(t *testing.T) {
	const from = "2026-11-24T10:20:30Z" // a Tuesday
	for _, c := range []struct {
		expr, full string
		want       []string
	}{
		{"02:30", "*-*-* 02:30:00", []string{"2026-11-25T02:30:00Z", "2026-11-26T02:30:00Z"}},
		{"10:20:30", "*-*-* 10:20:30", []string{"2026-11-25T10:20:30Z"}},
		{"10:20:31", "*-*-* 10:20:31", []string{"2026-11-24T10:20:31Z"}},
		{"*:00/15", "*-*-* *:00/15:00", []string{"2026-11-24T10:30:00Z", "2026-11-24T10:45:00Z", "2026-11-24T11:00:00Z"}},
		{"Mon..Fri,Sun 2:5", "Mon..Fri,Sun *-*-* 02:05:00", []string{"2026-11-25T02:05:00Z", "2026-11-26T02:05:00Z", "2026-11-27T02:05:00Z", "2026-11-29T02:05:00Z"}},
		{"sat..monday 00:00", "Mon,Sat,Sun *-*-* 00:00:00", []string{"2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-05T00:00:00Z"}},
		{"Sun", "Sun *-*-* 00:00:00", []string{"2026-11-29T00:00:00Z", "2026-12-06T00:00:00Z"}},
		{"*-*-01", "*-*-01 00:00:00", []string{"2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"}},
		{"2026-12-24", "2026-12-24 00:00:00", []string{"2026-12-24T00:00:00Z", "never"}},
		{"2026-11-24 10:20:30", "2026-11-24 10:20:30", []string{"never"}},
		{"12-24 18:00", "*-12-24 18:00:00", []string{"2026-12-24T18:00:00Z", "2027-12-24T18:00:00Z"}},
		{"*-*~1 23:00", "*-*~01 23:00:00", []string{"2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z", "2027-01-31T23:00:00Z", "2027-02-28T23:00:00Z"}},
		{"Mon *-05~7/1", "Mon *-05~07..01 00:00:00", []string{"2027-05-31T00:00:00Z", "2028-05-29T00:00:00Z", "2029-05-28T00:00:00Z"}},
		{"*-*~3..1", "*-*~03..01 00:00:00", []string{"2026-11-28T00:00:00Z", "2026-11-29T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-29T00:00:00Z"}},
		{"*-*-31", "*-*-31 00:00:00", []string{"2026-12-31T00:00:00Z", "2027-01-31T00:00:00Z", "2027-03-31T00:00:00Z"}},
		{"*-02-29", "*-02-29 00:00:00", []string{"2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"}},
		{"*-*-*/10 4,16:00", "*-*-*/10 04,16:00:00", []string{"2026-12-01T04:00:00Z", "2026-12-01T16:00:00Z", "2026-12-11T04:00:00Z"}},
		{"8..18/4:00", "*-*-* 08..18/4:00:00", []string{"2026-11-24T12:00:00Z", "2026-11-24T16:00:00Z", "2026-11-25T08:00:00Z"}},
		{"Fri *-*-13", "Fri *-*-13 00:00:00", []string{"2027-08-13T00:00:00Z", "2028-10-13T00:00:00Z"}},
		{"2027..2029/2-01-01", "2027..2029/2-01-01 00:00:00", []string{"2027-01-01T00:00:00Z", "2029-01-01T00:00:00Z", "never"}},
		{"every 6h", "every 6h", []string{"2026-11-24T12:00:00Z", "2026-11-24T18:00:00Z", "2026-11-25T00:00:00Z"}},
		{"every 90m", "every 90m", []string{"2026-11-24T10:30:00Z", "2026-11-24T12:00:00Z"}},
		{"Every 1h30m", "every 90m", []string{"2026-11-24T10:30:00Z"}},
		{"every 24h", "every 24h", []string{"2026-11-25T00:00:00Z"}},
		{"minutely", "*-*-* *:*:00", []string{"2026-11-24T10:21:00Z"}},
		{"hourly", "*-*-* *:00:00", []string{"2026-11-24T11:00:00Z"}},
		{"Daily", "*-*-* 00:00:00", []string{"2026-11-25T00:00:00Z"}},
		{"weekly", "Mon *-*-* 00:00:00", []string{"2026-11-30T00:00:00Z"}},
		{"monthly", "*-*-01 00:00:00", []string{"2026-12-01T00:00:00Z"}},
		{"quarterly", "*-01,04,07,10-01 00:00:00", []string{"2027-01-01T00:00:00Z", "2027-04-01T00:00:00Z"}},
		{"semiannually", "*-01,07-01 00:00:00", []string{"2027-01-01T00:00:00Z", "2027-07-01T00:00:00Z"}},
		{"yearly", "*-01-01 00:00:00", []string{"2027-01-01T00:00:00Z"}},
		{" annually ", "*-01-01 00:00:00", []string{"2027-01-01T00:00:00Z"}},
		{"*-02-30", "*-02-30 00:00:00", []string{"never"}},
		{"*-02~30", "*-02~30 00:00:00", []string{"never"}},
		{"1999-01-01", "1999-01-01 00:00:00", []string{"never"}},
	} {
		s := parse(t, c.expr, "UTC")
		assert.Equal(t, c.full, s.String(), c.expr)
		assert.Equal(t, c.want, run(t, s, from, len(c.want)), c.expr)
		assert.Equal(t, s, parse(t, s.String(), "UTC"), "the full form of %s means the same", c.expr)
	}
}

func TestRefusals(t *testing.T) {
	for expr, want := range map[string]string{
		"":                          "it is empty",
		"25:00":                     "hour 25 is not between 0 and 23",
		"12:60":                     "minute 60 is not between 0 and 59",
		"12:00:00.5":                `"00.5" is not a number of second`,
		"1:2:3:4":                   "more than hour, minute and second",
		"*-13-01":                   "month 13 is not between 1 and 12",
		"*-*-32":                    "day 32 is not between 1 and 31",
		"*-*~0":                     "day from the end 0 is not between 1 and 31",
		"1-2-3-4":                   "more than year, month and day",
		"2026~01-01":                "~ stands only before the day",
		"1969-01-01":                "year 1969 is not between 1970 and 2199",
		"10..8:00":                  "the range 10..8 of hour runs backwards",
		"*-*~1..3":                  "the range 1..3 of day from the end runs backwards",
		"*/0:00":                    `the step "0" of hour is not a number from 1 to 23`,
		"*/-1:00":                   `the step "-1" of hour`,
		"1,,2:00":                   "a number of hour is missing",
		"+1:00":                     `"+1" is not a number of hour`,
		"Monday..":                  `"" is no weekday`,
		"someday":                   `"someday" is no weekday, date or time`,
		"02:30 Europe/Berlin":       "is a time zone, which is a setting of its own",
		"02:30 UTC":                 "is a time zone, which is a setting of its own",
		"02:30 Mon":                 "come once each and in this order",
		"Mon Tue 02:30":             "come once each and in this order",
		"02:30 *-*-*":               "come once each and in this order",
		"every":                     "after \"every\" stands one duration",
		"every 6":                   `"6" is not a duration`,
		"every 7h":                  "7h does not divide the day, so the times would differ from day to day: 6h and 8h do",
		"every 30s":                 "is not from 1m to 24h in whole minutes",
		"every 48h":                 "is not from 1m to 24h in whole minutes",
		"every -6h":                 "is not from 1m to 24h in whole minutes",
		string(make([]byte, 10000)): "longer than 200 characters",
	} {
		_, err := schedule.Parse(expr, "UTC")
		require.Equal(t, errkind.Invalid, errkind.Of(err), "%q: %v", expr, err)
		assert.Contains(t, err.Error(), want, expr)
		assert.Contains(t, err.Error(), `write for example "02:30"`)
		assert.Less(t, len(err.Error()), 1200)
	}
	for _, zone := range []string{"Mars/Olympus", "../etc/passwd", "europe berlin"} {
		_, err := schedule.Parse("02:30", zone)
		require.Equal(t, errkind.Invalid, errkind.Of(err))
		assert.Contains(t, err.Error(), `for example "Europe/Berlin"`)
	}
}

func TestZero(t *testing.T) {
	var s schedule.Schedule
	assert.True(t, s.IsZero())
	assert.True(t, s.Next(time.Unix(0, 0)).IsZero())
	assert.Equal(t, "never", s.String())
	_, _, ok := schedule.Due(s, time.Time{}, time.Time{}, time.Unix(1e9, 0))
	assert.False(t, ok)
	assert.False(t, parse(t, "daily", "").IsZero())
	assert.Equal(t, time.Local, parse(t, "daily", "").Location())
}

// What the package's comment says of changed clocks.
func TestClockChanges(t *testing.T) {
	for _, c := range []struct {
		why, expr, zone, after string
		want                   []string
	}{
		{"skipped: right after the gap", "02:30", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"}},
		{"several in one gap: one", "02:00/15", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"the gap's end is due itself: once", "02,03:00", "Europe/Berlin", "2026-03-29T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"}},
		{"doubled: the first", "02:30", "Europe/Berlin", "2026-10-24T12:00:00Z",
			[]string{"2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"}},
		{"asked inside the doubled hour", "02:30", "Europe/Berlin", "2026-10-25T02:10:00+01:00",
			[]string{"2026-10-26T02:30:00+01:00"}},
		{"every hour: both", "*:30", "Europe/Berlin", "2026-10-25T01:00:00+02:00",
			[]string{"2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00", "2026-10-25T03:30:00+01:00"}},
		{"every hour: nothing made up", "*:30", "Europe/Berlin", "2026-03-29T01:00:00+01:00",
			[]string{"2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"}},
		{"every 2h is not every hour", "every 2h", "Europe/Berlin", "2026-10-25T01:00:00+02:00",
			[]string{"2026-10-25T02:00:00+02:00", "2026-10-25T04:00:00+01:00"}},
		{"every 2h over a gap", "every 2h", "Europe/Berlin", "2026-03-29T00:30:00+01:00",
			[]string{"2026-03-29T03:00:00+02:00", "2026-03-29T04:00:00+02:00"}},
		{"half an hour", "02:15", "Australia/Lord_Howe", "2026-10-03T12:00:00Z",
			[]string{"2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"}},
		{"half an hour, doubled", "01:45", "Australia/Lord_Howe", "2026-04-04T12:00:00Z",
			[]string{"2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"}},
		{"midnight is skipped", "00:00", "Africa/Cairo", "2026-04-23T12:00:00Z",
			[]string{"2026-04-24T01:00:00+03:00", "2026-04-25T00:00:00+03:00"}},
		{"the gap ends at midnight: just before it", "23:30", "America/Nuuk", "2026-03-28T12:00:00Z",
			[]string{"2026-03-28T22:59:59-02:00", "2026-03-29T23:30:00-01:00"}},
		{"and midnight itself", "00:00", "America/Nuuk", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T00:00:00-01:00", "2026-03-30T00:00:00-01:00"}},
		{"midnight comes twice", "23:30", "America/Sao_Paulo", "2018-02-17T12:00:00Z",
			[]string{"2018-02-17T23:30:00-02:00", "2018-02-18T23:30:00-03:00"}},
		{"a day that is not", "12:00", "Pacific/Apia", "2011-12-29T00:00:00Z",
			[]string{"2011-12-29T12:00:00-10:00", "2011-12-31T12:00:00+14:00"}},
		{"one date in the gap", "2026-03-29 02:30", "Europe/Berlin", "2026-01-01T00:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "never"}},
		{"weekday of the gap", "Sun 02:30", "Europe/Berlin", "2026-03-28T12:00:00Z",
			[]string{"2026-03-29T03:00:00+02:00", "2026-04-05T02:30:00+02:00"}},
		{"Ramadan", "02:30", "Africa/Casablanca", "2026-02-14T12:00:00Z",
			[]string{"2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00Z"}},
	} {
		s := parse(t, c.expr, c.zone)
		assert.Equal(t, c.want, run(t, s, c.after, len(c.want)), "%s: %s %s", c.why, c.expr, c.zone)
	}
}

func TestBetween(t *testing.T) {
	s := parse(t, "every 6h", "UTC")
	got := slices.Collect(s.Between(at(t, "2026-01-01T00:00:00Z"), at(t, "2026-01-02T00:00:00Z")))
	require.Len(t, got, 4, "the first moment is not part of it, the last is")
	assert.Equal(t, "2026-01-01T06:00:00Z", got[0].Format(time.RFC3339))
	assert.Equal(t, "2026-01-02T00:00:00Z", got[3].Format(time.RFC3339))
	for range s.Between(at(t, "2026-01-01T00:00:00Z"), at(t, "2999-01-01T00:00:00Z")) {
		break // ends when the reader does
	}
}

// The search for what never comes, or only in many years, is short.
func TestBoundedSearch(t *testing.T) {
	start := time.Now()
	rare := parse(t, "Mon 2197..2199-02~1", "Europe/Berlin")
	_, _, ok := schedule.Due(rare, at(t, "2001-01-01T00:00:00Z"), time.Time{}, at(t, "2190-01-01T00:00:00Z"))
	assert.False(t, ok)
	_, _, ok = schedule.Due(rare, at(t, "2001-01-01T00:00:00Z"), time.Time{}, at(t, "2199-06-01T00:00:00Z"))
	assert.False(t, ok, "no Monday among them")
	for _, expr := range []string{"*-02-30", "*-02~30", "*-04-31 *:*:*", "2199-12-31 23:59:59", "Mon 2197..2199-02-29", "1970-01-01"} {
		s := parse(t, expr, "America/New_York")
		for range 20 {
			s.Next(at(t, "2026-01-01T00:00:00Z"))
		}
	}
	assert.Less(t, time.Since(start), 5*time.Second)
}
