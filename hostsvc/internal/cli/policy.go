package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func aPolicy() thingFlags { return thingFlags{noun: "policy", form: "NAME"} }

func (t *tool) policyCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "policy",
		Short: "Say which volumes and VMs are backed up, when, where to and for how long",
		Long: `A policy says which volumes and VMs of a vmgroup are backed up, when, to which
repository, how long recovery points are kept, and how they are proved. Policies
that a configuration file declares are shown here and changed there.`,
	}, t.policyCreate(), t.policySet(), t.policyList(), t.policyInspect(), t.policyRemove(), t.policyPreview(), t.policyRun())
}

// policyRow is a policy in a list, with its vmgroup.
type policyRow struct {
	group string
	wire.Policy
}

var policyColumns = []column[policyRow]{
	{header: "Name", value: func(p policyRow) string { return p.Name }},
	{header: "VMGroup", value: func(p policyRow) string { return p.group }},
	{header: "Enabled", value: func(p policyRow) string { return yesNo(enabled(p.Policy)) }},
	{header: "Volumes", value: func(p policyRow) string { return selection(p.Policy) }},
	{header: "Repository", value: func(p policyRow) string { return p.Repository }},
	{header: "Schedule", value: func(p policyRow) string { return scheduled(p.Schedule, p.Timezone) }},
	{header: "Keep", value: func(p policyRow) string { return keeps(p.Keep) }},
	{header: "RPO", value: func(p policyRow) string { return orDash(p.RPO) }},
	{header: "Verify", wide: true, value: func(p policyRow) string { return verifies(p.Policy) }},
	{header: "Drill", wide: true, value: func(p policyRow) string { return orDash(p.DrillSched) }},
	{header: "Copy_to", wide: true, value: func(p policyRow) string { return orDash(p.Copy.Repository) }},
	{header: "Source", wide: true, value: func(p policyRow) string { return orDash(p.Source) }},
}

func enabled(p wire.Policy) bool { return p.Enabled == nil || *p.Enabled }

// selection is which volumes a policy is about.
func selection(p wire.Policy) string {
	text := strings.Join(p.Volumes, ",")
	for _, vm := range p.VMs {
		text += ", " + vmPrefix + vm
	}
	if text = strings.TrimPrefix(text, ", "); text == "" {
		return "those that name it"
	}
	if len(p.Exclude) > 0 {
		text += " but " + strings.Join(p.Exclude, ",")
	}
	return text
}

func scheduled(schedule, zone string) string {
	if schedule == "" {
		return "by hand"
	}
	return strings.TrimSpace(schedule + " " + zone)
}

// keeps is a retention in one line.
func keeps(k wire.Keep) string {
	var parts []string
	for _, n := range []struct {
		name  string
		count int
	}{{"last", k.Last}, {"hourly", k.Hourly}, {"daily", k.Daily}, {"weekly", k.Weekly}, {"monthly", k.Monthly}, {"yearly", k.Yearly}} {
		if n.count > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", n.name, n.count))
		}
	}
	if k.Within != "" {
		parts = append(parts, "within "+k.Within)
	}
	if len(parts) == 0 {
		return "everything"
	}
	return strings.Join(parts, ", ")
}

func verifies(p wire.Policy) string {
	if p.Verify.Schedule == "" {
		return "-"
	}
	text := strings.TrimSpace(p.Verify.Schedule + " " + p.Verify.Mode)
	if p.Verify.Share > 0 {
		text += " " + strconv.FormatFloat(p.Verify.Share, 'g', -1, 64)
	}
	return text
}

func (t *tool) policyList() *cobra.Command {
	var group groupArg
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List backup policies",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var rows []policyRow
			if err := inGroups(cmd.Context(), admin, name, func(g string) error {
				all, err := admin.Policies(cmd.Context(), g)
				for _, p := range all {
					p.VMGroup = g
					rows = append(rows, policyRow{g, p})
				}
				return err
			}); err != nil {
				return err
			}
			return list(t, rows, policyColumns, func(p policyRow) string { return p.group + "/" + p.Name })
		},
	}
	group.register(t, cmd, "policies")
	return cmd
}

func (t *tool) policyInspect() *cobra.Command {
	which := aPolicy()
	cmd := &cobra.Command{
		Use:               "inspect [VMGROUP/]NAME",
		Short:             "Show everything about a backup policy",
		Args:              args(1, 1, "one policy"),
		ValidArgsFunction: first(t.complete(which.policies)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			p, err := admin.Policy(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			return t.object(p, o.String(), describePolicy(o.group, p))
		}),
	}
	which.register(t, cmd)
	return cmd
}

func describePolicy(group string, p wire.Policy) string {
	limit := "none"
	if p.Limit > 0 {
		limit = p.Limit.String() + "/s"
	}
	facts := [][2]string{
		{"Policy", p.Name},
		{"VMGroup", group},
		{"Enabled", yesNo(enabled(p))},
		{"Volumes", selection(p)},
		{"Repository", p.Repository},
		{"Schedule", scheduled(p.Schedule, p.Timezone)},
		{"Overlap", orDash(p.Overlap)},
		{"Keep", keeps(p.Keep)},
		{"RPO", orDash(p.RPO)},
		{"Consistency", orDash(p.Consistency)},
		{"Verify", verifies(p)},
		{"Drill", orDash(p.DrillSched)},
		{"Limit", limit},
		{"Priority", strconv.Itoa(p.Priority)},
	}
	if p.Copy.Repository != "" {
		facts = append(facts,
			[2]string{"Copy to", p.Copy.Repository},
			[2]string{"Copy schedule", orDash(p.Copy.Schedule)},
			[2]string{"Copy keep", keeps(p.Copy.Keep)})
	}
	if p.Source != "" {
		facts = append(facts, [2]string{"Declared in", p.Source})
	}
	return lines(facts)
}

func (t *tool) policyRemove() *cobra.Command {
	which := aPolicy()
	cmd := &cobra.Command{
		Use:   "rm [VMGROUP/]NAME...",
		Short: "Remove backup policies",
		Long: `Removes backup policies. Their recovery points stay, and nothing removes them by age
any more.`,
		Args:              args(1, 1<<20, "at least one policy"),
		ValidArgsFunction: t.complete(which.policies),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			return each(things, func(o thing) error {
				if err := admin.RemovePolicy(cmd.Context(), o.group, o.name); err != nil {
					return err
				}
				return t.done(o.String(), "Policy %s is removed; its recovery points stay.", o)
			})
		}),
	}
	which.register(t, cmd)
	return cmd
}

func (t *tool) policyRun() *cobra.Command {
	which := aPolicy()
	var w waitFlags
	cmd := &cobra.Command{
		Use:               "run [VMGROUP/]NAME",
		Short:             "Back the volumes of a policy up now",
		Long:              `Backs the volumes of a policy up now, as 'mooring backup run --policy' does.`,
		Example:           `  mooring backup policy run Dev/nightly`,
		Args:              args(1, 1, "one policy"),
		ValidArgsFunction: first(t.complete(which.policies)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			jobs, err := admin.Backup(cmd.Context(), o.group, wire.RunBackup{Policy: o.name})
			if err != nil {
				return err
			}
			return t.begun(cmd, admin, w, jobs, nil)
		}),
	}
	which.register(t, cmd)
	w.register(cmd)
	return cmd
}

func (t *tool) policyPreview() *cobra.Command {
	which := aPolicy()
	cmd := &cobra.Command{
		Use:   "preview [VMGROUP/]NAME",
		Short: "Show what a policy protects, when it runs next and what it would remove",
		Long: `Shows what a policy protects, when it runs next and what its retention would remove
now. For a policy that is not there yet, or a change, add --dry-run to 'create' or
'set'.`,
		Args:              args(1, 1, "one policy"),
		ValidArgsFunction: first(t.complete(which.policies)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			p, err := admin.PreviewPolicy(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			return t.preview(o, p)
		}),
	}
	which.register(t, cmd)
	return cmd
}

func (t *tool) preview(o thing, p wire.PolicyPreview) error {
	var b strings.Builder
	b.WriteString("Volumes:\n")
	for _, v := range p.Volumes {
		b.WriteString("  " + clean(v, false) + "\n")
	}
	for _, vm := range p.VMs {
		b.WriteString("  " + vmPrefix + clean(vm, false) + "\n")
	}
	if len(p.Volumes)+len(p.VMs) == 0 {
		b.WriteString("  none\n")
	}
	b.WriteString("Next runs:\n")
	for _, r := range p.Next {
		fmt.Fprintf(&b, "  %s  %s\n", moment(r.At), clean(r.Task, false))
	}
	if len(p.Next) == 0 {
		b.WriteString("  none\n")
	}
	b.WriteString("Recovery points:\n")
	if len(p.Points) == 0 {
		b.WriteString("  none\n")
	} else {
		b.WriteString(decisionTable(p.Points, !t.noHeaders))
	}
	return t.object(p, o.String(), b.String())
}

// rate reads bytes per second, unset is no limit.
func rate(v string) (volspec.Size, error) { return limit(strings.TrimSuffix(v, "/s")) }
