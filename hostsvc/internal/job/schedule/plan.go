package schedule

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Plan is one schedule of an enabled policy.
type Plan struct {
	Policy   volspec.PolicyID
	VMGroup  string // name
	Name     string // of the policy
	Task     string // backup, verify, drill, copy
	Schedule Schedule
	Since    time.Time // nothing is due earlier
}
