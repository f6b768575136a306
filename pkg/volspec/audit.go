package volspec

import "time"

// Audit is one line of the audit log.
type Audit struct {
	Time    time.Time
	Actor   string // see Caller
	As      string // the vmgroup for which a master's user acted, "" for none
	From    string // network address, "" on the service's own machine
	VMGroup string // name at the time
	Action  string
	Object  string
	Outcome string // ok, or the kind of the refusal
	Detail  string
	Request string
}
