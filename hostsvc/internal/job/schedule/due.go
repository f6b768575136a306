package schedule

import "time"

// MaxMissed is how far Due counts.
const MaxMissed = 1000

// Due decides what a schedule asks for now. since is when it began to count,
// last the newest due time that was begun, or the zero time. due is the newest
// due time that is after both and not after now; all that were missed before
// it are caught up by this one, and missed says how many they are, up to
// MaxMissed. ok is false when nothing is due.
//
// A clock that was put back repeats nothing, since last stays; one that jumped
// ahead by years gives one due time.
func Due(s Schedule, since, last, now time.Time) (due time.Time, missed int, ok bool) {
	start := since
	if last.After(start) {
		start = last
	}
	first := s.Next(start)
	if first.IsZero() || first.After(now) {
		return time.Time{}, 0, false
	}
	due = first
	// The largest moment after which something is due until now. What is due
	// after a later moment is never earlier.
	low, high := start.Unix(), now.Unix()
	for low < high {
		middle := low + (high-low+1)/2
		if n := s.Next(time.Unix(middle, 0)); n.IsZero() || n.After(now) {
			high = middle - 1
		} else {
			low, due = middle, n
		}
	}
	for t := first; t.Before(due) && missed < MaxMissed; t = s.Next(t) {
		missed++
	}
	return due, missed, true
}
