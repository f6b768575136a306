// Package notify tells people what is wrong, by mail and by signed webhooks,
// and that it is well again. Telling never holds up who tells: a Notifier
// queues, and what it queues is bounded.
//
// An alarm is told once when it is raised, again from time to time while it
// stands, and once when it is cleared, however often the caller says so.
package notify

import (
	"crypto/rand"
	"encoding/hex"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Kind is what an event is about. Kinds that are not listed here are told as
// they come, every time.
type Kind string

// The kinds. Those that are a pair raise and clear an alarm of an object.
const (
	JobFailed            Kind = "job-failed"
	JobRecovered         Kind = "job-recovered"
	RPOMissed            Kind = "rpo-missed"
	RPORecovered         Kind = "rpo-recovered"
	RepositoryOffline    Kind = "repository-offline"
	RepositoryRecovered  Kind = "repository-recovered"
	DrillFailed          Kind = "drill-failed"
	DrillRecovered       Kind = "drill-recovered"
	PointDamaged         Kind = "point-damaged"
	PointHealed          Kind = "point-healed"
	BackupQuota          Kind = "backup-quota"
	BackupQuotaRecovered Kind = "backup-quota-recovered"
	TransporterOffline   Kind = "transporter-offline"
	TransporterRecovered Kind = "transporter-recovered"

	// These have no end of their own: they are told again if they happen again
	// after the time of repetition.
	VerifyFailed Kind = "verify-failed"
	Quota        Kind = "quota"

	Test Kind = "test"
	// Lost says that notifications were dropped. Every sender gets it.
	Lost Kind = "notifications-lost"
)

// Kinds are those that a configuration may choose from.
var Kinds = []Kind{
	JobFailed, JobRecovered, RPOMissed, RPORecovered, RepositoryOffline, RepositoryRecovered, DrillFailed, DrillRecovered,
	PointDamaged, PointHealed, VerifyFailed, Quota, BackupQuota, BackupQuotaRecovered,
	TransporterOffline, TransporterRecovered, Test,
}

// clears names the alarm that each kind of recovery ends.
var clears = map[Kind]Kind{
	JobRecovered: JobFailed, RPORecovered: RPOMissed, RepositoryRecovered: RepositoryOffline,
	DrillRecovered: DrillFailed, PointHealed: PointDamaged, BackupQuotaRecovered: BackupQuota,
	TransporterRecovered: TransporterOffline,
}

// raises are the alarms that something ends.
var raises = func() map[Kind]bool {
	m := map[Kind]bool{}
	for _, k := range clears {
		m[k] = true
	}
	return m
}()

// Severity is how bad it is.
type Severity string

// The severities. error: somebody must act.
const (
	Info    Severity = "info"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Event is one thing to be told.
type Event struct {
	ID       string    // of the message; made by Notify
	Time     time.Time // when it happened; "now" if zero
	Group    string    // name of the vmgroup, "" for what is about the service
	GroupID  volspec.VMGroupID
	Kind     Kind
	Object   string // volume, repository, policy or transporters
	Severity Severity
	Sentence string // what was wanted, what stands in the way, what to do
	Request  string // id of the request that led to it, "" for none
	// Again is when the alarm was raised, if it is told again or ends now.
	Again time.Time
}

// key tells alarms apart.
type key struct {
	group  string
	kind   Kind
	object string
}

func (e Event) key() key {
	k := e.Kind
	if raised, ok := clears[k]; ok {
		k = raised
	}
	return key{e.Group, k, e.Object}
}

// newID makes the id of a message. Receivers use it to see repetitions.
func newID() string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return "msg_" + hex.EncodeToString(b[:])
}
