package cli

import (
	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) trashCommand() *cobra.Command {
	var q hostclient.VolumesQuery
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List removed volumes that can still be had back",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			q.State = string(volspec.Trashed)
			volumes, err := allVolumes(cmd.Context(), admin, q)
			if err != nil {
				return err
			}
			return list(t, volumes, trashColumns, func(v wire.Volume) string { return v.VMGroup + "/" + string(v.ID) })
		}),
	}
	ls.Flags().StringVar(&q.VMGroup, "vmgroup", "", "only those of `vmgroup`; * and ? match any characters")
	t.completeFlag(ls, "vmgroup", groupNames)
	return t.group(&cobra.Command{Use: "trash", Short: "Show removed volumes"}, ls)
}

func (t *tool) volumeUndelete() *cobra.Command {
	var which volumeFlags
	var newName string
	cmd := &cobra.Command{
		Use:   "undelete [VMGROUP/]VOLUME",
		Short: "Take a volume out of the trash",
		Long: `Takes a volume out of the trash. Where several removed volumes had the same name,
give the Uuid that 'mooring volume trash ls' shows instead. The name is printed.`,
		ValidArgsFunction: first(t.complete(which.trashed)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			v, err := admin.UndeleteVolume(cmd.Context(), o.group, o.volume, wire.Undelete{NewName: newName})
			if err != nil {
				return err
			}
			return t.object(v, qualified(v), clean(qualified(v), false)+"\n")
		}),
	}
	which.register(t, cmd, which.trashed)
	cmd.Flags().StringVar(&newName, "new-name", "", "`name` for it, when its old one is taken")
	return cmd
}
