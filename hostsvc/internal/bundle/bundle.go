// Package bundle moves a tenant from one instance to another: everything that it
// is goes into one document, sealed under a passphrase, of which another
// instance makes a tenant with new ids.
//
// Each part of the service writes and checks its own share of the document, by
// the rules by which it checks requests: what is wrong in it refuses the whole.
// What is right but cannot be had here is left out and told, as a thing to do.
// All that is loaded is one transaction, so a bundle is loaded or nothing was
// changed; loading it twice is refused. Nothing is fetched from a repository
// before that: it is opened afterwards, and tried again when it is away.
package bundle

import (
	"cmp"
	"context"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Store is the catalog as this package sees it; View and Update behave as in
// package volume.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// Tx is one transaction. Absent things are errkind.NotFound.
type Tx interface {
	GroupByName(name string) (volspec.VMGroup, error)
	AddAudit(a volspec.Audit) error
}

// Part is one of the services that know something of a tenant.
type Part interface {
	// Save adds what the part knows of a vmgroup.
	Save(tx Tx, g volspec.VMGroup, to *wire.Carried) error
	// Load checks the part's share for a vmgroup that is about to be made. What it
	// returns puts it into the transaction, and tells what was left out.
	Load(ctx context.Context, c volspec.Caller, g volspec.VMGroup, from wire.Carried) (put func(Tx) (left []string, err error), err error)
}

// Options are the parts of a Service.
type Options struct {
	Store Store
	Parts []Part // the one that makes the vmgroup first
	// Tenant describes a vmgroup.
	Tenant func(ctx context.Context, name string) (wire.Tenant, error)
	// Open looks at a repository now and reads what it holds. One that is away is
	// an answer.
	Open func(ctx context.Context, vmgroup, name string) (wire.Repository, error)
	// Key makes a key of 32 bytes of a passphrase; nil: Argon2id.
	Key func(passphrase string, salt []byte) []byte
}

const (
	openLimit  = 30 * time.Second // of opening all repositories; what takes longer is done later
	auditLimit = 5 * time.Second  // of writing a line whose request may be over
	keysAtOnce = 2                // each takes keyMemory
)

// Service is safe for concurrent use.
type Service struct {
	o    Options
	slot chan struct{}
}

// New makes a service. It starts nothing.
func New(o Options) *Service {
	if o.Key == nil {
		o.Key = keyOf
	}
	return &Service{o: o, slot: make(chan struct{}, keysAtOnce)}
}

// Save makes the bundle of a tenant.
func (s *Service) Save(ctx context.Context, c volspec.Caller, name, passphrase string) (b wire.Bundle, err error) {
	line := s.line(ctx, c, name, "vmgroup save", name)
	var all wire.Carried
	if err := checkPassphrase(passphrase); err != nil {
		return b, s.refused(ctx, line, err)
	}
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		all = wire.Carried{}
		g, err := tx.GroupByName(name)
		if errkind.Is(err, errkind.NotFound) {
			return errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
		}
		if err != nil {
			return err
		}
		all.ID = g.ID
		for _, p := range s.o.Parts {
			if err := p.Save(tx, g, &all); err != nil {
				return err
			}
		}
		return tx.AddAudit(line)
	})
	if err != nil {
		return b, s.refused(ctx, line, err)
	}
	return s.seal(ctx, name, all, passphrase)
}

// Load makes a tenant of a bundle, which is disabled at first: the instance that
// it comes from may still work for it.
func (s *Service) Load(ctx context.Context, c volspec.Caller, req wire.LoadTenant) (wire.TenantLoaded, error) {
	g := volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: cmp.Or(req.Name, req.Bundle.VMGroup), State: volspec.GroupDisabled}
	line := s.line(ctx, c, "", "vmgroup load", "")
	if err := checkName(g.Name); err != nil {
		return wire.TenantLoaded{}, s.refused(ctx, line, err)
	}
	line.VMGroup = g.Name
	all, err := s.open(ctx, req.Bundle, req.Passphrase)
	if err != nil {
		return wire.TenantLoaded{}, s.refused(ctx, line, err)
	}
	line.Object = req.Bundle.VMGroup
	if req.Allowance != nil {
		all.Tenant.Allowance = *req.Allowance
	}
	puts := make([]func(Tx) ([]string, error), len(s.o.Parts))
	for i, p := range s.o.Parts {
		if puts[i], err = p.Load(ctx, c, g, all); err != nil {
			return wire.TenantLoaded{}, s.refused(ctx, line, err)
		}
	}
	var todo []string
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		todo = []string{}
		for _, put := range puts {
			left, err := put(tx)
			if err != nil {
				return err
			}
			todo = append(todo, left...)
		}
		return tx.AddAudit(line)
	})
	if errkind.Is(err, errkind.Exists) && req.Name == "" {
		err = errkind.Wrap(errkind.Exists, err, "the bundle of vmgroup %s was not loaded; with --new-name it gets another name", g.Name)
	}
	if err != nil {
		return wire.TenantLoaded{}, s.refused(ctx, line, err)
	}
	log.G(ctx).WithField(log.VMGroup, g.Name).Info("tenant loaded from a bundle")
	todo = append(todo, s.openAll(ctx, g.Name, all.Repositories)...)
	todo = append(todo, "It is disabled: take vmgroup "+req.Bundle.VMGroup+" out of use where it was saved, then let this one begin with `mooring vmgroup enable`")
	v, err := s.o.Tenant(ctx, g.Name)
	return wire.TenantLoaded{Tenant: v, ToDo: todo}, err
}

// checkName refuses a name that a loaded vmgroup cannot have.
func checkName(name string) error {
	if name == volspec.DefaultGroup {
		return errkind.New(errkind.Invalid, "a bundle cannot become vmgroup %s, which belongs to each instance: give it another name with --new-name", name)
	}
	return volspec.CheckVMGroupName(name)
}

// openAll reads what the repositories of a loaded tenant hold. Those that are
// away are told, and tried again by themselves.
func (s *Service) openAll(ctx context.Context, vmgroup string, all []wire.CarriedRepository) (todo []string) {
	limited, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	for _, r := range all {
		have, err := s.o.Open(limited, vmgroup, r.Name)
		why := have.Detail
		if err != nil {
			why = errkind.Text(err)
		}
		if err != nil || have.State == "offline" {
			todo = append(todo, "Repository "+r.Name+" is not open yet ("+cmp.Or(why, "there was no time for it")+"): it is tried again every few minutes; if its place has another address here, detach it and attach it with its recovery kit")
		}
	}
	return todo
}

func (s *Service) line(ctx context.Context, c volspec.Caller, vmgroup, action, object string) volspec.Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object = time.Now().UTC().Truncate(time.Microsecond), vmgroup, action, object
	a.Outcome, a.Request = "ok", log.Request(ctx)
	return a
}

// refused writes a refusal down, whose own transaction was rolled back, and
// returns it.
func (s *Service) refused(ctx context.Context, a volspec.Audit, err error) error {
	a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditLimit)
	defer cancel()
	if e := s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(a) }); e != nil {
		log.G(ctx).WithField(log.Err, e.Error()).Error("audit line was not written")
	}
	return err
}
