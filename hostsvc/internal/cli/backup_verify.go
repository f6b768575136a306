package cli

import (
	"strconv"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) backupVerify() *cobra.Command {
	which := aPoint()
	var body wire.RunVerify
	var volume string
	var all bool
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "verify [VMGROUP/]POINT...",
		Short: "Read recovery points back and check them",
		Long: `Checks recovery points: quick looks whether every block is there, sampled also reads
a share of them back, full reads all. A damaged block is taken out of use, and the
next backup that has its content stores it again.`,
		Example: `  mooring backup verify Dev/db@latest
  mooring backup verify --vmgroup=Dev --volume=db --mode=sampled --share=0.1
  mooring backup verify --vmgroup=Dev --all --mode=quick`,
		ValidArgsFunction: t.complete(which.points),
		RunE: func(cmd *cobra.Command, args []string) error {
			if body.Share < 0 || body.Share > 1 || cmd.Flags().Changed("share") && body.Mode != "sampled" {
				return usagef(cmd, "--share %s is not valid: with --mode=sampled, give a number from 0 to 1", strconv.FormatFloat(body.Share, 'g', -1, 64))
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			things, err := which.chosen(cmd, admin, args, volume, all)
			if err != nil {
				return err
			}
			return t.onPoints(cmd, admin, w, things, func(o thing) (wire.Job, error) {
				return admin.VerifyPoint(cmd.Context(), o.group, o.name, body)
			})
		},
	}
	which.register(t, cmd)
	f := cmd.Flags()
	f.StringVar(&volume, "volume", "", "all recovery points of `volume`, written as [VMGROUP/]VOLUME")
	f.BoolVar(&all, "all", false, "all recovery points of --vmgroup")
	f.StringVar(&body.Mode, "mode", "full", "how much is read: quick, sampled or full")
	f.Float64Var(&body.Share, "share", 0, "`share` of the blocks that --mode=sampled reads, such as 0.1")
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions([]string{"quick", "sampled", "full"}, cobra.ShellCompDirectiveNoFileComp))
	w.register(cmd)
	return cmd
}

// chosen are the points that are named, or all of a volume, or all.
func (f *thingFlags) chosen(cmd *cobra.Command, admin Admin, args []string, volume string, all bool) ([]thing, error) {
	ways := 0
	for _, given := range []bool{len(args) > 0, volume != "", all} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, usagef(cmd, "'%s' needs recovery points, --volume or --all, and only one of these", cmd.CommandPath())
	}
	if len(args) > 0 {
		return f.some(cmd, args)
	}
	group := f.group
	if volume != "" {
		v := volumeFlags{group: f.group}
		o, err := v.parse(cmd, volume)
		if err != nil {
			return nil, err
		}
		group, volume = o.group, o.volume
	}
	if group == "" {
		return nil, usagef(cmd, "--all needs the vmgroup: add --vmgroup")
	}
	points, err := allPoints(cmd.Context(), admin, group, hostclient.PointsQuery{Volume: volume})
	if err != nil {
		return nil, err
	}
	if len(points) == 0 {
		return nil, errkind.New(errkind.NotFound, "vmgroup %s has no such recovery points: 'mooring backup ls %s' shows what there is", group, group)
	}
	var found []thing
	for _, p := range points {
		found = append(found, thing{group, string(p.ID)})
	}
	return found, nil
}

// onPoints begins a job for every point and waits for all.
func (t *tool) onPoints(cmd *cobra.Command, admin Admin, w waitFlags, things []thing, begin func(thing) (wire.Job, error)) error {
	var jobs []wire.Job
	failed := each(things, func(o thing) error {
		j, err := begin(o)
		if err == nil {
			jobs = append(jobs, j)
		}
		return err
	})
	if len(jobs) == 0 {
		return failed
	}
	return worse(failed, t.begun(cmd, admin, w, jobs, nil))
}

func (t *tool) backupDrill() *cobra.Command {
	which := aPoint()
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "drill [VMGROUP/]POINT...",
		Short: "Prove recovery points: restore to scratch, check, mount, compare, clean up",
		Long: `Restores recovery points to scratch, one disk after the other, compares every byte,
checks the filesystems with their own tools, mounts and reads them. On the disks of a
VM that is done for each partition; what is not known there, such as swap, is named
and not checked.`,
		Example: `  mooring backup drill Dev/db@latest
  mooring backup drill Dev/vm/web01@latest
  mooring backup drill --vmgroup=Dev db@latest logs@latest --no-wait`,
		Args:              args(1, 1<<20, "at least one recovery point"),
		ValidArgsFunction: t.complete(which.points),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			return t.onPoints(cmd, admin, w, things, func(o thing) (wire.Job, error) {
				return admin.DrillPoint(cmd.Context(), o.group, o.name)
			})
		}),
	}
	which.register(t, cmd)
	w.register(cmd)
	return cmd
}

func (t *tool) backupCopy() *cobra.Command {
	which := aPoint()
	var body wire.RunCopy
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "copy [VMGROUP/]POINT... --to=REPOSITORY",
		Short: "Copy recovery points to another repository of the vmgroup",
		Example: `  mooring backup copy Dev/db@latest --to=offsite
  mooring backup copy Dev/vm/web01@latest --to=offsite`,
		Args:              args(1, 1<<20, "at least one recovery point"),
		ValidArgsFunction: t.complete(which.points),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			if body.Repository == "" {
				return usagef(cmd, "'%s' needs the other repository: add --to", cmd.CommandPath())
			}
			return t.onPoints(cmd, admin, w, things, func(o thing) (wire.Job, error) {
				return admin.CopyPoint(cmd.Context(), o.group, o.name, body)
			})
		}),
	}
	which.register(t, cmd)
	cmd.Flags().StringVar(&body.Repository, "to", "", "the `repository` to copy to")
	t.completeFlag(cmd, "to", repositoryNames(&which.group))
	w.register(cmd)
	return cmd
}
