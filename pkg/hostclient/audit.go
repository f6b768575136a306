package hostclient

import (
	"context"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/wire"
)

// AuditQuery selects lines of the audit log; zero fields select everything.
// Action is its name or the beginning of it. After is the Next of the page
// before, Limit the length of a page (0: the service's default).
type AuditQuery struct {
	VMGroup, Actor, Action, Outcome, Object string
	Since, Until                            time.Time // Until is exclusive
	After                                   string
	Limit                                   int
}

func (r AuditQuery) values() url.Values {
	q := url.Values{}
	set(q, "vmgroup", r.VMGroup)
	set(q, "actor", r.Actor)
	set(q, "action", r.Action)
	set(q, "outcome", r.Outcome)
	set(q, "object", r.Object)
	setTime(q, "since", r.Since)
	setTime(q, "until", r.Until)
	return q
}

// Audit is one page of the audit log, newest first.
func (a *Admin) Audit(ctx context.Context, r AuditQuery) (wire.AuditPage, error) {
	q := r.values()
	set(q, "after", r.After)
	setInt(q, "limit", r.Limit)
	return get[wire.AuditPage](ctx, a, q, "audit")
}

// ExportAudit begins an export of the audit log, oldest line first: one
// wire.AuditLine in JSON on each line. After and Limit do not apply.
func (a *Admin) ExportAudit(ctx context.Context, r AuditQuery) (Download, error) {
	return a.download(ctx, r.values(), "audit", "export")
}

// VerifyAudit follows the chains of the audit log: all, or with a vmgroup its
// own. heads are hashes of last lines that were kept elsewhere.
func (a *Admin) VerifyAudit(ctx context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error) {
	q := url.Values{}
	set(q, "vmgroup", vmgroup)
	if len(heads) > 0 {
		q["head"] = heads
	}
	return get[[]wire.AuditCheck](ctx, a, q, "audit", "verify")
}
