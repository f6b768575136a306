package api

import (
	"context"
	"io"

	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type stubAudit struct{ *stub }

func (s stubAudit) Page(ctx context.Context, vmgroup string, q audit.Query) (wire.AuditPage, error) {
	return wire.AuditPage{}, s.note(ctx, "audit.Page", nobody, vmgroup, q)
}

func (s stubAudit) Export(ctx context.Context, vmgroup string, q audit.Query, w io.Writer) error {
	_, err := io.WriteString(w, "{}\n")
	if err != nil {
		return err
	}
	return s.note(ctx, "audit.Export", nobody, vmgroup, q)
}

func (s stubAudit) Verify(ctx context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error) {
	return nil, s.note(ctx, "audit.Verify", nobody, vmgroup, heads)
}

func (s stubAudit) Refused(context.Context, volspec.Caller, string, string, string, error) {}
