package tenancy

import (
	"context"
	"fmt"
	"slices"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Carry adds to a bundle what a vmgroup is, may do and is bound to.
func (s *Service) Carry(tx Tx, g volspec.VMGroup, to *wire.Carried) error {
	if err := removing(g); err != nil {
		return err
	}
	d, err := tx.Details(g.ID)
	if err != nil {
		return err
	}
	members, err := tx.Members(g.ID)
	if err != nil {
		return err
	}
	rows, err := tx.AccessRows(g.ID)
	if err != nil {
		return err
	}
	folders, err := tx.Folders(g.ID)
	if err != nil {
		return err
	}
	bound, err := tx.Bound(g.ID)
	if err != nil {
		return err
	}
	delegated, err := tx.Allowances(g.ID)
	if err != nil {
		return err
	}
	t := wire.CarriedTenant{
		Description: g.Description, Profile: d.Profile, GuestAccess: d.GuestAccess, GuestFiles: d.GuestFiles, Security: wire.Security(d.Security),
		DefaultDatastore: g.DefaultDatastore, Transporters: bound,
	}
	for _, m := range members {
		t.VMs = append(t.VMs, wire.CarriedVM{ID: m.VM, Name: m.Name})
	}
	for _, a := range rows {
		t.Access = append(t.Access, wire.CarriedAccess{Datastore: a.Datastore, AllowCreate: a.AllowCreate, MaxSize: a.MaxSize, TotalSize: a.TotalSize})
	}
	for _, f := range folders {
		t.Folders = append(t.Folders, f.Folder)
	}
	amounts := volspec.Delegated(delegated, g.ID)
	for _, k := range kinds {
		if n := *k.of(&amounts); n != volspec.Unbounded {
			*k.ofWire(&t.Allowance) = &n
		}
	}
	to.Tenant = t
	return nil
}

// arrival is a vmgroup out of a bundle, checked, with what of it there is here.
type arrival struct {
	group   volspec.VMGroup
	details Details
	rows    []volspec.Access
	vms     []volspec.Member
	folders []volspec.Folder
	amounts volspec.Amounts
	movers  []string
	left    []string // what there is not, as things to do
}

func (a *arrival) leave(format string, args ...any) {
	a.left = append(a.left, fmt.Sprintf(format, args...))
}

// Arrive checks what a bundle says of the vmgroup that it becomes. What it
// returns makes that, and tells what it could not be bound to: a datastore, VM,
// folder or transporter that is not here, or is another vmgroup's.
func (s *Service) Arrive(ctx context.Context, g volspec.VMGroup, from wire.CarriedTenant) (put func(Tx) ([]string, error), err error) {
	a := arrival{group: g, movers: from.Transporters}
	a.group.Description = from.Description
	a.details = Details{Profile: tidy(from.Profile), GuestAccess: from.GuestAccess, GuestFiles: from.GuestFiles, Security: Security(from.Security)}
	if _, err := s.newGroup(ctx, wire.CreateVMGroup{}, &a.group); err != nil {
		return nil, err
	}
	if err := volspec.CheckContact(volspec.Contact(from.Profile)); err != nil {
		return nil, err
	}
	if a.amounts, err = amountsOf(from.Allowance); err != nil {
		return nil, err
	}
	for _, find := range []func(context.Context, *arrival, wire.CarriedTenant) error{s.arriveDatastores, s.arriveVMs, s.arriveFolders} {
		if err := find(ctx, &a, from); err != nil {
			return nil, err
		}
	}
	at := s.places(ctx)
	return func(tx Tx) ([]string, error) { return s.settle(tx, a, at) }, nil
}

func (s *Service) arriveDatastores(ctx context.Context, a *arrival, from wire.CarriedTenant) (err error) {
	for _, row := range from.Access {
		if err := knownWord("datastore", row.Datastore); err != nil {
			return err
		}
		have := volspec.Access{Group: a.group.ID, AllowCreate: row.AllowCreate, MaxSize: row.MaxSize, TotalSize: row.TotalSize}
		if err := checkLimits(have); err != nil {
			return err
		}
		have.Datastore, err = s.datastore(ctx, row.Datastore)
		if errkind.Is(err, errkind.NotFound) {
			a.leave("Datastore %s is not here: give rights on another one with `mooring vmgroup access add`", row.Datastore)
			continue
		}
		if err != nil {
			return err
		}
		a.rows = append(a.rows, have)
	}
	if err := knownWord("datastore", from.DefaultDatastore); err != nil {
		return err
	}
	a.group.DefaultDatastore, err = s.checkDefault(ctx, from.DefaultDatastore)
	if errkind.Is(err, errkind.NotFound) {
		a.leave("Default datastore %s is not here: choose another one with `mooring vmgroup update --default-datastore`", from.DefaultDatastore)
		err = nil
	}
	return err
}

// arriveVMs finds VMs by their ids: another VM may have the same name here.
func (s *Service) arriveVMs(ctx context.Context, a *arrival, from wire.CarriedTenant) error {
	if len(from.VMs) == 0 {
		return nil
	}
	inventory, err := s.o.Machines.VMs(ctx)
	if err != nil {
		return err
	}
	for _, vm := range from.VMs {
		if err := knownWord("VM", vm.Name); err != nil {
			return err
		}
		i := slices.IndexFunc(inventory, func(have hypervisor.VM) bool { return have.ID == vm.ID })
		if i < 0 {
			a.leave("VM %s is not here: add those that take its place with `mooring vmgroup vm add`", vm.Name)
			continue
		}
		a.vms = append(a.vms, volspec.Member{VM: inventory[i].ID, Name: inventory[i].Name})
	}
	return nil
}

func (s *Service) arriveFolders(ctx context.Context, a *arrival, from wire.CarriedTenant) error {
	for _, folder := range from.Folders {
		f, err := s.findFolder(ctx, string(folder))
		switch {
		case errkind.Is(err, errkind.NotFound) || errkind.Is(err, errkind.Unsupported):
			a.leave("Folder %s is not here: grant another one with `mooring vmgroup folder add`", folder)
		case err != nil:
			return err
		default:
			a.folders = append(a.folders, f)
		}
	}
	return nil
}

// knownWord refuses a name of something elsewhere that nothing can have: it is
// shown to people.
func knownWord(what, name string) error {
	if text := volspec.WrongText(name, maxDescription, nil); text != "" {
		return errkind.New(errkind.Invalid, "the name of a %s in the bundle %s", what, text)
	}
	return nil
}

func (s *Service) settle(tx Tx, a arrival, at placement) ([]string, error) {
	g := a.group
	a.left = slices.Clone(a.left) // a transaction may run again
	if err := makeGroup(tx, g, nil); err != nil {
		return nil, err
	}
	if err := tx.PutDetails(g.ID, a.details); err != nil {
		return nil, err
	}
	for _, row := range a.rows {
		if err := tx.PutAccess(row); err != nil {
			return nil, err
		}
	}
	if err := s.delegate(tx, g, a.amounts, at); err != nil {
		return nil, err
	}
	known, err := tx.TransporterNames()
	if err != nil {
		return nil, err
	}
	there := []string{}
	for _, name := range a.movers {
		if err := knownWord("transporter", name); err != nil {
			return nil, err
		}
		if slices.Contains(known, name) {
			there = append(there, name)
			continue
		}
		a.leave("Transporter %s is not here: bind others with `mooring transporter bind`", name)
	}
	if err := bind(tx, g, there); err != nil {
		return nil, err
	}
	for _, vm := range a.vms {
		if err := taken(&a, joinOne(tx, g, vm, "Cannot add VM to vmgroup")); err != nil {
			return nil, err
		}
	}
	for _, f := range a.folders {
		if err := taken(&a, grant(tx, g, f)); err != nil {
			return nil, err
		}
	}
	return a.left, nil
}

// taken makes a thing to do of what somebody else has.
func taken(a *arrival, err error) error {
	if errkind.Is(err, errkind.Exists) || errkind.Is(err, errkind.InUse) {
		a.leave("%s", errkind.Text(err))
		return nil
	}
	return err
}
