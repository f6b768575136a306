package cli

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) backupCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "backup",
		Short: "Back volumes and VMs up, prove recovery points and restore them",
		Long: `A backup makes a recovery point: what a volume, or the disks of a VM, held at one
moment, in a repository of its vmgroup. Each point is whole in itself. It is
completed when all bytes are accounted for, verified when every block was read back,
proven when it was restored to scratch, checked and mounted.

On the command line a recovery point is written VMGROUP/ID, VMGROUP/VOLUME@TIME (the
newest one not after that time) or VMGROUP/VOLUME@latest, or with --vmgroup and the
rest alone. For the volume vm/NAME can stand, the VM of that name.`,
	},
		t.backupRun(), t.backupStatus(), t.backupList(), t.backupInspect(),
		t.backupHold("hold", "Keep recovery points until they are released, whatever the retention says", true),
		t.backupHold("release", "Let the retention remove held recovery points again", false),
		t.backupRemove(), t.backupVerify(), t.backupDrill(), t.backupCopy(),
		t.backupRestore(), t.backupFiles(), t.backupGet(), t.backupTar(), t.backupExport(),
		t.policyCommand(), t.backupPrune())
}

func (t *tool) backupRun() *cobra.Command {
	var which volumeFlags
	var body wire.RunBackup
	var policy string
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "run [VMGROUP/]VOLUME...",
		Short: "Back volumes and VMs up now",
		Long: `Backs volumes and VMs up now, those that are named or those of a policy, and waits
until the backups have ended. A VM is written VMGROUP/vm/NAME. Ctrl-C ends the waiting, not the backups. The exit code is
1 when a backup failed, 3 when only some did or one was done in part.`,
		Example: `  mooring backup run Dev/db
  mooring backup run --vmgroup=Dev db logs --repository=offsite
  mooring backup run Dev/vm/web01
  mooring backup run --policy=Dev/nightly --no-wait`,
		ValidArgsFunction: t.complete(which.names),
		RunE: func(cmd *cobra.Command, args []string) error {
			groups, bodies, err := backupRequests(cmd, &which, args, policy, body)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var jobs []wire.Job
			failed := each(groups, func(group string) error {
				more, err := admin.Backup(cmd.Context(), group, *bodies[group])
				jobs = append(jobs, more...)
				return err
			})
			if len(jobs) == 0 {
				return failed
			}
			return worse(failed, t.begun(cmd, admin, w, jobs, nil))
		},
	}
	which.register(t, cmd, nil)
	f := cmd.Flags()
	f.StringVar(&policy, "policy", "", "back up the volumes of `policy`, written as [VMGROUP/]NAME")
	f.StringVar(&body.Repository, "repository", "", "into this `repository` instead of the policy's")
	f.BoolVar(&body.Full, "full", false, "read everything, although it is known what has changed")
	f.StringVar(&body.Consistency, "consistency", "", "`kind` of consistency: filesystem (freeze if possible), crash (never freeze) or filesystem-required (refuse anything less)")
	_ = cmd.RegisterFlagCompletionFunc("consistency", cobra.FixedCompletions(consistencies, cobra.ShellCompDirectiveNoFileComp))
	policies := aPolicy()
	t.completeFlag(cmd, "policy", policies.policies)
	t.completeFlag(cmd, "repository", repositoryNames(&which.group))
	w.register(cmd)
	return cmd
}

// vmPrefix stands before the name of a VM where a volume's could stand too.
const vmPrefix = "vm/"

var consistencies = []string{"filesystem", "crash", "filesystem-required"}

// backupRequests are a request for each vmgroup that is named, in order.
func backupRequests(cmd *cobra.Command, which *volumeFlags, args []string, policy string, body wire.RunBackup) (groups []string, bodies map[string]*wire.RunBackup, err error) {
	bodies = map[string]*wire.RunBackup{}
	switch {
	case policy != "" && len(args) > 0:
		return nil, nil, usagef(cmd, "a backup is of volumes or of a policy: leave out --policy or the volumes")
	case policy == "" && len(args) == 0:
		return nil, nil, usagef(cmd, "'%s' needs volumes or a policy: write VMGROUP/VOLUME or add --policy", cmd.CommandPath())
	case policy != "":
		p := aPolicy()
		p.group = which.group
		o, err := p.parse(cmd, policy)
		if err != nil {
			return nil, nil, err
		}
		body.Policy = o.name
		return []string{o.group}, map[string]*wire.RunBackup{o.group: &body}, nil
	}
	for _, a := range args {
		o := object{which.group, a}
		if which.group == "" || !strings.HasPrefix(a, vmPrefix) {
			if o, err = which.parse(cmd, a); err != nil {
				return nil, nil, err
			}
		}
		if bodies[o.group] == nil {
			b := body
			bodies[o.group] = &b
			groups = append(groups, o.group)
		}
		if vm, ok := strings.CutPrefix(o.volume, vmPrefix); ok {
			bodies[o.group].VMs = append(bodies[o.group].VMs, vm)
			continue
		}
		bodies[o.group].Volumes = append(bodies[o.group].Volumes, o.volume)
	}
	return groups, bodies, nil
}

// worse joins what went wrong before jobs were begun with what became of them.
// Something was done, so both together are a part.
func worse(before, after error) error {
	if before == nil {
		return after
	}
	p := &partial{done: 1, errs: []error{before}}
	if after != nil {
		p.errs = append(p.errs, after)
	}
	return p
}

var protectionColumns = []column[protected]{
	{header: "Volume", value: func(p protected) string { return p.Volume }},
	{header: "VMGroup", value: func(p protected) string { return p.VMGroup }},
	{header: "State", value: func(p protected) string { return p.State }},
	{header: "Policies", value: func(p protected) string { return orDash(strings.Join(p.Policies, ", ")) }},
	{header: "Last_point", value: func(p protected) string { return moment(p.LastPoint) }},
	{header: "Age", value: func(p protected) string { return seconds(p.AgeSeconds) }},
	{header: "RPO", value: func(p protected) string { return seconds(p.RPOSeconds) }},
	{header: "Point", value: func(p protected) string { return orDash(p.LastState) }},
	{header: "Last_job", value: func(p protected) string { return orDash(p.LastJob) }},
	{header: "Problem", value: func(p protected) string { return orDash(p.LastProblem) }},
}

// protected is a volume's protection with its vmgroup.
type protected struct {
	VMGroup string `json:"vmgroup"`
	wire.Protection
}

func (t *tool) backupStatus() *cobra.Command {
	var group groupArg
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show how volumes and VMs are protected, the worst first",
		Long: `Shows how volumes, and VMs that are backed up, are protected: first those that no policy protects, then those
whose newest good recovery point is older than the policy allows (late), then those
whose last backup failed.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var found []protected
			if err := inGroups(cmd.Context(), admin, name, func(g string) error {
				all, err := admin.Protection(cmd.Context(), g)
				for _, p := range all {
					found = append(found, protected{g, p})
				}
				return err
			}); err != nil {
				return err
			}
			sortProtection(found)
			if err := list(t, found, protectionColumns, func(p protected) string { return p.VMGroup + "/" + p.Volume }); err != nil {
				return err
			}
			t.sumUp(found)
			return nil
		},
	}
	group.register(t, cmd, "volumes")
	return cmd
}

// sumUp says in one line how things stand.
func (t *tool) sumUp(found []protected) {
	if t.format != formatTable && t.format != formatWide {
		return
	}
	n := map[string]int{}
	for _, p := range found {
		n[p.State]++
	}
	t.talk("%s: %d protected, %d without a point yet, %d unprotected, %d late, %d failed.", count(len(found), "volume"), n["ok"], n["pending"], n["unprotected"], n["late"], n["failed"])
}

// urgency orders states of protection.
var urgency = map[string]int{"unprotected": 0, "late": 1, "failed": 2, "pending": 3, "ok": 4}

func sortProtection(found []protected) {
	rank := func(p protected) int {
		if n, known := urgency[p.State]; known {
			return n
		}
		return 3
	}
	slices.SortStableFunc(found, func(a, b protected) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.VMGroup, b.VMGroup), cmp.Compare(a.Volume, b.Volume))
	})
}

func seconds(n int64) string {
	if n <= 0 {
		return "-"
	}
	return span(time.Duration(n) * time.Second)
}
