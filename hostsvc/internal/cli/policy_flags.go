package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// policyFlags are the fields of a policy as flags. Only what is given is
// changed.
type policyFlags struct {
	given                 wire.Policy
	volumes, vms, exclude string
	limit                 string
	enable, disable       bool
	dryRun                bool
}

func (p *policyFlags) register(t *tool, cmd *cobra.Command, which *thingFlags) {
	f, g := cmd.Flags(), &p.given
	f.StringVar(&p.volumes, "volumes", "", "comma-separated `patterns` of names, with *, ? and [a-z]; empty: only volumes made with -o backup-policy")
	f.StringVar(&p.vms, "vms", "", "comma-separated `patterns` of names of VMs that are backed up whole")
	f.StringVar(&p.exclude, "exclude", "", "comma-separated `patterns` of names that are left out, of VMs with vm/ before them")
	f.StringVar(&g.Repository, "repository", "", "the `repository`")
	f.StringVar(&g.Schedule, "schedule", "", "`when`, such as 02:30, \"Mon..Fri 20:00\", hourly or \"every 6h\"; empty: only by hand")
	f.StringVar(&g.Timezone, "timezone", "", "`zone` of the schedules, such as Europe/Berlin")
	f.StringVar(&g.Overlap, "overlap", "", "`what` becomes of a run that is due while the one before goes on: skip or queue")
	f.StringVar(&g.RPO, "rpo", "", "alarm when the newest good recovery point is older than this `time`, such as 26h or 7d")
	f.StringVar(&g.Consistency, "consistency", "", "`kind` of consistency: filesystem, crash or filesystem-required")
	registerKeep(cmd, &g.Keep, "", "")
	f.StringVar(&g.Verify.Schedule, "verify-schedule", "", "`when` recovery points are read back")
	f.StringVar(&g.Verify.Mode, "verify-mode", "", "how much is read: `mode` quick, sampled or full")
	f.Float64Var(&g.Verify.Share, "verify-share", 0, "`share` of the blocks that --verify-mode=sampled reads, such as 0.1")
	f.StringVar(&g.DrillSched, "drill-schedule", "", "`when` the newest points are restored to scratch and checked")
	f.StringVar(&g.Copy.Repository, "copy-to", "", "second `repository` that recovery points are copied to")
	f.StringVar(&g.Copy.Schedule, "copy-schedule", "", "`when` they are copied; empty: only by hand")
	registerKeep(cmd, &g.Copy.Keep, "copy-", " in the second repository")
	f.StringVar(&p.limit, "limit", "", "most bytes per second that a backup stores, as a `size` such as 50mb; unset removes the limit")
	f.IntVar(&g.Priority, "priority", 0, "`number` from 1, whose jobs go first, to 5")
	f.BoolVar(&p.enable, "enable", false, "let the schedules run")
	f.BoolVar(&p.disable, "disable", false, "keep the policy, but let no schedule run")
	f.BoolVar(&p.dryRun, "dry-run", false, "only show what the policy would do")
	t.completeFlag(cmd, "repository", repositoryNames(&which.group))
	t.completeFlag(cmd, "copy-to", repositoryNames(&which.group))
	for flag, words := range map[string][]string{
		"overlap": {"skip", "queue"}, "consistency": consistencies, "verify-mode": {"quick", "sampled", "full"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
}

func registerKeep(cmd *cobra.Command, k *wire.Keep, prefix, where string) {
	f := cmd.Flags()
	for _, n := range []struct {
		name, usage string
		count       *int
	}{
		{"last", "keep the newest `number` points", &k.Last},
		{"hourly", "keep one point of each of the last `number` hours that have one", &k.Hourly},
		{"daily", "keep one point of each of the last `number` days that have one", &k.Daily},
		{"weekly", "keep one point of each of the last `number` weeks that have one", &k.Weekly},
		{"monthly", "keep one point of each of the last `number` months that have one", &k.Monthly},
		{"yearly", "keep one point of each of the last `number` years that have one", &k.Yearly},
	} {
		f.IntVar(n.count, prefix+"keep-"+n.name, 0, n.usage+where)
	}
	f.StringVar(&k.Within, prefix+"keep-within", "", "keep all points younger than this `time`, such as 48h or 7d"+where)
}

// apply puts the flags that were given into to.
func (p *policyFlags) apply(cmd *cobra.Command, to *wire.Policy) error {
	changed := cmd.Flags().Changed
	if p.enable && p.disable {
		return usagef(cmd, "--enable and --disable exclude each other")
	}
	if p.limit != "" {
		size, err := rate(p.limit)
		if err != nil {
			return usagef(cmd, "--limit: %s; unset removes the limit", errkind.Text(err))
		}
		to.Limit = size
	}
	g := &p.given
	for flag, put := range map[string]func(){
		"volumes":         func() { to.Volumes = commaList(p.volumes) },
		"vms":             func() { to.VMs = commaList(p.vms) },
		"exclude":         func() { to.Exclude = commaList(p.exclude) },
		"repository":      func() { to.Repository = g.Repository },
		"schedule":        func() { to.Schedule = g.Schedule },
		"timezone":        func() { to.Timezone = g.Timezone },
		"overlap":         func() { to.Overlap = g.Overlap },
		"rpo":             func() { to.RPO = g.RPO },
		"consistency":     func() { to.Consistency = g.Consistency },
		"verify-schedule": func() { to.Verify.Schedule = g.Verify.Schedule },
		"verify-mode":     func() { to.Verify.Mode = g.Verify.Mode },
		"verify-share":    func() { to.Verify.Share = g.Verify.Share },
		"drill-schedule":  func() { to.DrillSched = g.DrillSched },
		"copy-to":         func() { to.Copy.Repository = g.Copy.Repository },
		"copy-schedule":   func() { to.Copy.Schedule = g.Copy.Schedule },
		"priority":        func() { to.Priority = g.Priority },
		"enable":          func() { to.Enabled = new(p.enable) },
		"disable":         func() { to.Enabled = new(!p.disable) },
	} {
		if changed(flag) {
			put()
		}
	}
	applyKeep(changed, &to.Keep, g.Keep, "")
	applyKeep(changed, &to.Copy.Keep, g.Copy.Keep, "copy-")
	return nil
}

func applyKeep(changed func(string) bool, to *wire.Keep, given wire.Keep, prefix string) {
	for flag, put := range map[string]func(){
		"last":    func() { to.Last = given.Last },
		"hourly":  func() { to.Hourly = given.Hourly },
		"daily":   func() { to.Daily = given.Daily },
		"weekly":  func() { to.Weekly = given.Weekly },
		"monthly": func() { to.Monthly = given.Monthly },
		"yearly":  func() { to.Yearly = given.Yearly },
		"within":  func() { to.Within = given.Within },
	} {
		if changed(prefix + "keep-" + flag) {
			put()
		}
	}
}

func commaList(s string) []string {
	words := []string{}
	for w := range strings.SplitSeq(s, ",") {
		if w = strings.TrimSpace(w); w != "" {
			words = append(words, w)
		}
	}
	return words
}

func (t *tool) policyCreate() *cobra.Command {
	which := aPolicy()
	var p policyFlags
	cmd := &cobra.Command{
		Use:   "create [VMGROUP/]NAME --repository=REPOSITORY",
		Short: "Make a backup policy",
		Example: `  mooring backup policy create Dev/nightly --volumes='*' --repository=main --schedule=02:30 --timezone=Europe/Berlin --keep-daily=7 --keep-weekly=4 --rpo=26h
  mooring backup policy create Dev/hourly --volumes='db*' --exclude='*-test' --repository=main --schedule=hourly --keep-within=48h --dry-run`,
		Args:              args(1, 1, "one policy"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			body := wire.Policy{Name: o.name, Volumes: []string{}}
			if err := p.apply(cmd, &body); err != nil {
				return err
			}
			if p.dryRun {
				return t.previewNew(cmd, admin, o, body)
			}
			made, err := admin.CreatePolicy(cmd.Context(), o.group, body)
			if err != nil {
				return err
			}
			return t.object(made, o.String(), clean(o.String(), false)+"\n")
		}),
	}
	which.register(t, cmd)
	p.register(t, cmd, &which)
	return cmd
}

func (t *tool) policySet() *cobra.Command {
	which := aPolicy()
	var p policyFlags
	cmd := &cobra.Command{
		Use:               "set [VMGROUP/]NAME",
		Short:             "Change what is given of a backup policy",
		Example:           `  mooring backup policy set Dev/nightly --keep-daily=14 --verify-schedule='Sun 06:00' --verify-mode=sampled --verify-share=0.1`,
		Args:              args(1, 1, "one policy"),
		ValidArgsFunction: first(t.complete(which.policies)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			body, err := admin.Policy(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			if err := p.apply(cmd, &body); err != nil {
				return err
			}
			if p.dryRun {
				return t.previewNew(cmd, admin, o, body)
			}
			set, err := admin.ReplacePolicy(cmd.Context(), o.group, o.name, body)
			if err != nil {
				return err
			}
			switch t.format {
			case formatTable, formatWide:
				t.talk("Policy %s is changed.", o)
				return nil
			}
			return t.object(set, o.String(), "")
		}),
	}
	which.register(t, cmd)
	p.register(t, cmd, &which)
	return cmd
}

func (t *tool) previewNew(cmd *cobra.Command, admin Admin, o thing, body wire.Policy) error {
	p, err := admin.PreviewNew(cmd.Context(), o.group, body)
	if err != nil {
		return err
	}
	if err := t.preview(o, p); err != nil {
		return err
	}
	t.talk("Dry run, nothing was changed.")
	return nil
}
