package cli

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) volumeCreate() *cobra.Command {
	var which volumeFlags
	var given optionFlags
	var size string
	cmd := &cobra.Command{
		Use:   "create [VMGROUP/]VOLUME[@DATASTORE]",
		Short: "Create a volume",
		Long:  `Creates a volume, with the options of 'docker volume create -o'. Its name is printed.`,
		Example: `  mooring volume create Dev/db --size=10gb
  mooring volume create Dev/logs@slow --options="size=1gb, fstype=xfs"`,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			options, err := given.get(cmd)
			if err != nil {
				return err
			}
			if size != "" {
				if _, twice := options["size"]; twice {
					return usagef(cmd, "the size is given twice: as --size and as an option")
				}
				options["size"] = size
			}
			return t.create(cmd.Context(), o, options)
		}),
	}
	which.register(t, cmd, which.names)
	cmd.Flags().StringVar(&size, "size", "", "`size` of the volume, such as 500mb or 10gb")
	given.register(cmd)
	return cmd
}

// create makes a volume and prints its name.
func (t *tool) create(ctx context.Context, o object, options map[string]string) error {
	admin, err := t.admin()
	if err != nil {
		return err
	}
	v, err := admin.CreateVolume(ctx, o.group, wire.CreateVolume{Name: o.volume, Options: options})
	if err != nil {
		return err
	}
	return t.object(v, qualified(v), clean(qualified(v), false)+"\n")
}

func (t *tool) volumeClone() *cobra.Command {
	var which volumeFlags
	var given optionFlags
	var snapshot string
	cmd := &cobra.Command{
		Use:   "clone [VMGROUP/]SOURCE VOLUME[@DATASTORE]",
		Short: "Copy a volume, or one of its snapshots, to a new volume of the same vmgroup",
		Example: `  mooring volume clone Dev/db db-test
  mooring volume clone Dev/db db-monday --from-snapshot=monday`,
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 1, "the name of the new volume", func(cmd *cobra.Command, admin Admin, source object, rest []string) error {
			inGroup := volumeFlags{group: source.group}
			target, err := inGroup.parse(cmd, rest[0])
			if err != nil || target.group != source.group {
				return usagef(cmd, "a clone stays in the vmgroup of its source: write %s as VOLUME or %s/VOLUME", clean(rest[0], false), clean(source.group, false))
			}
			options, err := given.get(cmd)
			if err != nil {
				return err
			}
			extra := map[string]string{"clone-from": source.volume}
			if snapshot != "" {
				extra["from-snapshot"] = snapshot
			}
			for k := range extra {
				if _, twice := options[k]; twice {
					return usagef(cmd, "option %q follows from the command: leave it out", k)
				}
			}
			maps.Copy(options, extra)
			return t.create(cmd.Context(), target, options)
		}),
	}
	which.register(t, cmd, which.names)
	cmd.Flags().StringVar(&snapshot, "from-snapshot", "", "copy this `snapshot` of the source instead of its present content")
	given.register(cmd)
	return cmd
}

func (t *tool) volumeProtect(use, short string, protect bool) *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:               use + " [VMGROUP/]VOLUME...",
		Short:             short,
		Args:              args(1, 1<<20, "at least one volume"),
		ValidArgsFunction: t.complete(which.names),
		RunE: t.onVolumes(&which, func(cmd *cobra.Command, admin Admin, volumes []object) error {
			var changed []wire.Volume
			err := each(volumes, func(o object) error {
				v, err := admin.SetVolume(cmd.Context(), o.group, o.volume, wire.SetVolume{Protect: &protect})
				if err == nil {
					changed = append(changed, v)
				}
				return err
			})
			return t.several(changed, err, func(v wire.Volume) string {
				if protect {
					return fmt.Sprintf("Volume %s is protected: it cannot be removed until '%s' is run.", qualified(v), "mooring volume unprotect "+qualified(v))
				}
				return fmt.Sprintf("Volume %s is not protected any more.", qualified(v))
			})
		}),
	}
	which.register(t, cmd, nil)
	return cmd
}

// several prints the volumes that a verb has changed, talking about each, and
// hands failed on.
func (t *tool) several(changed []wire.Volume, failed error, say func(wire.Volume) string) error {
	var err error
	switch t.format {
	case formatTable, formatWide:
		for _, v := range changed {
			t.talk("%s", say(v))
		}
	default:
		err = list(t, changed, volumeColumns, qualified)
	}
	if failed != nil {
		return failed
	}
	return err
}

func (t *tool) volumeRemove() *cobra.Command {
	var which volumeFlags
	var purge, dryRun bool
	cmd := &cobra.Command{
		Use:   "rm [VMGROUP/]VOLUME...",
		Short: "Remove volumes",
		Long: `Moves volumes to the trash, where they still count in the quota and can be had
back with 'mooring volume undelete' until they are deleted for good. With --purge
they are deleted at once; that asks first, and needs --yes where nobody can be
asked. Attached and protected volumes are refused.`,
		Args:              args(1, 1<<20, "at least one volume"),
		ValidArgsFunction: t.complete(which.names),
		RunE: t.onVolumes(&which, func(cmd *cobra.Command, admin Admin, volumes []object) error {
			if dryRun {
				return t.previewRemoval(cmd.Context(), admin, volumes, purge)
			}
			if purge {
				if err := t.confirm(cmd, fmt.Sprintf("The data of %s will be deleted for good: %s.", count(len(volumes), "volume"), join(volumes))); err != nil {
					return err
				}
			}
			return each(volumes, func(o object) error {
				if err := admin.RemoveVolume(cmd.Context(), o.group, o.volume, purge); err != nil {
					return err
				}
				if purge {
					return t.done(o.String(), "Volume %s is deleted.", o)
				}
				return t.done(o.String(), "Volume %s is removed; 'mooring volume trash ls' shows how long it can be had back.", o)
			})
		}),
	}
	which.register(t, cmd, nil)
	cmd.Flags().BoolVar(&purge, "purge", false, "delete the data at once instead of moving it to the trash")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only list what would be removed")
	return cmd
}

func join(volumes []object) string {
	var names []string
	for _, o := range volumes {
		names = append(names, o.String())
	}
	return strings.Join(names, ", ")
}

func (t *tool) previewRemoval(ctx context.Context, admin Admin, volumes []object, purge bool) error {
	var found []wire.Volume
	failed := each(volumes, func(o object) error {
		v, err := admin.Volume(ctx, o.group, o.volume)
		if err == nil {
			found = append(found, v)
		}
		return err
	})
	if err := list(t, found, removalColumns, qualified); err != nil {
		return err
	}
	verb := "moved to the trash"
	if purge {
		verb = "deleted for good"
	}
	t.talk("Dry run, nothing was changed: %s would be %s.", count(len(found), "volume"), verb)
	return failed
}

func (t *tool) volumeResize() *cobra.Command {
	var which volumeFlags
	cmd := &cobra.Command{
		Use:     "resize [VMGROUP/]VOLUME SIZE",
		Short:   "Grow a volume",
		Long:    `Grows a volume to SIZE. A volume never shrinks.`,
		Example: "  mooring volume resize Dev/db 20gb",
		RunE: t.onVolume(&which, 1, "the new size, such as 20gb", func(cmd *cobra.Command, admin Admin, o object, rest []string) error {
			size, err := volspec.ParseSize(rest[0])
			if err != nil {
				return usagef(cmd, "%s", errkind.Text(err))
			}
			v, err := admin.ResizeVolume(cmd.Context(), o.group, o.volume, wire.Resize{Size: size})
			if err != nil {
				return err
			}
			return t.several([]wire.Volume{v}, nil, func(v wire.Volume) string {
				text := fmt.Sprintf("Volume %s has %s.", qualified(v), volspec.Size(v.SizeBytes))
				if v.FSNote != "" {
					text += " Its filesystem is smaller: " + v.FSNote
				}
				return text
			})
		}),
		ValidArgsFunction: first(t.complete(which.names)),
	}
	which.register(t, cmd, which.names)
	return cmd
}

func (t *tool) volumeDetach() *cobra.Command {
	var which volumeFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "detach [VMGROUP/]VOLUME",
		Short: "Take a volume's disk away from the VM that has it",
		Long: `Takes a volume's disk away from the VM that has it. A VM that still uses it is
refused, unless --force is given: then the VM is fenced, nothing it writes reaches
the disk any more, and what it had not written is lost. --force asks first, and
needs --yes where nobody can be asked.`,
		ValidArgsFunction: first(t.complete(which.names)),
		RunE: t.onVolume(&which, 0, "", func(cmd *cobra.Command, admin Admin, o object, _ []string) error {
			if force {
				if err := t.confirm(cmd, fmt.Sprintf("The disk of volume %s is taken from its VM by force; what the VM has not written yet is lost.", o)); err != nil {
					return err
				}
			}
			if err := admin.DetachVolume(cmd.Context(), o.group, o.volume, wire.DetachVolume{Force: force}); err != nil {
				return err
			}
			return t.done(o.String(), "Volume %s is detached.", o)
		}),
	}
	which.register(t, cmd, which.names)
	cmd.Flags().BoolVar(&force, "force", false, "fence a VM that does not let go")
	return cmd
}
