// Package schedule is calendar expressions: when something is due, in the
// clock on the wall of one time zone. It is pure: it never asks for the time.
//
// # Expressions
//
// The language is a part of systemd's OnCalendar, and "every":
//
//	[WEEKDAYS] [DATE] [TIME]    at least one of them, in this order
//	every DURATION              6h, 90m, 1h30m
//	WORD                        minutely hourly daily weekly monthly quarterly semiannually yearly annually
//
//	WEEKDAYS  Mon..Fri,Sun      names or their first three letters, lists, ranges (Sat..Mon goes round)
//	DATE      [YEAR-]MONTH-DAY  or [YEAR-]MONTH~DAY, which counts days from the end: ~1 is the last day
//	TIME      HOUR:MINUTE[:SECOND]
//
// A missing date is every day, a missing year every year, a missing time
// 00:00:00, missing seconds 00. Each number of DATE and TIME is a list of
//
//	every value:            *
//	one value:              5
//	a range:                2..7
//	every second value:     */2, from the smallest on
//	1, then every sixth:    1/6
//	8, 10, … 18:            8..18/2
//
// After ~ the numbers go down: *-*~7/1 are the last seven days of a month, so
// "Mon *-05~7/1" is the last Monday in May. Years are 1970 to 2199; nothing is
// due later. A weekday and a date must both fit. "weekly" is Monday,
// "quarterly" the first of January, April, July and October; all words mean
// midnight, or the full hour or minute.
//
// "every" counts from midnight and must divide the day, so that the times are
// the same each day: every 6h is 00:00, 06:00, 12:00 and 18:00.
//
// What a day lacks is skipped: *-02-30 is never due, *-*-31 seven times a year.
//
// # When clocks are changed
//
// A schedule that has a time in each of the 24 hours (*:15, *:00/10, hourly,
// every 30m) follows the time that passes: in a doubled hour it is due in
// both, and of a skipped hour nothing is made up. Every other schedule is due
// once for each time on the wall:
//
//   - A time that occurs twice is due the first time.
//   - Times that do not occur, because clocks were put forward, are due once,
//     at the first moment after the gap. Where that moment belongs to the next
//     day (Nuuk puts clocks forward at 23:00) it is the last second before the
//     gap instead, so that what is daily is due exactly once each day.
//   - A day that does not exist at all (Apia, 30 December 2011) has no times.
package schedule
