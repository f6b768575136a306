package cli

import (
	"context"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupVMCommand() *cobra.Command {
	return t.group(&cobra.Command{Use: "vm", Short: "Add, remove, replace and list the VMs of a vmgroup"},
		t.vmgroupVMChange("add", "Add VMs to a vmgroup", Admin.AddVMs),
		t.vmgroupVMChange("rm", "Remove VMs from a vmgroup", Admin.RemoveVMs),
		t.vmgroupVMChange("replace", "Replace the VMs of a vmgroup", Admin.ReplaceVMs),
		t.vmgroupVMList())
}

func (t *tool) vmgroupVMChange(verb, short string, change func(Admin, context.Context, string, []string) error) *cobra.Command {
	var group groupFlag
	var vms string
	cmd := &cobra.Command{
		Use:     verb,
		Short:   short,
		Example: "  mooring vmgroup vm " + verb + " --name=Dev --vm-list=vm1,vm2",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if !cmd.Flags().Changed("vm-list") {
				return usagef(cmd, "'%s' needs the VMs: add --vm-list=vm1,vm2", cmd.CommandPath())
			}
			if err := change(admin, cmd.Context(), name, vmList(vms)); err != nil {
				return err
			}
			return t.success("vmgroup vm %s succeeded", verb)
		}),
	}
	group.register(t, cmd, true)
	cmd.Flags().StringVar(&vms, "vm-list", "", vmListUsage)
	t.completeFlag(cmd, "vm-list", vmNames)
	return cmd
}

var memberColumns = []column[wire.VM]{
	{header: "Uuid", value: func(v wire.VM) string { return string(v.ID) }},
	{header: "Name", value: func(v wire.VM) string { return v.Name }},
	{header: "Power", wide: true, value: func(v wire.VM) string { return v.Power }},
	{header: "Datastore", wide: true, value: func(v wire.VM) string { return v.Datastore }},
}

func (t *tool) vmgroupVMList() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the VMs of a vmgroup",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if name == volspec.DefaultGroup {
				return errkind.New(errkind.Invalid, "%s tenant contains all VMs which were not added to other tenants", volspec.DefaultGroup)
			}
			vms, err := admin.GroupVMs(cmd.Context(), name)
			if err != nil {
				return err
			}
			return list(t, vms, memberColumns, func(v wire.VM) string { return v.Name })
		}),
	}
	group.register(t, cmd, true)
	return cmd
}
