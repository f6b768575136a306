package tenancy

import (
	"context"
	"errors"
	"reflect"
	"slices"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Declared is a vmgroup as a configuration file wants it. The Group of its
// access rows is ignored. Source is the file, where it is not that of Apply.
type Declared struct {
	Name             string
	Description      string
	DefaultDatastore string
	VMs              []string
	Folders          []string
	Access           []volspec.Access
	Contact          volspec.Contact
	GuestAccess      bool
	GuestFiles       bool
	Disabled         bool
	Allowance        *volspec.Amounts // without its storage; nil: as it is
	Transporters     []string         // nil: as they are
	Source           string
}

// declaration is a checked Declared: datastores in their spelling, VMs and
// folders found.
type declaration struct {
	Declared
	vms     []volspec.Member
	folders []volspec.Folder
}

// Apply makes the vmgroups that configuration files declare what they are
// declared to be, all or none; source names the files of those that do not
// say. A group made by hand becomes a declared one. Declared groups can be
// changed by Apply only. A group that is not declared any more stays as it
// is, with its VMs and volumes, and can be changed by hand again: Apply never
// deletes one. Repeated with the same groups it changes nothing.
func (s *Service) Apply(ctx context.Context, source string, groups []Declared) error {
	wanted, err := s.checkDeclared(ctx, source, groups)
	if err != nil {
		return err
	}
	var at placement
	if slices.ContainsFunc(wanted, func(d declaration) bool { return d.Allowance != nil }) {
		at = s.places(ctx)
	}
	var changed []string
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		p := applier{s: s, at: at, tx: tx, groups: map[string]volspec.VMGroup{}, ours: map[volspec.VMGroupID]bool{}, changed: map[string]string{}}
		if err := p.apply(wanted); err != nil {
			return err
		}
		changed = nil
		for name, from := range p.changed {
			changed = append(changed, name)
			a := line(ctx, volspec.Caller{Actor: "config:" + from}, name, "vmgroup apply", name)
			if err := tx.AddAudit(a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range changed {
		log.G(ctx).WithField(log.VMGroup, name).Info("vmgroup applied from the configuration")
	}
	return nil
}

// checkDeclared checks all groups against themselves and the hypervisor, and
// reports all problems at once.
func (s *Service) checkDeclared(ctx context.Context, source string, groups []Declared) ([]declaration, error) {
	var problems []error
	var wanted []declaration
	inventory, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return nil, err
	}
	known, err := s.whatIsKnown(ctx)
	if err != nil {
		return nil, err
	}
	var granted []volspec.FolderGrant // Group is the name here
	owners, names := map[volspec.VMID]string{}, map[string]bool{}
	for _, g := range groups {
		if g.Source == "" {
			g.Source = source
		}
		d, err := s.checkOne(ctx, g, inventory, known[g.Name])
		if names[g.Name] {
			err = errors.Join(err, errkind.New(errkind.Invalid, "it is declared twice"))
		}
		names[g.Name] = true
		for _, m := range d.vms {
			if owner := owners[m.VM]; owner != "" {
				err = errors.Join(err, errkind.New(errkind.Invalid, "VM '%s' has already been associated with tenant '%s', can't add it", m.Name, owner))
			}
			owners[m.VM] = g.Name
		}
		for _, f := range d.folders {
			as := volspec.VMGroup{ID: volspec.VMGroupID(g.Name), Name: g.Name}
			err = errors.Join(err, grantable(as, f, granted, func(id volspec.VMGroupID) string { return string(id) }))
			granted = append(granted, volspec.FolderGrant{Group: as.ID, Folder: f})
		}
		if err != nil {
			problems = append(problems, errkind.Wrap(errkind.Of(err), err, "vmgroup %s (%s)", g.Name, g.Source))
		}
		wanted = append(wanted, d)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, errkind.Wrap(errkind.Of(err), err, "the vmgroups of the configuration cannot be applied")
	}
	return wanted, nil
}

func (s *Service) checkOne(ctx context.Context, g Declared, inventory []hypervisor.VM, known known) (declaration, error) {
	var err error
	d := declaration{Declared: g}
	problems := []error{volspec.CheckVMGroupName(g.Name), checkDescription(g.Description), volspec.CheckContact(g.Contact)}
	d.DefaultDatastore, err = s.checkDefault(ctx, g.DefaultDatastore)
	problems = append(problems, err)
	if len(g.VMs) > 0 {
		if g.Name == volspec.DefaultGroup {
			problems = append(problems, listable(g.Name))
		} else if err = unique(g.VMs); err == nil {
			d.vms, err = resolveIn(inventory, g.VMs, known.members)
		}
		problems = append(problems, err)
	}
	d.folders, err = s.findFolders(ctx, g, known.folders)
	problems = append(problems, err)
	d.Access = nil
	for _, row := range g.Access {
		row.Datastore, err = s.datastore(ctx, row.Datastore)
		problems = append(problems, err, checkLimits(row))
		if slices.ContainsFunc(d.Access, func(a volspec.Access) bool { return a.Datastore == row.Datastore }) {
			problems = append(problems, errkind.New(errkind.Invalid, "Access privilege for (%s, %s) already exists", g.Name, row.Datastore))
		}
		d.Access = append(d.Access, row)
	}
	if d.DefaultDatastore != "" && !slices.ContainsFunc(d.Access, func(a volspec.Access) bool { return a.Datastore == d.DefaultDatastore }) {
		d.Access = append(d.Access, volspec.Access{Datastore: d.DefaultDatastore, AllowCreate: true})
	}
	return d, errors.Join(problems...)
}

// applier is one run of Apply in its transaction.
type applier struct {
	s       *Service
	at      placement
	tx      Tx
	groups  map[string]volspec.VMGroup
	ours    map[volspec.VMGroupID]bool // declared now or until now: VMs may move between them
	changed map[string]string          // group: file
}

func (p applier) apply(wanted []declaration) error {
	existing, err := p.tx.Groups()
	if err != nil {
		return err
	}
	for _, g := range existing {
		p.groups[g.Name] = g
		if g.Source != "" {
			p.ours[g.ID] = true
		}
		if g.Source == "" || slices.ContainsFunc(wanted, func(d declaration) bool { return d.Name == g.Name }) {
			continue
		}
		p.changed[g.Name] = g.Source
		g.Source = ""
		if err := p.tx.PutGroup(g); err != nil {
			return err
		}
	}
	steps := []func(declaration) error{p.putGroup, p.putDetails, p.dropMembers, p.addMembers, p.dropFolders, p.addFolders, p.putRows, p.lessen, p.delegate, p.bind}
	for _, step := range steps {
		for _, d := range wanted {
			if err := step(d); err != nil {
				return errkind.Wrap(errkind.Of(err), err, "vmgroup %s (%s)", d.Name, d.Source)
			}
		}
	}
	return nil
}

func (p applier) putGroup(d declaration) error {
	g, exists := p.groups[d.Name]
	if exists {
		if err := removing(g); err != nil {
			return err
		}
	} else {
		g = volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: d.Name}
		if d.Name == volspec.DefaultGroup {
			g.ID = volspec.DefaultGroupID
		}
		if err := room(p.tx, g); err != nil {
			return err
		}
	}
	before := g
	g.Description, g.DefaultDatastore, g.Source, g.State = d.Description, d.DefaultDatastore, d.Source, volspec.GroupEnabled
	if d.Disabled {
		g.State = volspec.GroupDisabled
	}
	p.groups[d.Name] = g
	p.ours[g.ID] = true
	if exists && g == before {
		return nil
	}
	p.changed[d.Name] = d.Source
	return p.tx.PutGroup(g)
}

func (p applier) putDetails(d declaration) error {
	g := p.groups[d.Name]
	have, err := p.tx.Details(g.ID)
	if err != nil {
		return err
	}
	want := Details{
		Profile: tidy(wire.Profile(d.Contact)), GuestAccess: d.GuestAccess, GuestFiles: d.GuestFiles,
		DeclaredAllowance: d.Allowance != nil, DeclaredTransporters: d.Transporters != nil, Security: have.Security,
	}
	have.Profile = tidy(have.Profile)
	if reflect.DeepEqual(have, want) {
		return nil
	}
	p.changed[d.Name] = d.Source
	return p.tx.PutDetails(g.ID, want)
}

func (p applier) dropMembers(d declaration) error {
	members, err := p.tx.Members(p.groups[d.Name].ID)
	if err != nil {
		return err
	}
	for _, m := range members {
		if contains(d.vms, m.VM) {
			continue
		}
		p.changed[d.Name] = d.Source
		if err := leave(p.tx, m, "Cannot complete vmgroup apply."); err != nil {
			return err
		}
	}
	return nil
}

func (p applier) addMembers(d declaration) error {
	g := p.groups[d.Name]
	for _, m := range d.vms {
		have, err := p.tx.Member(m.VM)
		switch {
		case err == nil && have.Group == g.ID:
			continue
		case err == nil && p.ours[have.Group]:
			if err := leave(p.tx, have, "Cannot complete vmgroup apply."); err != nil {
				return err
			}
		case err != nil && !errkind.Is(err, errkind.NotFound):
			return err
		}
		p.changed[d.Name] = d.Source
		if err := joinOne(p.tx, g, m, "Cannot complete vmgroup apply."); err != nil {
			return err
		}
	}
	return nil
}

func (p applier) putRows(d declaration) error {
	g := p.groups[d.Name]
	have, err := p.tx.AccessRows(g.ID)
	if err != nil {
		return err
	}
	for i := range d.Access {
		d.Access[i].Group = g.ID
	}
	for _, row := range have {
		if slices.ContainsFunc(d.Access, func(a volspec.Access) bool { return a.Datastore == row.Datastore }) {
			continue
		}
		p.changed[d.Name] = d.Source
		if err := p.tx.DeleteAccess(g.ID, row.Datastore); err != nil {
			return err
		}
	}
	for _, row := range d.Access {
		if slices.Contains(have, row) {
			continue
		}
		p.changed[d.Name] = d.Source
		if err := p.tx.PutAccess(row); err != nil {
			return err
		}
	}
	return nil
}
