package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) volumeCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "volume",
		Short: "List, create, change and remove volumes",
		Long: `A volume belongs to one vmgroup and is named VOLUME or VOLUME@DATASTORE there; the
short name means the vmgroup's default datastore. On the command line a volume is
written VMGROUP/VOLUME[@DATASTORE], as -o name prints it, or with --vmgroup and
the name alone.`,
	},
		t.volumeList("ls", "List volumes", nil),
		t.volumeList("shortls", "List volumes in a few columns", []string{"volume", "capacity", "disk-format", "attached-to"}),
		t.volumeCreate(), t.volumeInspect(), t.volumeSet(),
		t.volumeProtect("protect", "Protect volumes from removal", true),
		t.volumeProtect("unprotect", "Let volumes be removed again", false),
		t.volumeRemove(), t.volumeResize(), t.volumeClone(), t.volumeDetach(), t.volumeDoctor(),
		t.volumeUndelete(), t.trashCommand(), t.snapshotCommand())
}

// object names a volume on the command line.
type object struct{ group, volume string }

func (o object) String() string { return o.group + "/" + o.volume }

// volumeFlags say which volumes a command is about.
type volumeFlags struct {
	group, volume string
}

// register adds --vmgroup and, for a verb on one volume, --volume of the old
// script, completed with offers.
func (v *volumeFlags) register(t *tool, cmd *cobra.Command, offers names) {
	t.vmgroupFlag(cmd, &v.group, "`vmgroup` of volumes that are given without one")
	if offers != nil {
		cmd.Flags().StringVar(&v.volume, "volume", "", "the `volume` (or give it as the first argument)")
		t.completeFlag(cmd, "volume", offers)
	}
}

// names are the live volumes as the user may write them.
func (v *volumeFlags) names(ctx context.Context, a Admin) ([]string, error) {
	return v.offer(ctx, a, "", func(s volspec.State) bool { return !gone(s) })
}

// trashed are those in the trash.
func (v *volumeFlags) trashed(ctx context.Context, a Admin) ([]string, error) {
	return v.offer(ctx, a, volspec.Trashed, func(s volspec.State) bool { return s == volspec.Trashed })
}

func (v *volumeFlags) offer(ctx context.Context, a Admin, state volspec.State, keep func(volspec.State) bool) (found []string, err error) {
	all, err := allVolumes(ctx, a, hostclient.VolumesQuery{VMGroup: v.group, State: string(state)})
	for _, vol := range all {
		switch {
		case !keep(vol.State):
		case v.group != "":
			found = append(found, vol.Name)
		default:
			found = append(found, qualified(vol))
		}
	}
	return found, err
}

// parse reads one volume; neither part of a name can contain a slash.
func (v *volumeFlags) parse(cmd *cobra.Command, s string) (object, error) {
	group, volume, ok := strings.Cut(s, "/")
	switch {
	case !ok && v.group == "":
		return object{}, usagef(cmd, "the vmgroup of volume %q is not given: write VMGROUP/%s or add --vmgroup", clean(s, false), clean(s, false))
	case !ok:
		group, volume = v.group, s
	case v.group != "" && v.group != group && cmd.Flags().Changed("vmgroup"):
		return object{}, usagef(cmd, "volume %q is not in --vmgroup %s: give one of them", clean(s, false), v.group)
	}
	if group == "" || volume == "" {
		return object{}, usagef(cmd, "%q does not name a volume: write VMGROUP/VOLUME", clean(s, false))
	}
	return object{group, volume}, nil
}

// one is the volume of a verb on one volume and the remaining arguments.
func (v *volumeFlags) one(cmd *cobra.Command, args []string) (object, []string, error) {
	name := v.volume
	if name == "" {
		if len(args) == 0 {
			return object{}, nil, usagef(cmd, "'%s' needs a volume: write VMGROUP/VOLUME", cmd.CommandPath())
		}
		name, args = args[0], args[1:]
	}
	o, err := v.parse(cmd, name)
	return o, args, err
}

// some are the volumes of a verb on several.
func (v *volumeFlags) some(cmd *cobra.Command, args []string) (found []object, err error) {
	for _, a := range args {
		o, err := v.parse(cmd, a)
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, nil
}

// allVolumes follows a listing to its last page.
func allVolumes(ctx context.Context, a Admin, q hostclient.VolumesQuery) ([]wire.Volume, error) {
	return pages(0, func(after string, n int) ([]wire.Volume, string, error) {
		q.After, q.Limit = after, n
		page, err := a.Volumes(ctx, q)
		return page.Volumes, page.Next, err
	})
}

// gone reports whether a volume is in the trash or on its way out.
func gone(s volspec.State) bool { return s == volspec.Trashed || s == volspec.Deleting }

// qualified is a volume's name for the command line.
func qualified(v wire.Volume) string { return v.VMGroup + "/" + v.Name }

// volumeList is volume ls, and volume shortls with its fixed columns.
func (t *tool) volumeList(use, short string, fixed []string) *cobra.Command {
	var q hostclient.VolumesQuery
	var chosen string
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			columns := volumeColumns
			keys := fixed
			if chosen != "" {
				keys = strings.Split(chosen, ",")
			}
			if keys != nil {
				var err error
				if columns, err = choose(cmd, columns, keys); err != nil {
					return err
				}
			}
			volumes, err := t.liveVolumes(cmd.Context(), admin, q)
			if err != nil {
				return err
			}
			return list(t, volumes, columns, qualified)
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.VMGroup, "vmgroup", "", "only those of `vmgroup`; * and ? match any characters")
	f.StringVar(&q.Datastore, "datastore", "", "only those on `datastore`")
	t.completeFlag(cmd, "vmgroup", groupNames)
	t.completeFlag(cmd, "datastore", datastoreNames)
	if fixed == nil {
		f.StringVarP(&chosen, "columns", "c", "", "`columns` to show: "+strings.Join(columnKeys(volumeColumns), ","))
		_ = cmd.RegisterFlagCompletionFunc("columns", func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			return t.complete(func(context.Context, Admin) ([]string, error) { return columnKeys(volumeColumns), nil })(cmd, args, typed)
		})
	}
	return cmd
}

// liveVolumes lists what is not in the trash. A vmgroup named without a
// pattern must exist: a misspelt name is not an empty vmgroup.
func (t *tool) liveVolumes(ctx context.Context, admin Admin, q hostclient.VolumesQuery) ([]wire.Volume, error) {
	all, err := allVolumes(ctx, admin, q)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 && q.VMGroup != "" && !strings.ContainsAny(q.VMGroup, `*?[\`) {
		if _, err := admin.VMGroup(ctx, q.VMGroup); err != nil {
			return nil, err
		}
	}
	var live []wire.Volume
	for _, v := range all {
		if !gone(v.State) {
			live = append(live, v)
		}
	}
	return live, nil
}

// columnKeys are the words for -c.
func columnKeys[T any](cols []column[T]) (keys []string) {
	for _, c := range cols {
		if c.key != "" {
			keys = append(keys, c.key)
		}
	}
	return keys
}

// choose selects columns by their keys; their order stays the table's.
func choose[T any](cmd *cobra.Command, cols []column[T], keys []string) ([]column[T], error) {
	valid := columnKeys(cols)
	var found []column[T]
	wanted := map[string]bool{}
	for _, k := range keys {
		wanted[k] = true
	}
	for _, c := range cols {
		if c.key != "" && wanted[c.key] {
			c.wide = false
			found = append(found, c)
			delete(wanted, c.key)
		}
	}
	for _, k := range keys {
		if !wanted[k] {
			continue
		}
		hint := ""
		if best := closest(k, valid); best != "" {
			hint = fmt.Sprintf(" Did you mean %q?", best)
		}
		return nil, usagef(cmd, "invalid choices: %s (choices must be a comma separated list of only the following words %s. No spaces are allowed between choices.)%s",
			clean(k, false), strings.Join(valid, ","), hint)
	}
	return found, nil
}
