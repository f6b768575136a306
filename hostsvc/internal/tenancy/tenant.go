package tenancy

import (
	"cmp"
	"context"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Details are what a vmgroup is beside its VMs and rights.
type Details struct {
	Profile     wire.Profile `json:"profile"`
	GuestAccess bool         `json:"guest_access,omitempty"`
	GuestFiles  bool         `json:"guest_files,omitempty"`
	Security    Security     `json:"security,omitzero"`
	WithData    bool         `json:"with_data,omitempty"` // of a deleted one: its volumes go too
	// What the file says that declares it; of one that none declares they mean
	// nothing.
	DeclaredAllowance    bool `json:"declared_allowance,omitempty"`
	DeclaredTransporters bool `json:"declared_transporters,omitempty"`

	Deleted time.Time `json:"-"` // when; zero while it is not
}

// Facts are counts of what belongs to a vmgroup.
type Facts struct {
	Alarms, Notices int // see NoticeKinds
	Users           int
	VMs             int // that it lists
	Folders         int // that were granted to it
	Volumes         int // not in the trash
	Repositories    int
	Transporters    int
}

// NoticeKinds are the alarms that say that something is late or full; all others
// say that something failed.
var NoticeKinds = []string{"rpo-missed", "backup-quota"}

// Tenant is a vmgroup with its details.
type Tenant struct {
	volspec.VMGroup
	Details
}

// Tenant describes a vmgroup as a tenant.
func (s *Service) Tenant(ctx context.Context, name string) (v wire.Tenant, err error) {
	at := s.places(ctx)
	err = s.o.Store.View(ctx, func(tx Tx) (err error) {
		v, err = s.tenant(tx, name, at)
		return err
	})
	return v, err
}

func (s *Service) tenant(tx Tx, name string, at placement) (wire.Tenant, error) {
	g, err := find(tx, name)
	if err != nil {
		return wire.Tenant{}, err
	}
	d, err := tx.Details(g.ID)
	if err != nil {
		return wire.Tenant{}, err
	}
	all, err := s.present(tx, []Tenant{{g, d}}, at)
	if err != nil {
		return wire.Tenant{}, err
	}
	return all[0], nil
}

// present makes a page of tenants out of their rows. Counts are asked for all of
// them at once.
func (s *Service) present(tx Tx, page []Tenant, at placement) ([]wire.Tenant, error) {
	all := make([]wire.Tenant, len(page))
	if len(page) == 0 {
		return all, nil
	}
	ids, groups := make([]volspec.VMGroupID, len(page)), make([]volspec.VMGroup, len(page))
	for i, t := range page {
		ids[i], groups[i] = t.ID, t.VMGroup
	}
	facts, err := tx.Facts(ids)
	if err != nil {
		return nil, err
	}
	pool, allotted, err := s.allotments(tx, at, groups...)
	if err != nil {
		return nil, err
	}
	for i, t := range page {
		f := facts[t.ID]
		ready := readiness(t.VMGroup, f)
		v := wire.Tenant{
			ID: t.ID, Name: t.Name, Description: t.Description, Profile: t.Profile, Source: t.Source,
			State: cmp.Or(string(t.State), wire.TenantEnabled), Deleted: t.Deleted,
			Alarms: f.Alarms, Notices: f.Notices, Readiness: ready,
			GuestAccess: t.GuestAccess, GuestFiles: t.GuestFiles, Security: wire.Security(t.Security), Users: f.Users, VMs: f.VMs, Volumes: f.Volumes,
			Allowance: allotted[i].shares(pool),
		}
		if v.Profile.Labels == nil {
			v.Profile.Labels = []string{}
		}
		if !t.Deleted.IsZero() {
			v.PurgeAfter = t.Deleted.Add(s.o.Grace)
		}
		if !ready.Ready {
			v.Notices++
		}
		v.Health = health(v.Alarms, v.Notices)
		all[i] = v
	}
	return all, nil
}

func health(alarms, notices int) string {
	switch {
	case alarms > 0:
		return wire.HealthAlarms
	case notices > 0:
		return wire.HealthNotices
	}
	return wire.HealthGood
}

// notConfigured begins the sentence that users match on.
const notConfigured = "Your service is not configured"

// readiness says what a vmgroup lacks before jobs can run.
func readiness(g volspec.VMGroup, f Facts) wire.Readiness {
	missing, words := []string{}, []string{}
	lacks := func(part, text string) { missing, words = append(missing, part), append(words, text) }
	if f.VMs+f.Folders+f.Volumes == 0 && g.ID != volspec.DefaultGroupID {
		lacks(wire.PartInventory, "an inventory (the provider assigns VMs or folders of VMs to vmgroup "+g.Name+")")
	}
	if f.Transporters == 0 {
		lacks(wire.PartTransporters, "a transporter (the provider assigns one)")
	}
	if f.Repositories == 0 {
		lacks(wire.PartRepositories, "a repository (its admin makes one, or the provider assigns one that is prepared)")
	}
	if len(missing) == 0 {
		return wire.Readiness{Ready: true, Missing: missing}
	}
	verb := " is missing"
	if len(words) > 1 {
		verb = " are missing"
	}
	return wire.Readiness{Missing: missing, Message: notConfigured + ": " + and(words) + verb}
}

func and(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// SetProfile replaces what a tenant says of itself.
func (s *Service) SetProfile(ctx context.Context, c volspec.Caller, name string, p wire.Profile) (wire.Tenant, error) {
	return s.UpdateTenant(ctx, c, name, wire.UpdateTenant{Profile: &p})
}

// UpdateTenant changes what is not nil. To enable a deleted tenant brings it
// back; nothing else can be changed of one.
func (s *Service) UpdateTenant(ctx context.Context, c volspec.Caller, name string, req wire.UpdateTenant) (v wire.Tenant, err error) {
	var g volspec.VMGroup
	prepare := func() error { return checkChange(req) }
	at := s.places(ctx)
	err = s.verb(ctx, line(ctx, c, name, action(req), changed(req)), prepare, func(tx Tx) (err error) {
		if g, err = changeable(tx, name); err != nil {
			return err
		}
		d, err := tx.Details(g.ID)
		if err != nil {
			return err
		}
		if err := s.change(tx, &g, &d, req); err != nil {
			return err
		}
		if err := tx.PutGroup(g); err != nil {
			return err
		}
		if err := tx.PutDetails(g.ID, d); err != nil {
			return err
		}
		v, err = s.tenant(tx, name, at)
		return err
	})
	if err != nil || !req.CancelJobs || s.o.CancelJobs == nil {
		return v, err
	}
	return v, s.o.CancelJobs(ctx, c, g)
}

func (s *Service) change(tx Tx, g *volspec.VMGroup, d *Details, req wire.UpdateTenant) error {
	if req.State != nil {
		state := volspec.GroupEnabled
		if *req.State == wire.TenantDisabled {
			state = volspec.GroupDisabled
		}
		if g.State == volspec.GroupDeleted {
			if state == volspec.GroupDisabled {
				return goneTenant(*g)
			}
			if err := room(tx, *g); err != nil {
				return err
			}
			d.Deleted, d.WithData = time.Time{}, false
		}
		g.State = state
	}
	if g.State == volspec.GroupDeleted {
		return goneTenant(*g)
	}
	if req.Description != nil {
		g.Description = *req.Description
	}
	if req.Profile != nil {
		d.Profile = tidy(*req.Profile)
	}
	if req.GuestAccess != nil {
		d.GuestAccess = *req.GuestAccess
	}
	if req.GuestFiles != nil {
		d.GuestFiles = *req.GuestFiles
	}
	return nil
}

func goneTenant(g volspec.VMGroup) error {
	return errkind.New(errkind.Denied, "Vmgroup %s is deleted and cannot be changed: bring it back first with 'mooring vmgroup restore --name=%s'", g.Name, g.Name)
}
