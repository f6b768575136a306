package cli

import (
	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) repositoryPrepare() *cobra.Command {
	var place placeFlags
	cmd := &cobra.Command{
		Use:   "prepare NAME --type=TYPE",
		Short: "Keep a place and its credentials, to be given to a vmgroup later",
		Example: `  mooring repository prepare shelf1 --type=directory --path=/srv/backup/shelf1
  mooring repository assign shelf1 --vmgroup=Dev`,
		Args:              args(1, 1, "one name"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := place.request(cmd, args[0])
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			return t.made(admin.PrepareRepository(cmd.Context(), body))
		},
	}
	place.register(cmd)
	return cmd
}

func (t *tool) repositoryAssign() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:               "assign NAME --vmgroup=VMGROUP",
		Short:             "Give a prepared place to a vmgroup, as its repository",
		Args:              args(1, 1, "one prepared repository"),
		ValidArgsFunction: first(t.complete(preparedNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if group == "" {
				return usagef(cmd, "'%s' needs a vmgroup: add --vmgroup", cmd.CommandPath())
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			return t.made(admin.AssignRepository(cmd.Context(), args[0], wire.Assign{VMGroup: group}))
		},
	}
	cmd.Flags().StringVar(&group, "vmgroup", "", "the `vmgroup`")
	t.completeFlag(cmd, "vmgroup", groupNames)
	return cmd
}

var usageColumns = []column[wire.BackupUsage]{
	{header: "VMGroup", value: func(u wire.BackupUsage) string { return u.VMGroup }},
	{header: "Stored", value: func(u wire.BackupUsage) string { return amount(u.Stored) }},
	{header: "Reserved", value: func(u wire.BackupUsage) string { return amount(u.Reserved) }},
	{header: "Max_stored", value: maxStored},
}

// maxStored is a limit: one of nothing is not the same as none.
func maxStored(u wire.BackupUsage) string {
	if !u.Bounded {
		return volspec.Size(0).Table()
	}
	return amount(u.MaxStored)
}

func (t *tool) repositoryUsage() *cobra.Command {
	var group groupArg
	cmd := &cobra.Command{
		Use:   "usage",
		Short: "Show what vmgroups store in their repositories, and their limits",
		Long: `Shows what vmgroups store in their repositories: Stored as last measured, Reserved
for backups that are running.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var found []wire.BackupUsage
			if err := inGroups(cmd.Context(), admin, name, func(g string) error {
				u, err := admin.BackupUsage(cmd.Context(), g)
				found = append(found, u)
				return err
			}); err != nil {
				return err
			}
			return list(t, found, usageColumns, func(u wire.BackupUsage) string { return u.VMGroup })
		},
	}
	group.register(t, cmd, "usage")
	return cmd
}

func (t *tool) repositoryLimit() *cobra.Command {
	var most string
	cmd := &cobra.Command{
		Use:   "limit VMGROUP --max-stored=SIZE",
		Short: "Bound what a vmgroup stores in all its repositories",
		Long: `Bounds what a vmgroup stores in all its repositories together. A backup that would
exceed it fails; a limit below what is stored removes nothing.`,
		Example:           `  mooring repository limit Dev --max-stored=50gb`,
		Args:              args(1, 1, "one vmgroup"),
		ValidArgsFunction: first(t.complete(groupNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if most == "" {
				return usagef(cmd, "'%s' needs the limit: add --max-stored", cmd.CommandPath())
			}
			size, err := limit(most)
			if err != nil {
				return usagef(cmd, "--max-stored: %s; unset removes the limit", errkind.Text(err))
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			u, err := admin.SetBackupLimit(cmd.Context(), args[0], wire.SetBackupLimit{MaxStored: size})
			if err != nil {
				return err
			}
			return list(t, []wire.BackupUsage{u}, usageColumns, func(u wire.BackupUsage) string { return u.VMGroup })
		},
	}
	cmd.Flags().StringVar(&most, "max-stored", "", sizeForm+"; unset removes the limit")
	return cmd
}
