package api

import (
	"context"
	"io"
	"net/http"
	"reflect"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Audit is everything the interface wants of the audit log. vmgroup "" is all
// that the caller may see.
type Audit interface {
	Page(ctx context.Context, vmgroup string, q audit.Query) (wire.AuditPage, error)
	Export(ctx context.Context, vmgroup string, q audit.Query, w io.Writer) error
	Verify(ctx context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error)
	// Refused writes down what the interface itself refused.
	Refused(ctx context.Context, c volspec.Caller, vmgroup, action, object string, refusal error)
}

var auditParams = []param{
	{"vmgroup", "string", "only of this vmgroup"},
	{"actor", "string", "only of this actor"},
	{"action", "string", "only actions that begin so"},
	{"outcome", "string", "only with this outcome: ok, or the kind of the refusal"},
	{"object", "string", "only about this object"},
	{"since", "string", "not older than this time, in RFC 3339"},
	{"until", "string", "older than this time, in RFC 3339"},
}

var auditEndpoints = []endpoint{
	{
		http.MethodGet, "/audit", users, auditRead, ofScope,
		"The audit log, newest first", slices.Concat(auditParams, pageParams),
		give(func(ctx context.Context, s *Server, c *call) (wire.AuditPage, error) {
			q, err := c.auditQuery()
			if err != nil {
				return wire.AuditPage{}, err
			}
			q.After = c.query.Get("after")
			if q.Limit, err = c.number("limit"); err != nil {
				return wire.AuditPage{}, err
			}
			return s.o.Audit.Page(ctx, c.scope(), q)
		}),
	},
	{
		http.MethodGet, "/audit/export", users, auditRead, ofScope,
		"The audit log as a file, oldest first: one JSON object on each line", auditParams,
		handler{
			out: reflect.TypeFor[wire.AuditLine](), media: "application/x-ndjson",
			stream: func(ctx context.Context, s *Server, c *call, w *streamWriter) error {
				q, err := c.auditQuery()
				if err != nil {
					return err
				}
				w.start("audit.ndjson", -1)
				return s.o.Audit.Export(ctx, c.scope(), q, w)
			},
		},
	},
	{
		http.MethodGet, "/audit/verify", users, auditRead, ofScope,
		"Follow the chains of the audit log: whether a line was changed, put in or taken out",
		[]param{
			{"vmgroup", "string", "only of this vmgroup"},
			{"head", "list", "hash of a last line that was kept elsewhere and must still be there"},
		},
		give(func(ctx context.Context, s *Server, c *call) ([]wire.AuditCheck, error) {
			return s.o.Audit.Verify(ctx, c.scope(), c.query["head"])
		}),
	},
}

func (c *call) auditQuery() (q audit.Query, err error) {
	q = audit.Query{Actor: c.query.Get("actor"), Action: c.query.Get("action"), Outcome: c.query.Get("outcome"), Object: c.query.Get("object")}
	if q.Since, err = c.moment("since"); err == nil {
		q.Until, err = c.moment("until")
	}
	return q, err
}

// moment is a time in the query, zero for none.
func (c *call) moment(name string) (time.Time, error) {
	v := c.query.Get(name)
	if v == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return at, errkind.New(errkind.Invalid, "query parameter %s=%q is not valid: write a time such as 2026-11-26T07:00:00Z", name, v)
	}
	return at, nil
}
