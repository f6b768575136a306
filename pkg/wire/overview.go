package wire

import "time"

// Dashboard is the state of one tenant, or with all of them together of the
// service. Every number is that of a list elsewhere in the interface.
type Dashboard struct {
	Protected   int         `json:"protected"`   // volumes and VMs with a recovery point within their RPO
	Unprotected int         `json:"unprotected"` // that no policy covers
	Late        int         `json:"late"`
	Failed      int         `json:"failed"`  // whose last backup failed
	Pending     int         `json:"pending"` // that wait for their first backup
	Day         Runs        `json:"day"`     // the last 24 hours
	Week        Runs        `json:"week"`    // the last 7 days
	Days        []DayOfRuns `json:"days"`    // one for each of the last 14 days, oldest first
	Running     []Job       `json:"running"`
	Next        []Run       `json:"next"`   // the next coming runs, soonest first
	Alarms      []Alarm     `json:"alarms"` // at most 100, the newest
	AlarmCount  int         `json:"alarm_count"`
	Storage     Share       `json:"storage"` // bytes in repositories
	Points      int         `json:"points"`
	Volumes     int         `json:"volumes"`
	VMs         int         `json:"vms"`
	// Of the master only.
	Tenants map[string]int `json:"tenants,omitempty"` // by health, "disabled", and "all"
	Pool    *Pool          `json:"pool,omitempty"`
}

// TenantsAll is the number of all tenants in Dashboard.Tenants, without the
// vmgroup that the service made itself.
const TenantsAll = "all"

// Runs counts jobs that ended, by result, and what they moved.
type Runs struct {
	Done     int   `json:"done"`
	Partial  int   `json:"partial"`
	Failed   int   `json:"failed"`
	Canceled int   `json:"canceled"`
	Bytes    int64 `json:"bytes"` // read from sources
	Stored   int64 `json:"stored"`
}

// DayOfRuns is one day in the zone of the request.
type DayOfRuns struct {
	Date string `json:"date"` // 2006-01-02
	Runs
}

// Run is one entry of the calendar: a job that ran, or a run that will come.
type Run struct {
	Time    time.Time `json:"time"` // begun, or due
	Ended   time.Time `json:"ended,omitzero"`
	VMGroup string    `json:"vmgroup"`
	Policy  string    `json:"policy"`
	Task    string    `json:"task"`   // backup, verify, drill, copy, restore
	Object  string    `json:"object"` // of a job
	State   string    `json:"state"`  // of a job; due for a coming run; missed for one that did not happen
	Job     string    `json:"job,omitempty"`
}

// Calendar is what ran and what will run in a span of time, by time.
type Calendar struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
	Runs []Run     `json:"runs"`
	More bool      `json:"more"` // there are more than fit into one answer
}

// Event is one thing that changed while somebody watches. Kind is job, with the
// job as it is now; alarm, with one that was raised or has a new detail; or
// cleared, with one that is over.
type Event struct {
	Kind  string `json:"kind"`
	Job   *Job   `json:"job,omitempty"`
	Alarm *Alarm `json:"alarm,omitempty"`
}

// Kinds of events.
const (
	EventJob     = "job"
	EventAlarm   = "alarm"
	EventCleared = "cleared"
)

// Found is one thing that a search found. Kind is vmgroup, volume, vm, policy,
// repository, point, job or user.
type Found struct {
	Kind    string `json:"kind"`
	VMGroup string `json:"vmgroup"`
	Name    string `json:"name"`
	Detail  string `json:"detail"`
}

// AuditPage is a part of the audit log, newest first.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	Next    string       `json:"next,omitempty"`
}

// AuditLine is a line of an export of the audit log. Chain is the id of the
// vmgroup in whose chain it is, "" for the service's own; Link is its number
// there, 0 for a line that is older than chains.
type AuditLine struct {
	AuditEntry
	Chain string `json:"chain"`
	Link  int64  `json:"link"`
	Hash  string `json:"hash"`
}

// AuditCheck is the result of following a chain of the audit log from its
// first line to its last.
type AuditCheck struct {
	VMGroup string `json:"vmgroup"` // "" for the service's own
	Lines   int64  `json:"lines"`
	Whole   bool   `json:"whole"`
	Broken  int64  `json:"broken,omitempty"` // number of the first line that does not fit
	Head    string `json:"head"`             // hash of the last line: keep it elsewhere to prove later that nothing was cut off
	Detail  string `json:"detail"`
}

// Notifications say who is told what of a tenant, or of the service.
type Notifications struct {
	Emails   []string        `json:"emails"`
	Events   []string        `json:"events"` // kinds; none: all
	Digest   string          `json:"digest"` // "", daily or weekly
	Webhooks []NotifyWebhook `json:"webhooks"`
}

// NotifyWebhook is a URL that gets signed POST requests. Secret is only ever
// written: "" keeps the one there is, on a new one it is generated and shown in
// that answer alone.
type NotifyWebhook struct {
	Name   string   `json:"name"`
	URL    string   `json:"url"`
	Events []string `json:"events"`
	Secret string   `json:"secret,omitempty"`
}

// NotifyTest is the outcome of a test on one way.
type NotifyTest struct {
	Way    string `json:"way"` // email ADDRESS or webhook NAME
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}
