package portal

import (
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// Steps are those of log-ins, for the tests.
type Steps struct{ s *steps }

// NewSteps makes steps by a clock.
func NewSteps(now func() time.Time) Steps { return Steps{newSteps(now)} }

// Put keeps a log-in.
func (s Steps) Put(r wire.Login) string { return s.s.put(r) }

// Get returns it.
func (s Steps) Get(name string) (wire.Login, bool) { return s.s.get(name) }

// Open is how many there are.
func (s Steps) Open() int { return len(s.s.open) }

// Route is a row of the table of pages, for the tests.
type Route struct{ Method, Path, Who, Permission, InTenant string }

// Routes are all rows.
func Routes() []Route {
	var all []Route
	for _, rt := range routes() {
		all = append(all, Route{rt.method, rt.path, string(rt.who), rt.permission, rt.inTenant})
	}
	return all
}

// Attachment is the header of a download with a name.
func Attachment(name string) string { return attachment(name) }

// DurationText is how pages say how long something took.
func DurationText(d time.Duration) string { return durationText(d) }
