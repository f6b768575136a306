package portal

import (
	"fmt"
	"strings"

	"mooring.dev/mooring/pkg/volspec"
)

// badge is a state. Tone is its colour, never without word and icon: good,
// info, warn, bad or quiet.
type badge struct{ Tone, Icon, Label string }

// states are the words of the API for the state of something.
var states = map[string]badge{
	"good": {"good", "check", "Good"}, "notices": {"warn", "warn", "Notices"}, "alarms": {"bad", "alarm", "Alarms"},
	"enabled": {"good", "check", "Enabled"}, "disabled": {"quiet", "pause", "Disabled"}, "deleted": {"bad", "trash", "Deleted"},
	"online": {"good", "check", "Online"}, "offline": {"bad", "alarm", "Offline"}, "prepared": {"info", "clock", "Prepared"},
	"read-only": {"warn", "warn", "Read-only"}, "creating": {"info", "clock", "Being created"},

	"queued": {"quiet", "clock", "Queued"}, "running": {"info", "play", "Running"}, "done": {"good", "check", "Done"},
	"partial": {"warn", "warn", "Partly done"}, "failed": {"bad", "alarm", "Failed"}, "canceled": {"quiet", "stop", "Canceled"},
	"interrupted": {"warn", "warn", "Interrupted"}, "due": {"quiet", "clock", "Due"}, "missed": {"warn", "warn", "Missed"},

	"ok": {"good", "check", "Protected"}, "pending": {"info", "clock", "Pending"}, "late": {"warn", "clock", "Late"},
	"unprotected": {"quiet", "shield-off", "Unprotected"},

	"completed": {"info", "check", "Completed"}, "verified": {"good", "check", "Verified"}, "proven": {"good", "shield", "Proven"},
	"damaged": {"bad", "alarm", "Damaged"}, "missing": {"bad", "alarm", "Missing"},

	"attached": {"info", "plug", "Attached"}, "detached": {"quiet", "plug", "Detached"}, "ready": {"good", "check", "Ready"},
	"trash": {"quiet", "trash", "In the trash"},
}

// stateOf is the badge of a state. One that is not known shows its word.
func stateOf(word any) badge {
	w, ok := word.(string)
	if !ok {
		w = fmt.Sprint(word)
	}
	if b, ok := states[w]; ok {
		return b
	}
	return badge{"quiet", "dot", title(strings.ReplaceAll(w, "-", " "))}
}

// roleName is what people call a role.
func roleName(r volspec.Role) string {
	switch r {
	case volspec.MasterAdmin:
		return "Master administrator"
	case volspec.MasterViewer:
		return "Master viewer"
	case volspec.TenantAdmin:
		return "Administrator"
	case volspec.Operator:
		return "Operator"
	case volspec.RestoreOperator:
		return "Restore operator"
	case volspec.TenantGuest:
		return "Guest"
	}
	return string(r)
}

// alarmNames are what people call the kinds of alarms.
var alarmNames = map[string]string{
	"repository-offline": "Repository offline", "rpo-missed": "Backup too old", "point-damaged": "Recovery point damaged",
	"drill-failed": "Drill failed", "job-failed": "Job failed", "backup-quota": "Backup storage full",
	"transporter-offline": "Transporter offline",
}

func alarmName(kind string) string {
	if n, ok := alarmNames[kind]; ok {
		return n
	}
	return title(strings.ReplaceAll(kind, "-", " "))
}

// scopeNames are what people call permissions.
var scopeNames = map[string]string{
	"hello.read": "Read the version", "volume.read": "See volumes", "volume.create": "Create volumes", "volume.remove": "Remove volumes", "volume.manage": "Change volumes and snapshots",
	"vmgroup.read": "See the tenant", "vmgroup.manage": "Create, limit and remove tenants", "tenant.manage": "Manage users and notifications",
	"service.read": "See the service", "service.manage": "Manage the service", "audit.read": "Read the audit log",
	"backup.read": "See backups and jobs", "backup.run": "Run backups", "backup.restore": "Restore", "backup.content": "Read backed up content",
	"backup.manage": "Manage repositories and jobs",
}

func scopeName(permission string) string {
	if n, ok := scopeNames[permission]; ok {
		return n
	}
	return permission
}
