package tenancy

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// NewUser checks a request for the first user of a vmgroup that is about to be
// made, and makes the password. What it returns puts the user into the
// transaction.
type NewUser func(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r wire.CreateUser) (put func(tx Tx) (wire.User, error), err error)

// CreateTenant makes a vmgroup with its VMs, contact data, allowance,
// transporters and first user, all or nothing. A name in use is exists.
func (s *Service) CreateTenant(ctx context.Context, c volspec.Caller, req wire.CreateTenant) (made wire.TenantMade, err error) {
	g := volspec.VMGroup{ID: volspec.VMGroupID(uuid.NewString()), Name: req.Name, Description: req.Description}
	if g.Name == volspec.DefaultGroup {
		g.ID = volspec.DefaultGroupID
	}
	var vms []volspec.Member
	var putAdmin func(Tx) (wire.User, error)
	amounts := volspec.NoBounds
	prepare := func() (err error) {
		if vms, err = s.newGroup(ctx, req.CreateVMGroup, &g); err != nil {
			return err
		}
		if err := volspec.CheckContact(volspec.Contact(req.Profile)); err != nil {
			return err
		}
		if req.Allowance != nil {
			if amounts, err = amountsOf(*req.Allowance); err != nil {
				return err
			}
		}
		putAdmin, err = s.firstUser(ctx, c, g, req.Admin)
		return err
	}
	at := s.places(ctx)
	err = s.verb(ctx, line(ctx, c, g.Name, "vmgroup create", g.Name), prepare, func(tx Tx) error {
		made = wire.TenantMade{}
		if err := makeGroup(tx, g, vms); err != nil {
			return err
		}
		d := Details{Profile: tidy(req.Profile), GuestAccess: req.GuestAccess, GuestFiles: req.GuestFiles}
		if err := tx.PutDetails(g.ID, d); err != nil {
			return err
		}
		if req.Allowance != nil {
			if err := s.delegate(tx, g, amounts, at); err != nil {
				return err
			}
		}
		if req.Transporters != nil {
			if err := bind(tx, g, req.Transporters); err != nil {
				return err
			}
		}
		if putAdmin != nil {
			u, err := putAdmin(tx)
			if err != nil {
				return err
			}
			made.Admin = &u
		}
		made.Tenant, err = s.tenant(tx, g.Name, at)
		return err
	})
	return made, err
}

func (s *Service) firstUser(ctx context.Context, c volspec.Caller, g volspec.VMGroup, r *wire.CreateUser) (func(Tx) (wire.User, error), error) {
	if r == nil {
		return nil, nil
	}
	first := *r
	first.Role = volspec.TenantAdmin
	return s.o.NewUser(ctx, c, g, first)
}

// makeGroup puts a new vmgroup with its VMs into the transaction.
func makeGroup(tx Tx, g volspec.VMGroup, vms []volspec.Member) error {
	if err := free(tx, g.Name); err != nil {
		return err
	}
	if err := room(tx, g); err != nil {
		return err
	}
	if err := tx.PutGroup(g); err != nil {
		return err
	}
	if err := defaultRow(tx, g); err != nil {
		return err
	}
	return join(tx, g, vms)
}

// bind lets these transporters work for a vmgroup, and no others.
func bind(tx Tx, g volspec.VMGroup, names []string) error {
	known, err := tx.TransporterNames()
	if err != nil {
		return err
	}
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		if !slices.Contains(known, name) {
			return errkind.New(errkind.NotFound, "transporter %s does not exist: there are %s, see `mooring transporter ls`", name, shortened(known))
		}
	}
	return tx.Bind(g.ID, names)
}
