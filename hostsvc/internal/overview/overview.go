// Package overview is what people see at a glance: how well things are
// protected, what ran and what will run, and where a name is found. It changes
// nothing. Every question is about one vmgroup, or with "" about all of them;
// the answer to the latter is added up by the catalog and never loads what the
// vmgroups have.
package overview

import (
	"context"
	"time"

	"mooring.dev/mooring/hostsvc/internal/job/schedule"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Plan is one schedule of an enabled policy.
type Plan = schedule.Plan

// Ran is one entry of the calendar that a job made. Due and Policy are those of
// a run of a policy.
type Ran struct {
	wire.Run
	Policy volspec.PolicyID
	Due    time.Time
}

// Window selects entries of the calendar: those of one vmgroup, and of one policy
// of it, that were made at From or later and before To.
type Window struct {
	VMGroup, Policy string // names; "" all
	From, To        time.Time
	Limit           int
}

// Backups is the backup service as an overview needs it. group is a name, "" is
// all vmgroups.
type Backups interface {
	// Protected counts volumes and VMs by the state of their protection. Those of
	// all vmgroups may be a minute old.
	Protected(ctx context.Context, group string) (map[string]int, error)
	// Working lists open jobs, running ones first.
	Working(ctx context.Context, group string, limit int) ([]wire.Job, error)
	// Made lists jobs that were made at since or later, the oldest first.
	Made(ctx context.Context, group string, since time.Time, limit int) ([]wire.Job, error)
	Alarms(ctx context.Context, group string) ([]wire.Alarm, error)
	// Plans lists the schedules of all enabled policies. The list belongs to the
	// other side, which gives the same one for as long as it is true.
	Plans(ctx context.Context, group string) ([]Plan, error)
	// Ran lists the runs of policies and what people began, the oldest first.
	Ran(ctx context.Context, w Window) ([]Ran, error)
	// JobOf is one job, wherever it is of.
	JobOf(ctx context.Context, group string, id volspec.JobID) (wire.Job, error)
}

// Shares tell what is delegated of the pool and used.
type Shares interface {
	Allowance(ctx context.Context, group string) (wire.Allowance, error)
	Pool(ctx context.Context) (wire.Pool, error)
}

// Count is how many jobs of one kind ended in one way within a quarter of an
// hour.
type Count struct {
	At            time.Time
	Kind, State   string
	Jobs          int
	Bytes, Stored int64
}

// Things counts what a vmgroup has, or all of them.
type Things struct {
	Volumes, VMs, Points int
}

// TenantHealth counts vmgroups. Own is the one that the service made itself, if
// it is there.
type TenantHealth struct {
	ByRank        map[int]int // 0 good, 1 notices, 2 alarms
	Disabled, Own int
}

// Match is one thing that a search found.
type Match struct {
	Kind    string
	VMGroup string // name
	Name    string
	Detail  string
}

// Store is the catalog as this package sees it; see volume.Store.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction that only reads. g "" is all vmgroups.
type Tx interface {
	GroupByName(name string) (volspec.VMGroup, error)
	// Counts are those of jobs that ended at since or later, in no order.
	Counts(g volspec.VMGroupID, since time.Time) ([]Count, error)
	Things(g volspec.VMGroupID) (Things, error)
	TenantHealth() (TenantHealth, error)
	// Search finds what has text in its name, and points and jobs whose id begins
	// with it: at most limit of each kind, by name. Users are looked for if users
	// is set.
	Search(g volspec.VMGroupID, text string, users bool, limit int) ([]Match, error)
}

// Options are the parts of a Service.
type Options struct {
	Store   Store
	Backups Backups
	Shares  Shares
	// Keep is how long jobs are kept: what was due longer ago may have run.
	Keep time.Duration
}

// Service answers the questions. All methods are safe for concurrent use.
type Service struct {
	o          Options
	next, past agenda // of all vmgroups: what is due from now on, and in what a calendar shows
}

// New returns a service.
func New(o Options) *Service { return &Service{o: o} }

// view runs fn with the id of a vmgroup, "" for all.
func (s *Service) view(ctx context.Context, group string, fn func(Tx, volspec.VMGroupID) error) error {
	return s.o.Store.View(ctx, func(tx Tx) error {
		if group == "" {
			return fn(tx, "")
		}
		g, err := tx.GroupByName(group)
		if err != nil {
			return err
		}
		return fn(tx, g.ID)
	})
}

// zoneOf reads the name of a time zone; "" is UTC.
func zoneOf(name string) (*time.Location, error) {
	loc, err := time.LoadLocation(name)
	if err != nil || name == "Local" { // whose zone that is nobody knows
		return nil, errkind.New(errkind.Invalid, "time zone %q is not known: write a name of the tz database, such as Europe/Berlin", name)
	}
	return loc, nil
}
