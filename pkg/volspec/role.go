package volspec

import (
	"slices"
	"strings"
)

// Role is what a user may do. Roles of the master see all vmgroups, the others
// only that of their tenant.
type Role string

// The roles, and what each may do; the exact table is in the host service's
// package api.
const (
	MasterAdmin     Role = "master-admin"     // everything
	MasterViewer    Role = "master-viewer"    // reads everything but the content of recovery points
	TenantAdmin     Role = "tenant-admin"     // everything inside one vmgroup
	Operator        Role = "operator"         // runs backups, restores to new volumes and VMs
	RestoreOperator Role = "restore-operator" // restores to new volumes and VMs, recovers files
	TenantGuest     Role = "guest"            // looks; recovers files where its vmgroup allows that
)

// MasterRoles and TenantRoles list the roles, the strongest first.
var (
	MasterRoles = []Role{MasterAdmin, MasterViewer}
	TenantRoles = []Role{TenantAdmin, Operator, RestoreOperator, TenantGuest}
)

// Master tells whether r sees all vmgroups.
func (r Role) Master() bool { return slices.Contains(MasterRoles, r) }

// Known tells whether r is one of the roles.
func (r Role) Known() bool { return r.Master() || slices.Contains(TenantRoles, r) }

// UserID identifies a user for ever; names can be used again.
type UserID string

// Scope is what a token is bound to: permissions with a space between them, as
// in RFC 6749, section 3.3. "" is no bound.
type Scope string

// Has tells whether s includes a permission.
func (s Scope) Has(permission string) bool {
	return s == "" || slices.Contains(strings.Fields(string(s)), permission)
}
