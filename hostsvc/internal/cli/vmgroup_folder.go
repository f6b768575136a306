package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupFolderCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "folder",
		Short: "Grant folders of VMs to a vmgroup, take them away and list them",
		Long: `A vmgroup may protect the VMs in its folders and below, in addition to its own
VMs. A VM that is in any vmgroup is left to that one. A folder gives no right to
volumes: those are for the VMs of the vmgroup.

A folder is a path in the inventory of vCenter, such as /DC0/vm/tenants/acme, or
tenants/acme below the folder of all VMs of the datacenter. What has that path
now counts: a VM or folder that is moved or renamed is out of it at once.`,
	},
		t.vmgroupFolderChange("add", "Grant a folder of VMs to a vmgroup", Admin.AddFolder, nil),
		t.vmgroupFolderChange("rm", "Take a folder of VMs away from a vmgroup", Admin.RemoveFolder, grantedFolders),
		t.vmgroupFolderList())
}

func (t *tool) vmgroupFolderChange(verb, short string, change func(Admin, context.Context, string, string) error, offers names) *cobra.Command {
	var group groupFlag
	var folder string
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: "  mooring vmgroup folder " + verb + " --name=Dev --folder=tenants/dev",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if folder == "" {
				return usagef(cmd, "'%s' needs the folder: add --folder=tenants/dev", cmd.CommandPath())
			}
			if err := change(admin, cmd.Context(), name, folder); err != nil {
				return err
			}
			return t.success("vmgroup folder %s succeeded", verb)
		}),
	}
	group.register(t, cmd, true)
	cmd.Flags().StringVar(&folder, "folder", "", "`path` of the folder in the inventory")
	if offers != nil {
		t.completeFlag(cmd, "folder", offers)
	}
	return cmd
}

// grantedFolders are those of all vmgroups.
func grantedFolders(ctx context.Context, a Admin) (found []string, err error) {
	groups, err := a.VMGroups(ctx)
	for _, g := range groups {
		for _, f := range g.Folders {
			found = append(found, string(f))
		}
	}
	return found, err
}

var folderColumns = []column[wire.Folder]{
	{header: "Folder", value: func(f wire.Folder) string { return string(f.Folder) }},
	{header: "State", value: func(f wire.Folder) string { return f.State }},
	{header: "VM_list", value: func(f wire.Folder) string {
		var names []string
		for _, vm := range f.VMs {
			names = append(names, vm.Name)
		}
		return strings.Join(names, ",")
	}},
}

func (t *tool) vmgroupFolderList() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List a vmgroup's folders with the VMs that it protects because of them",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			all, err := admin.GroupFolders(cmd.Context(), name)
			if err != nil {
				return err
			}
			return list(t, all, folderColumns, func(f wire.Folder) string { return string(f.Folder) })
		}),
	}
	group.register(t, cmd, true)
	return cmd
}
