package tenancy

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// What this package asks of a hypervisor.
type (
	// Machines tells which VMs there are.
	Machines interface {
		VMs(ctx context.Context) ([]hypervisor.VM, error)
	}
	// Datastores tells which datastores there are.
	Datastores interface {
		Datastores(ctx context.Context) ([]hypervisor.Datastore, error)
	}
	// Folders finds folders of VMs by their paths.
	Folders interface {
		FindFolder(ctx context.Context, f volspec.Folder) (volspec.Folder, error)
	}
	// Hosts tells where VMs run.
	Hosts interface {
		VMHosts(ctx context.Context) (map[volspec.VMID]hypervisor.Host, error)
	}
)

// Options are the parts of a Service.
type Options struct {
	Store      Store
	Machines   Machines
	Datastores Datastores
	Folders    Folders // nil where the hypervisor has none
	Hosts      Hosts   // nil where the hypervisor does not tell hosts
	// Pending is what running jobs wrote for a vmgroup and the catalog does not
	// count yet; nil: nothing.
	Pending func(g volspec.VMGroupID) int64
	// RemoveVolumes deletes all volumes of a vmgroup for good, those in the
	// trash too; satisfied by volume.Service.RemoveAll. If one is in use it
	// touches none. Repeatable.
	RemoveVolumes func(ctx context.Context, c volspec.Caller, g volspec.VMGroupID) error

	Grace   time.Duration // how long a deleted tenant can be brought back
	NewUser NewUser
	// CancelJobs asks for the end of all queued and running jobs of a vmgroup,
	// DetachRepositories forgets its repositories and leaves their data where
	// they are. Both repeatable; nil without backup.
	CancelJobs         func(ctx context.Context, c volspec.Caller, g volspec.VMGroup) error
	DetachRepositories func(ctx context.Context, c volspec.Caller, g volspec.VMGroup) error
}

// Service is the vmgroup use cases. Every verb is one transaction: all of it
// happens, and is audited, or nothing. What the hypervisor knows is asked
// before, never inside. All methods are safe for concurrent use.
type Service struct {
	o     Options
	cache *placesCache
}

// New returns a service that does nothing until it is called.
func New(o Options) *Service { return &Service{o, newPlacesCache(o.Hosts)} }

// verb is one audited change: prepare checks the request and asks the
// hypervisor, fn acts in one transaction and may run more than once. A refusal
// by either is audited too.
func (s *Service) verb(ctx context.Context, a volspec.Audit, prepare func() error, fn func(Tx) error) error {
	if prepare != nil {
		if err := prepare(); err != nil {
			return s.refused(ctx, a, err)
		}
	}
	err := s.o.Store.Update(ctx, func(tx Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return tx.AddAudit(a)
	})
	if err != nil {
		return s.refused(ctx, a, err)
	}
	log.G(ctx).WithField(log.VMGroup, a.VMGroup).WithField(log.Op, a.Action).Info("vmgroup changed")
	return nil
}

// line begins the audit line of a verb.
func line(ctx context.Context, c volspec.Caller, group, action, object string) volspec.Audit {
	a := c.Audited()
	a.Time, a.VMGroup, a.Action, a.Object, a.Outcome, a.Request = now(), group, action, object, "ok", log.Request(ctx)
	return a
}

// auditLimit bounds the writing of a line whose request may be over.
const auditLimit = 5 * time.Second

// refused writes a refusal down, whose own transaction was rolled back, and
// returns it.
func (s *Service) refused(ctx context.Context, a volspec.Audit, err error) error {
	a.Outcome, a.Detail = string(errkind.Of(err)), errkind.Text(err)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditLimit)
	defer cancel()
	if e := s.o.Store.Update(ctx, func(tx Tx) error { return tx.AddAudit(a) }); e != nil {
		log.G(ctx).WithError(e).Error("audit line was not written")
	}
	return err
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// find reads a vmgroup by name.
func find(tx Tx, name string) (volspec.VMGroup, error) {
	g, err := tx.GroupByName(name)
	if errkind.Is(err, errkind.NotFound) {
		err = errkind.New(errkind.NotFound, "Vmgroup %s does not exist", name)
	}
	return g, err
}

// changeable reads a vmgroup that a verb is about to change.
func changeable(tx Tx, name string) (volspec.VMGroup, error) {
	g, err := find(tx, name)
	if err != nil {
		return g, err
	}
	if err := declared(g); err != nil {
		return g, err
	}
	return g, removing(g)
}

func declared(g volspec.VMGroup) error {
	if g.Source == "" {
		return nil
	}
	return errkind.New(errkind.Denied, "Vmgroup %s is declared in %s and cannot be changed here: change that file, then reload mooringd", g.Name, g.Source)
}

func removing(g volspec.VMGroup) error {
	if !g.Removing {
		return nil
	}
	return errkind.New(errkind.InUse, "Vmgroup %s is being removed: repeat 'mooring vmgroup rm --name=%s --remove-volumes' to finish that", g.Name, g.Name)
}

const maxDescription = 256

func checkDescription(s string) error {
	if utf8.RuneCountInString(s) > maxDescription {
		return errkind.New(errkind.Invalid, "Vmgroup description exceeds %d characters: %s…", maxDescription, string([]rune(s)[:maxDescription]))
	}
	if text := volspec.WrongText(s, maxDescription, nil); text != "" {
		return errkind.New(errkind.Invalid, "Vmgroup description %s", text)
	}
	return nil
}

// datastore finds a datastore for an access row or as default, in the
// spelling of the hypervisor; upper and lower case are the same where that is
// not ambiguous. Special names stand for themselves.
func (s *Service) datastore(ctx context.Context, name string) (string, error) {
	if name == volspec.VMDatastore || name == volspec.AllDatastores {
		return name, nil
	}
	stores, err := s.o.Datastores.Datastores(ctx)
	if err != nil {
		return "", err
	}
	var same []string
	for _, d := range stores {
		if d.Name == volspec.PointsDatastore {
			continue // holds no volumes
		}
		if d.Name == name {
			return name, nil
		}
		if strings.EqualFold(d.Name, name) {
			same = append(same, d.Name)
		}
	}
	if len(same) == 1 {
		return same[0], nil
	}
	return "", errkind.New(errkind.NotFound, "Datastore %s does not exist", name)
}

// checkDefault is datastore for a default one. "" is none.
func (s *Service) checkDefault(ctx context.Context, name string) (string, error) {
	switch name {
	case "":
		return "", nil
	case volspec.AllDatastores:
		return "", allAsDefault()
	}
	return s.datastore(ctx, name)
}

// defaultRow gives g's default datastore its access row: full access without
// limits, unless it has one.
func defaultRow(tx Tx, g volspec.VMGroup) error {
	if g.DefaultDatastore == "" {
		return nil
	}
	rows, err := tx.AccessRows(g.ID)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(rows, func(a volspec.Access) bool { return a.Datastore == g.DefaultDatastore }) {
		return nil
	}
	return tx.PutAccess(volspec.Access{Group: g.ID, Datastore: g.DefaultDatastore, AllowCreate: true})
}
