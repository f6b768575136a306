package volspec

import "time"

// Audit is one line of the audit log.
type Audit struct {
	Time    time.Time
	Actor   string // vm:NAME or admin:UID
	VMGroup string // name at the time
	Action  string
	Object  string
	Outcome string // ok, or the kind of the refusal
	Detail  string
	Request string
}
