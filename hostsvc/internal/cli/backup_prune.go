package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

var decisionColumns = []column[wire.KeepDecision]{
	{header: "Point", value: func(d wire.KeepDecision) string { return string(d.Point) }},
	{header: "Volume", value: func(d wire.KeepDecision) string { return d.Volume }},
	{header: "Repository", value: func(d wire.KeepDecision) string { return d.Repository }},
	{header: "Created", value: func(d wire.KeepDecision) string { return moment(d.Created) }},
	{header: "Action", value: func(d wire.KeepDecision) string {
		if d.Keep {
			return "keep"
		}
		return "remove"
	}},
	{header: "Reasons", value: func(d wire.KeepDecision) string { return orDash(strings.Join(d.Reasons, "; ")) }},
}

func decisionTable(all []wire.KeepDecision, headers bool) string {
	header := make([]string, len(decisionColumns))
	var rows [][]string
	for i, c := range decisionColumns {
		header[i] = c.header
	}
	for _, d := range all {
		row := make([]string, len(decisionColumns))
		for i, c := range decisionColumns {
			row[i] = clean(c.value(d), false)
		}
		rows = append(rows, row)
	}
	return table(header, rows, headers)
}

func (t *tool) backupPrune() *cobra.Command {
	var group groupArg
	var body wire.Prune
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove recovery points that no policy keeps any more",
		Long: `Applies the retention of policies now, which the service does by itself too, and
lists every recovery point with what is done to it and why. The newest good point of
a volume and held points are never removed. Without a vmgroup it is for all that are
enabled, and says which it leaves out.`,
		Example: `  mooring backup prune Dev --dry-run
  mooring backup prune Dev --policy=nightly`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			if name == "" && body.Policy != "" {
				return usagef(cmd, "--policy is of one vmgroup: name it")
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			return t.prune(cmd, admin, name, body)
		},
	}
	group.register(t, cmd, "recovery points")
	cmd.Flags().StringVar(&body.Policy, "policy", "", "only of `policy`")
	cmd.Flags().BoolVar(&body.DryRun, "dry-run", false, "only list what would be removed")
	cmd.ValidArgsFunction = first(t.complete(groupNames))
	return cmd
}

func (t *tool) prune(cmd *cobra.Command, admin Admin, group string, body wire.Prune) error {
	groups := []string{group}
	if group == "" {
		var err error
		if groups, err = t.enabledGroups(cmd.Context(), admin); err != nil {
			return err
		}
	}
	all := wire.Pruned{Decisions: []wire.KeepDecision{}}
	for _, g := range groups {
		p, err := admin.Prune(cmd.Context(), g, body)
		if err != nil {
			return err
		}
		all.Decisions = append(all.Decisions, p.Decisions...)
		all.Removed += p.Removed
	}
	switch t.format {
	case formatJSON, formatYAML:
		return t.encode(all)
	}
	if err := list(t, all.Decisions, decisionColumns, func(d wire.KeepDecision) string { return string(d.Point) }); err != nil {
		return err
	}
	if body.DryRun {
		n := 0
		for _, d := range all.Decisions {
			if !d.Keep {
				n++
			}
		}
		t.talk("Dry run, nothing was changed: %s of %d would be removed.", count(n, "recovery point"), len(all.Decisions))
		return nil
	}
	t.talk("%s removed.", count(all.Removed, "recovery point"))
	return nil
}

// enabledGroups are the vmgroups in which work can begin. It says which are
// left out.
func (t *tool) enabledGroups(ctx context.Context, a Admin) (found []string, err error) {
	all, err := a.VMGroups(ctx)
	for _, g := range all {
		if g.State == wire.TenantEnabled {
			found = append(found, g.Name)
			continue
		}
		fmt.Fprintf(t.Err, "Vmgroup %s is %s: its recovery points stay as they are.\n", clean(g.Name, false), clean(g.State, false))
	}
	return found, err
}
