package account

import (
	"slices"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// fits refuses a role that users of the master or of a tenant cannot have.
func fits(g volspec.VMGroupID, r volspec.Role) error {
	roles := volspec.TenantRoles
	if g == "" {
		roles = volspec.MasterRoles
	}
	if slices.Contains(roles, r) {
		return nil
	}
	return errkind.New(errkind.Invalid, "the role %q is not one of %s: choose one of them", clip(string(r)), list(roles))
}

func list(roles []volspec.Role) (s string) {
	for i, r := range roles {
		if i > 0 {
			s += ", "
		}
		s += string(r)
	}
	return s
}

// covers refuses that a caller makes or changes a user who may do what it may
// not do itself: it could act as that user next.
func (s *Service) covers(c volspec.Caller, r volspec.Role) error {
	has := s.holds(c)
	for _, p := range s.holds(as(r)) {
		if !slices.Contains(has, p) {
			return errkind.New(errkind.Denied, "a user with the role %s has the permission %s, which you have not: ask an administrator who has it", r, p)
		}
	}
	return nil
}

// holds lists what a caller may do and can give to others: its own account is
// not among it.
func (s *Service) holds(c volspec.Caller) []string {
	var all []string
	for _, p := range s.o.Holds(c) {
		if slices.Contains(s.o.Given, p) {
			all = append(all, p)
		}
	}
	return all
}

// as is somebody with a role and everything that can come with it.
func as(r volspec.Role) volspec.Caller {
	return volspec.Caller{Role: r, Admin: r.Master(), GuestFiles: true}
}

// byMaster tells whether a user of the master asks, or the administrator on the
// service's own machine.
func byMaster(c volspec.Caller) bool { return c.Admin || c.As != "" }

// head is the role of which somebody must be left.
func head(g volspec.VMGroupID) volspec.Role {
	if g == "" {
		return volspec.MasterAdmin
	}
	return volspec.TenantAdmin
}

// keepsHead refuses to take away the last enabled administrator: of the master
// always, of a tenant when nobody of the master asks. after is the user as it
// will be, nil when it is removed.
func keepsHead(c volspec.Caller, all []User, before User, after *User) error {
	role := head(before.Group)
	isHead := func(u User) bool { return u.Enabled && u.Role == role }
	if !isHead(before) || after != nil && isHead(*after) {
		return nil
	}
	if before.Group != "" && byMaster(c) {
		return nil
	}
	for _, u := range all {
		if u.ID != before.ID && isHead(u) {
			return nil
		}
	}
	return errkind.New(errkind.InUse, "%s is the last enabled user with the role %s: make another one first", before.Name, role)
}
