package cli

import (
	"context"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) snapshotCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "snapshot",
		Short: "Freeze the content of volumes",
		Long: `A snapshot is the frozen content of a volume at one moment. It counts in the
quota and goes with its volume; 'mooring volume clone --from-snapshot' makes a
volume of it.`,
	}, t.snapshotCreate(), t.snapshotList(), t.snapshotRemove())
}

var snapshotColumns = []column[wire.Snapshot]{
	{header: "Snapshot", value: func(s wire.Snapshot) string { return s.Name }},
	{header: "Volume", value: func(s wire.Snapshot) string { return s.Volume }},
	{header: "Capacity", value: func(s wire.Snapshot) string { return volspec.Size(s.Size).Short() }},
	{header: "Created Date", value: func(s wire.Snapshot) string { return date(s.Created) }},
	{header: "Uuid", wide: true, value: func(s wire.Snapshot) string { return string(s.ID) }},
}

func (t *tool) snapshotCreate() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               "create [VMGROUP/]VOLUME SNAPSHOT",
		Short:             "Make a snapshot of a volume",
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 1, "a name for the snapshot", func(cmd *cobra.Command, admin Admin, o object, rest []string) error {
			s, err := admin.CreateSnapshot(cmd.Context(), o.group, o.volume, wire.CreateSnapshot{Name: rest[0]})
			if err != nil {
				return err
			}
			return t.object(s, s.Name, clean(s.Name, false)+"\n")
		}),
	}
	which.register(t, cmd, which.names)
	return cmd
}

func (t *tool) snapshotList() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               "ls [VMGROUP/]VOLUME",
		Short:             "List the snapshots of a volume",
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			found, err := admin.Snapshots(cmd.Context(), o.group, o.volume)
			if err != nil {
				return err
			}
			return list(t, found, snapshotColumns, func(s wire.Snapshot) string { return s.Name })
		}),
	}
	which.register(t, cmd, which.names)
	return cmd
}

func (t *tool) snapshotRemove() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               "rm [VMGROUP/]VOLUME SNAPSHOT",
		Short:             "Delete a snapshot of a volume",
		ValidArgsFunction: t.completeSnapshots(&which),
		RunE: t.onVolume(&which, 1, "the name of the snapshot", func(cmd *cobra.Command, admin Admin, o object, rest []string) error {
			if err := admin.DeleteSnapshot(cmd.Context(), o.group, o.volume, rest[0]); err != nil {
				return err
			}
			return t.done(rest[0], "Snapshot %s of volume %s is deleted.", rest[0], o)
		}),
	}
	which.register(t, cmd, which.names)
	return cmd
}

// completeSnapshots offers volumes, then the snapshots of the chosen one.
func (t *tool) completeSnapshots(which *volumeFlags) completer {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) == 0 && which.volume == "" {
			return t.complete(which.names)(cmd, args, typed)
		}
		o, rest, err := which.one(cmd, args)
		if err != nil || len(rest) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return t.complete(func(ctx context.Context, a Admin) (found []string, err error) {
			snapshots, err := a.Snapshots(ctx, o.group, o.volume)
			for _, s := range snapshots {
				found = append(found, s.Name)
			}
			return found, err
		})(cmd, args, typed)
	}
}
