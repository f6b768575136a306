package schedule

import (
	"fmt"
	"strings"
	"time"
)

// week is a set of weekdays, Monday in bit 0.
type week uint8

const allWeek week = 1<<7 - 1

var weekdays = []string{"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}

func (w week) contains(d time.Weekday) bool { return w&(1<<((d+6)%7)) != 0 }

func parseWeek(text string) (w week, err error) {
	for item := range strings.SplitSeq(text, ",") {
		low, high, ranged := strings.Cut(item, "..")
		from, err := weekday(low)
		if err != nil {
			return 0, err
		}
		to := from
		if ranged {
			if to, err = weekday(high); err != nil {
				return 0, err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			w |= 1 << d
			if d == to {
				break
			}
		}
	}
	return w, nil
}

func weekday(text string) (int, error) {
	for i, name := range weekdays {
		if strings.EqualFold(text, name) || strings.EqualFold(text, name[:3]) {
			return i, nil
		}
	}
	if _, err := time.LoadLocation(text); err == nil && len(text) > 2 {
		return 0, fmt.Errorf("%q is a time zone, which is a setting of its own", text)
	}
	return 0, fmt.Errorf("%q is no weekday, date or time", text)
}

// String writes runs of three and more days as a range.
func (w week) String() string {
	var items []string
	name := func(d int) string { return strings.ToUpper(weekdays[d][:1]) + weekdays[d][1:3] }
	for d := 0; d < 7; d++ {
		if w&(1<<d) == 0 {
			continue
		}
		end := d
		for end+1 < 7 && w&(1<<(end+1)) != 0 {
			end++
		}
		if end >= d+2 {
			items = append(items, name(d)+".."+name(end))
			d = end
			continue
		}
		items = append(items, name(d))
	}
	return strings.Join(items, ",")
}
