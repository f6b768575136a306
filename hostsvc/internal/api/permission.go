package api

import (
	"slices"

	"mooring.dev/mooring/pkg/volspec"
)

// permission is the right that an endpoint needs; see holdersOf.
type permission string

const (
	helloRead     permission = "hello.read"
	enroll        permission = "enroll"
	enrolRenew    permission = "enroll.renew"
	login         permission = "login"
	volumeRead    permission = "volume.read"
	volumeCreate  permission = "volume.create"
	volumeRemove  permission = "volume.remove"
	volumeAttach  permission = "volume.attach"  // attach, detach, format, heartbeat, freezes
	volumeManage  permission = "volume.manage"  // set, resize, undelete, snapshots, forced detach
	vmgroupRead   permission = "vmgroup.read"   // of one: its name, VMs, rights, limits, state
	vmgroupManage permission = "vmgroup.manage" // whatever the provider grants and limits
	tenantManage  permission = "tenant.manage"  // what a tenant settles itself: users, notifications, log-in by OIDC
	serviceRead   permission = "service.read"   // status, doctor, all VMs, datastores, vmgroups
	serviceManage permission = "service.manage"
	auditRead     permission = "audit.read"
	backupRead    permission = "backup.read"
	backupRun     permission = "backup.run"     // backups, verifications, drills, copies
	backupRestore permission = "backup.restore" // bringing back, see also backupManage
	backupContent permission = "backup.content" // whatever shows the content of a recovery point
	backupManage  permission = "backup.manage"  // repositories and their keys, policies, holds, removal of points, restores in place
	selfManage    permission = "self.manage"    // one's own session, password, second factor and tokens
)

// holder is a role, or one of the callers that have none.
type holder = volspec.Role

const (
	aVM       holder = "vm"
	aStranger holder = "stranger"
	aVisitor  holder = "visitor"
)

var (
	masters   = volspec.MasterRoles
	everybody = slices.Concat(volspec.MasterRoles, volspec.TenantRoles)
	admin     = []holder{volspec.MasterAdmin}
	owners    = []holder{volspec.MasterAdmin, volspec.TenantAdmin}
	operators = append(slices.Clone(owners), volspec.Operator)
	restorers = append(slices.Clone(operators), volspec.RestoreOperator)
)

// holdersOf lists who has a permission. What is not listed nobody has.
var holdersOf = map[permission][]holder{
	helloRead:     append(slices.Clone(everybody), aVM),
	enroll:        {aStranger},
	enrolRenew:    {aVM},
	login:         append(slices.Clone(everybody), aVisitor),
	volumeRead:    append(slices.Clone(everybody), aVM),
	volumeCreate:  append(slices.Clone(owners), aVM),
	volumeRemove:  append(slices.Clone(owners), aVM),
	volumeAttach:  {aVM},
	volumeManage:  owners,
	vmgroupRead:   everybody,
	vmgroupManage: admin,
	tenantManage:  owners,
	serviceRead:   masters,
	serviceManage: admin,
	auditRead:     append(slices.Clone(masters), volspec.TenantAdmin),
	backupRead:    everybody,
	backupRun:     operators,
	backupRestore: restorers,
	backupContent: append(slices.Clone(restorers), volspec.TenantGuest), // a guest only with GuestFiles
	backupManage:  owners,
	selfManage:    everybody,
}

func holderOf(c volspec.Caller) holder {
	switch {
	case c.VM != "":
		return aVM
	case c.Stranger:
		return aStranger
	case c.Visitor:
		return aVisitor
	}
	return c.Role
}

// allows tells whether c has p.
func (p permission) allows(c volspec.Caller) bool {
	h := holderOf(c)
	if c.Held() && p != selfManage && p != login && p != helloRead {
		return false
	}
	if p == backupContent && h == volspec.TenantGuest && !c.GuestFiles {
		return false
	}
	return slices.Contains(holdersOf[p], h) && (p == helloRead || p == login || c.Scope.Has(string(p)))
}

// PermissionsOf lists what a caller may do, for interfaces that hide what is
// refused anyway.
func PermissionsOf(c volspec.Caller) []string {
	var all []string
	for p := range holdersOf {
		if p.allows(c) {
			all = append(all, string(p))
		}
	}
	slices.Sort(all)
	return all
}

// Permissions lists all permissions that a token can be bound to.
func Permissions() []string {
	var all []string
	for p, holders := range holdersOf {
		if slices.ContainsFunc(holders, volspec.Role.Known) && p != login && p != selfManage {
			all = append(all, string(p))
		}
	}
	slices.Sort(all)
	return all
}
