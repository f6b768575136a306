package volume

import (
	"context"
	"errors"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
)

// Check decides whether rights and usage allow a request; satisfied by
// tenancy.Check. It is called with facts read in the transaction that acts.
type Check func(r volspec.Rights, u volspec.Usage, q volspec.Request) error

// Resolve says which datastore a name means to a caller; satisfied by
// tenancy.Resolve.
type Resolve func(r volspec.Rights, c volspec.Caller, n volspec.Name) (string, error)

// RestoreGroup makes sure that a vmgroup with this id exists, under this name
// if it must be made; it returns the id of the group that now answers to the
// name. Satisfied by tenancy.Service.
type RestoreGroup func(ctx context.Context, id volspec.VMGroupID, name string) (volspec.VMGroupID, error)

// Options are the parts and settings of a Service.
type Options struct {
	Store        Store
	Hypervisor   hypervisor.Hypervisor
	Check        Check
	Resolve      Resolve
	RestoreGroup RestoreGroup

	Instance     string        // of this process, unique
	Installation string        // of its state directory, the same over restarts
	TrashKeep    time.Duration // how long removed volumes are kept; 0: not at all
	AttachWait   time.Duration // how long an attach may wait for another holder
	Reconcile    time.Duration // pause between two comparisons with the hypervisor

	Points          Points        // nil: there is no backup; see SetPoints
	Freezer         Freezer       // nil: no guest holds its filesystems still
	FreezeLease     time.Duration // how long a guest's writers may be held, 0: 10 s
	FreezeCopyLimit time.Duration // how long a copy under a freeze may take by estimate, 0: none is made
}

// Limits of one operation's work, whether or not somebody waits for it.
const (
	workLimit  = 15 * time.Minute // creating an eagerzeroedthick disk, cloning
	leaseTTL   = 30 * time.Second
	leaseRenew = 10 * time.Second
	// freezeLease is Options.FreezeLease when nothing is said.
	freezeLease = 10 * time.Second
)

// Service is the volume use cases. All methods are safe for concurrent use
// and can be repeated after any failure. Work that has begun goes on when the
// caller goes away; repeating the call joins it.
type Service struct {
	o     Options
	locks keylock.Map[lockKey]
	work  sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	seen     map[volspec.VMID]guestState
	released chan struct{} // closed and replaced whenever a disk is let go
	kick     chan struct{} // asks Run for an extra round
	stopped  bool
	known    known                     // of datastores
	away     map[volspec.VolumeID]bool // see apart
}

// lockKey is a volume, or a name under which one is being created.
type lockKey struct {
	id  volspec.VolumeID
	key Key
}

type guestState struct {
	at     time.Time
	plugin string
}

// New returns a service that does nothing until it is called.
func New(o Options) *Service {
	if o.FreezeLease == 0 {
		o.FreezeLease = freezeLease
	}
	return &Service{
		o:        o,
		seen:     map[volspec.VMID]guestState{},
		away:     map[volspec.VolumeID]bool{},
		released: make(chan struct{}),
		kick:     make(chan struct{}, 1),
	}
}

// SetPoints gives the service its recovery points. It is for the start: backup
// needs this service and this service needs backup. Not to be called once
// anything else was.
func (s *Service) SetPoints(p Points) { s.o.Points = p }

// enter begins work of the service on the caller's goroutine and in the
// caller's time: that of jobs, which may take hours and end with their
// context. leave ends it.
func (s *Service) enter(what string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return nil, errkind.New(errkind.Unavailable, "%s: the host service is stopping, repeat the command in a moment", what)
	}
	s.work.Add(1)
	return s.work.Done, nil
}

// do runs fn as work of the service and waits for it as long as ctx lives.
// The work keeps ctx's values, not its end.
func do[T any](ctx context.Context, s *Service, what string, fn func(context.Context) (T, error)) (T, error) {
	var zero T
	leave, err := s.enter(what)
	if err != nil {
		return zero, err
	}
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() { // owned by s.work; ends after workLimit at the latest
		defer leave()
		wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), workLimit)
		defer cancel()
		v, err := fn(wctx)
		if err != nil && ctx.Err() != nil { // nobody is left to be told
			log.G(wctx).WithError(err).WithField(log.Kind, errkind.Of(err)).Warn("operation failed after its caller had gone")
		}
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.v, r.err
	case <-ctx.Done():
		return zero, errkind.New(errkind.Unavailable, "%s is still in progress: repeat the command to see how it ends", what)
	}
}

// lock takes a volume's lock; the error is a sentence.
func (s *Service) lock(ctx context.Context, k lockKey, what string) (func(), error) {
	unlock, err := s.locks.Lock(ctx, k)
	if err != nil {
		return nil, errkind.New(errkind.Unavailable, "%s: another operation on this volume is still in progress, repeat the command in a moment", what)
	}
	return unlock, nil
}

// apart runs a deed that may take long without the volume's lock, which the
// caller holds and gets back. Its intent is recorded, and until the lock is
// back whoever needs the volume is told that it is busy, at once: see settle.
// If the lock cannot be had again *unlock is nil, and the intent is for settle.
func (s *Service) apart(ctx context.Context, id volspec.VolumeID, unlock *func(), deed func() error) error {
	s.setAway(id, true)
	defer s.setAway(id, false) // under the lock again: no settle sees an intent that this is about to end
	give := *unlock
	*unlock = nil
	give()
	err := deed()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undo.Limit)
	defer cancel()
	relock, e := s.lock(ctx, lockKey{id: id}, "recording the result")
	*unlock = relock
	return joined(err, e)
}

func (s *Service) setAway(id volspec.VolumeID, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if away {
		s.away[id] = true
	} else {
		delete(s.away, id)
	}
}

func (s *Service) isAway(id volspec.VolumeID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.away[id]
}

// Close refuses new work and waits, as long as ctx lives, for what runs.
func (s *Service) Close(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.work.Wait(); close(done) }() // ends with the work, which is bounded
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errkind.New(errkind.Unavailable, "some volume operations did not end in time: they are finished or undone at the next start")
	}
}

// notifyReleased wakes attaches that wait for a holder to let go.
func (s *Service) notifyReleased() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.released)
	s.released = make(chan struct{})
}

func (s *Service) releasedChan() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.released
}

// ref is where a record's disk lies.
func (r Record) ref() hypervisor.Ref {
	group, datastore := r.Home, r.Key.Datastore
	if group == "" {
		group = r.Key.Group
	}
	if r.ViewOf != "" {
		datastore = volspec.PointsDatastore
	}
	return hypervisor.Ref{Datastore: datastore, Group: group, Volume: r.ID}
}

// Name is the record's full name.
func (r Record) Name() volspec.Name {
	return volspec.Name{Volume: r.Key.Name, Datastore: r.Key.Datastore}
}

// update changes one record in a transaction; fn sees the current one.
func (s *Service) update(ctx context.Context, id volspec.VolumeID, fn func(Tx, *Record) error) (Record, error) {
	var out Record
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		r, err := tx.Volume(id)
		if err != nil {
			return err
		}
		if err := fn(tx, &r); err != nil {
			return err
		}
		out = r
		return tx.PutVolume(r)
	})
	return out, err
}

// begin records an intent on a volume whose lock the caller holds. A left-over
// intent of a dead or of this instance is settled first.
func (s *Service) begin(ctx context.Context, id volspec.VolumeID, op Op, fn func(Tx, *Record) error) (Record, error) {
	if err := s.settle(ctx, id); err != nil {
		return Record{}, err
	}
	return s.update(ctx, id, func(tx Tx, r *Record) error {
		if r.Op.Kind != "" {
			return s.busy(*r)
		}
		op.Instance, op.Started = s.o.Instance, now()
		r.Op = op
		if fn == nil {
			return nil
		}
		return fn(tx, r)
	})
}

// end clears the intent and records the result.
func (s *Service) end(ctx context.Context, id volspec.VolumeID, fn func(*Record)) (Record, error) {
	return s.update(ctx, id, func(_ Tx, r *Record) error {
		r.Op = Op{}
		if fn != nil {
			fn(r)
		}
		return nil
	})
}

func (s *Service) busy(r Record) error {
	switch {
	case r.Op.Kind == OpRestore || r.Op.Kind == OpReplace:
		return errkind.New(errkind.InUse, "volume %s is being restored: repeat the command when that job has ended", r.Name())
	case r.Op.Instance == s.o.Instance:
		return errkind.New(errkind.InUse, "volume %s is busy: its %s is still in progress, repeat the command in a moment", r.Name(), r.Op.Kind)
	}
	return errkind.New(errkind.InUse, "volume %s is busy: its %s is still in progress in another mooringd, repeat the command in a moment", r.Name(), r.Op.Kind)
}

// joined reports err first, and what went wrong while undoing after it.
func joined(err, undoing error) error {
	if undoing == nil {
		return err
	}
	return errors.Join(err, undoing)
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// audit records the outcome of an action outside any other transaction; used
// for refusals, whose own transaction is rolled back.
func (s *Service) audit(ctx context.Context, c volspec.Caller, group, action, object string, err error) {
	outcome, detail := "ok", ""
	if err != nil {
		outcome, detail = string(errkind.Of(err)), errkind.Text(err)
	}
	a := s.entry(ctx, c, group, action, object)
	a.Outcome, a.Detail = outcome, detail
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	e := s.o.Store.Update(ctx, func(tx Tx) error {
		if a.VMGroup == "" && c.VM != "" { // a guest names no vmgroup
			if g, err := tx.GroupOfVM(c.VM); err == nil {
				a.VMGroup = g.Name
			} else if !errkind.Is(err, errkind.NotFound) {
				return err
			}
		}
		return tx.AddAudit(a)
	})
	if e != nil {
		log.G(ctx).WithError(e).Error("audit line was not written")
	}
}
