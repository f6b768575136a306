package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupAccessCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "access",
		Short: "Add, change, remove and list the access of a vmgroup to datastores",
		Long: `An access row says whether the VMs of a vmgroup may create and delete volumes on
one datastore, how large one volume and how large all of them together may be.
The special datastores are _VM_DS, the one on which the VM itself lives, and
_ALL_DS, every one that has no row of its own.`,
	},
		t.accessAdd(), t.accessSet(), t.accessRemove(), t.accessList())
}

const sizeForm = "`size`, such as 500MB, 1GB or 2TB"

// accessFlags are the flags that several access commands share.
type accessFlags struct {
	groupFlag
	datastore, maxSize, totalSize string
}

func (a *accessFlags) registerRow(t *tool, cmd *cobra.Command) {
	a.register(t, cmd, true)
	cmd.Flags().StringVar(&a.datastore, "datastore", "", "`datastore` of the row")
	t.completeFlag(cmd, "datastore", accessDatastores)
}

func (a *accessFlags) registerLimits(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.maxSize, "volume-maxsize", "", "largest volume: "+sizeForm+"; unset removes the limit")
	f.StringVar(&a.totalSize, "volume-totalsize", "", "all volumes together: "+sizeForm+"; unset removes the limit")
}

// body is the request with the limits that were given.
func (a *accessFlags) body(cmd *cobra.Command) (wire.SetAccess, error) {
	b := wire.SetAccess{Datastore: a.datastore}
	var problems []string
	for _, l := range []struct {
		flag, value string
		size        **volspec.Size
	}{
		{"volume-maxsize", a.maxSize, &b.MaxSize},
		{"volume-totalsize", a.totalSize, &b.TotalSize},
	} {
		if !cmd.Flags().Changed(l.flag) {
			continue
		}
		size, err := limit(l.value)
		if err != nil {
			problems = append(problems, "--"+l.flag+": "+errkind.Text(err)+"; unset removes the limit")
			continue
		}
		*l.size = &size
	}
	if len(problems) > 0 {
		return b, usagef(cmd, "%s", strings.Join(problems, "\n"))
	}
	return b, nil
}

// limit reads a size or the word unset, which is zero.
func limit(v string) (volspec.Size, error) {
	if strings.EqualFold(v, "unset") {
		return 0, nil
	}
	return volspec.ParseSize(v)
}

func (t *tool) accessAdd() *cobra.Command {
	var a accessFlags
	var allow, isDefault bool
	cmd := &cobra.Command{
		Use:     "add",
		Short:   "Give a vmgroup access to a datastore",
		Example: "  mooring vmgroup access add --name=Dev --datastore=fast --allow-create --default-datastore --volume-maxsize=1GB --volume-totalsize=20GB",
		RunE: t.onRow(&a, func(cmd *cobra.Command, admin Admin, group string) error {
			body, err := a.body(cmd)
			if err != nil {
				return err
			}
			body.AllowCreate, body.DefaultDatastore = &allow, isDefault
			if err := admin.AddAccess(cmd.Context(), group, body); err != nil {
				return err
			}
			return t.success("vmgroup access add succeeded")
		}),
	}
	a.registerRow(t, cmd)
	a.registerLimits(cmd)
	cmd.Flags().BoolVar(&allow, "allow-create", false, "VMs may create and delete volumes there")
	cmd.Flags().BoolVar(&isDefault, "default-datastore", false, "make it the vmgroup's default datastore")
	return cmd
}

func (t *tool) accessSet() *cobra.Command {
	var a accessFlags
	var allow string
	cmd := &cobra.Command{
		Use:     "set",
		Short:   "Change a vmgroup's access to a datastore; what is not given stays",
		Example: "  mooring vmgroup access set --name=Dev --datastore=fast --allow-create=False --volume-maxsize=unset",
		RunE: t.onRow(&a, func(cmd *cobra.Command, admin Admin, group string) error {
			body, err := a.body(cmd)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("allow-create") {
				yes := strings.EqualFold(allow, "true")
				if !yes && !strings.EqualFold(allow, "false") {
					return usagef(cmd, "Invalid value %s for allow-create option: write True or False", allow)
				}
				body.AllowCreate = &yes
			}
			if body == (wire.SetAccess{Datastore: a.datastore}) {
				return usagef(cmd, "nothing to change: give --allow-create, --volume-maxsize or --volume-totalsize")
			}
			if err := admin.SetAccess(cmd.Context(), group, a.datastore, body); err != nil {
				return err
			}
			return t.success("vmgroup access set succeeded")
		}),
	}
	a.registerRow(t, cmd)
	a.registerLimits(cmd)
	cmd.Flags().StringVar(&allow, "allow-create", "", "`True|False`: whether VMs may create and delete volumes there")
	_ = cmd.RegisterFlagCompletionFunc("allow-create", cobra.FixedCompletions([]string{"True", "False"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (t *tool) accessRemove() *cobra.Command {
	var a accessFlags
	cmd := &cobra.Command{
		Use:   "rm",
		Short: "Take a vmgroup's access to a datastore away",
		RunE: t.onRow(&a, func(cmd *cobra.Command, admin Admin, group string) error {
			if err := admin.RemoveAccess(cmd.Context(), group, a.datastore); err != nil {
				return err
			}
			return t.success("vmgroup access rm succeeded")
		}),
	}
	a.registerRow(t, cmd)
	return cmd
}

var accessColumns = []column[wire.Access]{
	{header: "Datastore", value: func(a wire.Access) string { return a.Datastore }},
	{header: "Allow_create", value: func(a wire.Access) string {
		if a.AllowCreate {
			return "True"
		}
		return "False"
	}},
	{header: "Max_volume_size", value: func(a wire.Access) string { return a.MaxSize.Table() }},
	{header: "Total_size", value: func(a wire.Access) string { return a.TotalSize.Table() }},
	{header: "Used", wide: true, value: func(a wire.Access) string {
		if a.UsedBytes == 0 {
			return "0.00B"
		}
		return volspec.Size(a.UsedBytes).Table()
	}},
}

func (t *tool) accessList() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List a vmgroup's access to datastores",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			rows, err := admin.AccessRows(cmd.Context(), name)
			if err != nil {
				return err
			}
			return list(t, rows, accessColumns, func(a wire.Access) string { return a.Datastore })
		}),
	}
	group.register(t, cmd, true)
	return cmd
}
