package schedule

import (
	"fmt"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the machine may have no time zones installed

	"mooring.dev/mooring/pkg/errkind"
)

// maxLen is how long an expression may be: far more than a sensible one.
const maxLen = 200

// words are expressions with a name.
var words = map[string]string{
	"minutely":     "*-*-* *:*:00",
	"hourly":       "*-*-* *:00:00",
	"daily":        "*-*-* 00:00:00",
	"weekly":       "Mon *-*-* 00:00:00",
	"monthly":      "*-*-01 00:00:00",
	"quarterly":    "*-01,04,07,10-01 00:00:00",
	"semiannually": "*-01,07-01 00:00:00",
	"yearly":       "*-01-01 00:00:00",
	"annually":     "*-01-01 00:00:00",
}

// Parse reads an expression of the language in the package's comment. zone is
// a name of the time zone database such as Europe/Berlin; "" is the zone of
// this machine. The error is errkind.Invalid: it says what is wrong and shows
// an example.
func Parse(expr, zone string) (Schedule, error) {
	loc, err := location(zone)
	if err != nil {
		return Schedule{}, err
	}
	s := Schedule{loc: loc, zone: zone}
	if err := s.parse(expr); err != nil {
		if len(expr) > maxLen {
			expr = strings.ToValidUTF8(expr[:maxLen], "") + "…"
		}
		return Schedule{}, errkind.New(errkind.Invalid,
			`the schedule %q cannot be read: %v; write for example "02:30", "Mon..Fri *:00/15", "*-*~1 23:00" or "every 6h"`, expr, err)
	}
	s.through = s.everyHour()
	s.valid = true
	return s, nil
}

// zones are those that were read from their files, by name: there are a few
// hundred at most.
var zones sync.Map

func location(zone string) (*time.Location, error) {
	if zone == "" {
		return time.Local, nil
	}
	if loc, ok := zones.Load(zone); ok {
		return loc.(*time.Location), nil
	}
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return nil, errkind.New(errkind.Invalid, `the time zone %q is not known: write a name of the time zone database, for example "Europe/Berlin" or "UTC"`, zone)
	}
	zones.Store(zone, loc)
	return loc, nil
}

func (s *Schedule) parse(expr string) error {
	if len(expr) > maxLen {
		return fmt.Errorf("it is longer than %d characters", maxLen)
	}
	if w, ok := words[strings.ToLower(strings.TrimSpace(expr))]; ok {
		expr = w
	}
	tokens := strings.Fields(expr)
	if len(tokens) == 0 {
		return fmt.Errorf("it is empty")
	}
	if strings.EqualFold(tokens[0], "every") {
		return s.parseEvery(tokens[1:])
	}
	s.year, s.month, s.day = years.star(), months.star(), days.star()
	s.hour, s.minute, s.second = hours.only(0), minutes.only(0), seconds.only(0)
	s.week = allWeek
	stage := 0 // weekdays, date, time
	for _, token := range tokens {
		var at int
		var err error
		switch {
		case strings.Contains(token, ":"):
			at, err = 3, s.parseTime(token)
		case strings.ContainsAny(token, "-~"):
			at, err = 2, s.parseDate(token)
		default:
			at = 1
			s.week, err = parseWeek(token)
		}
		if err != nil {
			return err
		}
		if at <= stage {
			return fmt.Errorf("%q does not belong there: weekdays, date and time come once each and in this order", token)
		}
		stage = at
	}
	return nil
}

func (s *Schedule) parseTime(text string) (err error) {
	p := strings.Split(text, ":")
	if len(p) > 3 {
		return fmt.Errorf("the time %q has more than hour, minute and second", text)
	}
	if s.hour, err = hours.parse(p[0]); err != nil {
		return err
	}
	if s.minute, err = minutes.parse(p[1]); err != nil {
		return err
	}
	if len(p) == 3 {
		s.second, err = seconds.parse(p[2])
	}
	return err
}

func (s *Schedule) parseDate(text string) (err error) {
	i, unit := strings.LastIndexAny(text, "-~"), days
	rest, day := text[:i], text[i+1:]
	if text[i] == '~' {
		unit = fromEnd
	}
	if strings.Contains(rest, "~") {
		return fmt.Errorf("~ stands only before the day in the date %q", text)
	}
	year, month, both := strings.Cut(rest, "-")
	if !both {
		year, month = "*", rest
	}
	if strings.Contains(month, "-") {
		return fmt.Errorf("the date %q has more than year, month and day", text)
	}
	if s.year, err = years.parse(year); err != nil {
		return err
	}
	if s.month, err = months.parse(month); err != nil {
		return err
	}
	s.day, err = unit.parse(day)
	return err
}

func (s *Schedule) parseEvery(tokens []string) error {
	if len(tokens) != 1 {
		return fmt.Errorf("after \"every\" stands one duration")
	}
	d, err := time.ParseDuration(tokens[0])
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 6h or 90m", tokens[0])
	}
	if d < time.Minute || d > 24*time.Hour || d%time.Minute != 0 {
		return fmt.Errorf("%s is not from 1m to 24h in whole minutes", tokens[0])
	}
	if 24*time.Hour%d != 0 {
		return fmt.Errorf("%s does not divide the day, so the times would differ from day to day: %s", tokens[0], neighbours(d))
	}
	s.every = int64(d / time.Second)
	return nil
}

// neighbours names the durations next to d that divide the day.
func neighbours(d time.Duration) string {
	down, up := d, d
	for 24*time.Hour%down != 0 {
		down -= time.Minute
	}
	for 24*time.Hour%up != 0 {
		up += time.Minute
	}
	return short(int64(down/time.Second)) + " and " + short(int64(up/time.Second)) + " do"
}
