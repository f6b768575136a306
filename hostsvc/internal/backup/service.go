package backup

import (
	"context"
	"errors"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// Options are the parts and settings of a Service. Jobs is filled in before
// the first call: the queue needs Service.Handlers, the service the queue.
type Options struct {
	Store   Store
	Volumes Volumes
	// Machines is nil where the hypervisor has no images of VMs.
	Machines Machines
	Jobs     Jobs
	Opener   repository.Opener
	Keyring  Keyring
	// Allowances bounds what vmgroups protect and store.
	Allowances Allowances
	Files      Files
	Views      Views
	Notify     Notifier
	Tenants    Tenants // nil: every vmgroup may do everything
	// Transporters is nil where this process is the only one.
	Transporters Transporters

	Streams     int           // blocks worked on at a time; 0: two per processor
	Sample      float64       // share of blocks taken over that is read again
	Zone        string        // of schedules that name none
	VerifyAfter time.Duration // age at which an unverified point is verified by itself; 0: never
	Tick        time.Duration // between two looks at ages and places; 0: a minute
}

// Service is the backup use cases. All methods are safe for concurrent use
// and can be repeated after any failure.
type Service struct {
	o         Options
	repos     keylock.Map[volspec.RepositoryID]
	sessions  sessions
	budgets   budgets
	census    kept[map[string]int]
	timetable timetable
	secrets   []Secrets // of others
}

// New returns a service that does nothing until it is called.
func New(o Options) *Service {
	if o.Tick == 0 {
		o.Tick = time.Minute
	}
	return &Service{o: o}
}

// Use gives the service its queue; see Options.
func (s *Service) Use(j Jobs) { s.o.Jobs = j }

// UseSecrets names those whose secrets are sealed again with a new master key,
// before the service is used.
func (s *Service) UseSecrets(all ...Secrets) { s.secrets = all }

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// group finds a vmgroup by name.
func (s *Service) group(tx Tx, name string) (volspec.VMGroup, error) {
	g, err := tx.GroupByName(name)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return g, err
}

// inGroup runs fn in a View with the vmgroup of that name.
func (s *Service) inGroup(ctx context.Context, name string, fn func(Tx, volspec.VMGroup) error) error {
	return s.o.Store.View(ctx, func(tx Tx) error {
		g, err := s.group(tx, name)
		if err != nil {
			return err
		}
		return fn(tx, g)
	})
}

// groupNames are the names of these vmgroups by id, or with none named of all.
func (s *Service) groupNames(ctx context.Context, of ...volspec.VMGroupID) (map[volspec.VMGroupID]string, error) {
	names := map[volspec.VMGroupID]string{}
	err := s.o.Store.View(ctx, func(tx Tx) (err error) {
		var all []volspec.VMGroup
		if len(of) == 0 {
			all, err = tx.Groups()
		} else {
			all, err = tx.GroupsByID(of)
		}
		for _, g := range all {
			names[g.ID] = g.Name
		}
		return err
	})
	return names, err
}

// namesOf are the names of the vmgroups that things are of.
func namesOf[T any](ctx context.Context, s *Service, all []T, group func(T) volspec.VMGroupID) (map[volspec.VMGroupID]string, error) {
	var ids []volspec.VMGroupID
	for _, v := range all {
		ids = append(ids, group(v))
	}
	slices.Sort(ids)
	if ids = slices.Compact(ids); len(ids) == 0 {
		return nil, nil
	}
	return s.groupNames(ctx, ids...)
}

func entry(ctx context.Context, c volspec.Caller, group, action, object string) volspec.Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Outcome, a.Request = now(), group, action, object, "ok", log.Request(ctx)
	return a
}

// audit writes one line outside any other transaction.
func (s *Service) audit(ctx context.Context, c volspec.Caller, group, action, object string, err error) {
	a := entry(ctx, c, group, action, object)
	if err != nil {
		a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	}
	s.write(ctx, a)
}

// write writes a line of the audit log, also for a caller who is gone.
func (s *Service) write(ctx context.Context, a volspec.Audit) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(a) }); e != nil {
		log.G(ctx).WithField(log.Err, e.Error()).Error("audit line was not written")
	}
}

// joined reports err first, and what went wrong while cleaning up after it.
func joined(err, cleaning error) error {
	if cleaning == nil {
		return err
	}
	return errors.Join(err, cleaning)
}

// briefly is a context for cleaning up that outlives ctx.
func briefly(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
}
