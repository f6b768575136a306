package cli

import (
	"context"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// auditAdmin is the part of Admin about the audit log.
type auditAdmin interface {
	Audit(ctx context.Context, q hostclient.AuditQuery) (wire.AuditPage, error)
	ExportAudit(ctx context.Context, q hostclient.AuditQuery) (hostclient.Download, error)
	VerifyAudit(ctx context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error)
}

var auditColumns = []column[wire.AuditEntry]{
	{header: "Time", value: func(a wire.AuditEntry) string { return moment(a.Time) }},
	{header: "Actor", value: func(a wire.AuditEntry) string { return a.Actor }},
	{header: "As", wide: true, value: func(a wire.AuditEntry) string { return orDash(a.As) }},
	{header: "From", wide: true, value: func(a wire.AuditEntry) string { return orDash(a.From) }},
	{header: "VMGroup", value: func(a wire.AuditEntry) string { return a.VMGroup }},
	{header: "Action", value: func(a wire.AuditEntry) string { return a.Action }},
	{header: "Object", value: func(a wire.AuditEntry) string { return a.Object }},
	{header: "Outcome", value: func(a wire.AuditEntry) string { return a.Outcome }},
	{header: "Detail", value: func(a wire.AuditEntry) string { return a.Detail }},
	{header: "Request", wide: true, value: func(a wire.AuditEntry) string { return a.Request }},
}

// auditCommand lists also by itself: it did before it had commands.
func (t *tool) auditCommand() *cobra.Command {
	cmd := t.auditLsCommand("audit")
	cmd.AddCommand(t.auditLsCommand("ls"), t.auditExportCommand(), t.auditVerifyCommand())
	return cmd
}

// auditFlags select lines.
type auditFlags struct {
	q            hostclient.AuditQuery
	since, until string
}

func (f *auditFlags) register(t *tool, cmd *cobra.Command) {
	t.vmgroupFlag(cmd, &f.q.VMGroup, "only entries about `vmgroup`")
	cmd.Flags().StringVar(&f.q.Actor, "actor", "", "only what `actor` did, such as user:anna")
	cmd.Flags().StringVar(&f.q.Action, "action", "", "only actions that begin with `words`, such as \"volume\"")
	cmd.Flags().StringVar(&f.q.Outcome, "outcome", "", "only this `outcome`: ok, or the kind of the refusal")
	cmd.Flags().StringVar(&f.q.Object, "object", "", "only entries about `object`")
	cmd.Flags().StringVar(&f.since, "since", "", "not older than `time`: a date, a time in RFC 3339, or a span such as 24h")
	cmd.Flags().StringVar(&f.until, "until", "", "older than `time`")
}

func (f *auditFlags) query(cmd *cobra.Command) (q hostclient.AuditQuery, err error) {
	q = f.q
	if q.Since, err = pastTime(cmd, "since", f.since); err == nil {
		q.Until, err = pastTime(cmd, "until", f.until)
	}
	return q, err
}

// pastTime reads a moment as people write it; "" is none.
func pastTime(cmd *cobra.Command, flag, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return time.Now().Add(-d), nil
	}
	return time.Time{}, usagef(cmd, "--%s %q is not a time: write a date such as 2026-11-26, a time such as 2026-11-26T07:00:00Z, or a span such as 24h", flag, clean(text, false))
}

func (t *tool) auditLsCommand(name string) *cobra.Command {
	var f auditFlags
	var limit int
	cmd := &cobra.Command{
		Use:   name,
		Short: "Show who did what, newest first",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			if limit < 1 {
				return usagef(cmd, "--limit %d is not valid: ask for at least one entry", limit)
			}
			q, err := f.query(cmd)
			if err != nil {
				return err
			}
			entries, err := pages(limit, func(after string, n int) ([]wire.AuditEntry, string, error) {
				q.After, q.Limit = after, n
				page, err := admin.Audit(cmd.Context(), q)
				return page.Entries, page.Next, err
			})
			if err != nil {
				return err
			}
			return list(t, entries, auditColumns, func(a wire.AuditEntry) string { return a.Request })
		}),
	}
	f.register(t, cmd)
	cmd.Flags().IntVar(&limit, "limit", 100, "at most `number` entries")
	return cmd
}

func (t *tool) auditExportCommand() *cobra.Command {
	var f auditFlags
	var to outFlags
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the audit log to a file, oldest first",
		Long: `Writes the audit log to a file, oldest first: one JSON object on each line, with the
number and the hash of the line in its chain.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			q, err := f.query(cmd)
			if err != nil {
				return err
			}
			return t.fetch(cmd, &to, false, func(ctx context.Context) (hostclient.Download, error) { return admin.ExportAudit(ctx, q) })
		}),
	}
	f.register(t, cmd)
	to.register(cmd, "write the log to `file`, - for standard output")
	return cmd
}

var auditCheckColumns = []column[wire.AuditCheck]{
	{header: "VMGroup", value: func(c wire.AuditCheck) string { return orDash(c.VMGroup) }},
	{header: "Whole", value: func(c wire.AuditCheck) string { return yesNo(c.Whole) }},
	{header: "Lines", value: func(c wire.AuditCheck) string { return strconv.FormatInt(c.Lines, 10) }},
	{header: "Head", value: func(c wire.AuditCheck) string { return c.Head }},
	{header: "Detail", value: func(c wire.AuditCheck) string { return c.Detail }},
}

func (t *tool) auditVerifyCommand() *cobra.Command {
	var group string
	var heads []string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Check that nothing in the audit log was changed or taken out",
		Long: `Follows the chains of the audit log, that of the service (-) and one for each
vmgroup, from the first line to the last. Keep the hashes of column Head elsewhere
and give them with --head later: that proves that nothing was cut off either. The
exit code is 1 when something does not fit.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			checks, err := admin.VerifyAudit(cmd.Context(), group, heads)
			if err != nil {
				return err
			}
			if err := list(t, checks, auditCheckColumns, func(c wire.AuditCheck) string { return c.Head }); err != nil {
				return err
			}
			bad := 0
			for _, c := range checks {
				if !c.Whole {
					bad++
				}
			}
			if bad > 0 {
				return errkind.New(errkind.Corrupt, "%s of the audit log do not fit: see the details", count(bad, "part"))
			}
			return nil
		}),
	}
	t.vmgroupFlag(cmd, &group, "only the chain of `vmgroup`")
	cmd.Flags().StringSliceVar(&heads, "head", nil, "`hash` that was kept elsewhere and must still be there; may be repeated")
	return cmd
}
