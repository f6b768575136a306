package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "vmgroup",
		Short: "Create, change and remove vmgroups, their VMs, folders and access to datastores",
		Long: `A vmgroup is a tenant: a set of VMs that share a namespace of volumes, a default
datastore, and a row for each datastore that says what they may create there. It
may be granted folders, whose VMs it protects too.`,
	},
		t.vmgroupCreate(), t.vmgroupUpdate(), t.vmgroupRemove(), t.vmgroupList(), t.vmgroupStatus(), t.vmgroupShow(), t.vmgroupSecurity(), t.vmgroupExport(),
		t.vmgroupEnable(), t.vmgroupDisable(), t.vmgroupDelete(), t.vmgroupRestore(), t.vmgroupSave(), t.vmgroupLoad(),
		t.vmgroupVMCommand(), t.vmgroupAccessCommand(), t.vmgroupFolderCommand(), t.vmgroupAllowanceCommand())
}

// groupFlag is the vmgroup that a command is about: --name as in the old
// script, or the only argument.
type groupFlag struct {
	name string
}

func (g *groupFlag) register(t *tool, cmd *cobra.Command, complete bool) {
	cmd.Use += " [NAME]"
	cmd.Args = args(0, 1, "one vmgroup")
	cmd.Flags().StringVar(&g.name, "name", "", "`name` of the vmgroup (or give it as the argument)")
	_ = cmd.Flags().SetAnnotation("name", ownGroup, []string{"true"}) // the flag exists
	if complete {
		cmd.ValidArgsFunction = first(t.complete(groupNames))
		t.completeFlag(cmd, "name", groupNames)
	} else {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
}

func (g *groupFlag) get(cmd *cobra.Command, args []string) (string, error) {
	name := g.name
	if len(args) == 1 {
		if name != "" && name != args[0] && cmd.Flags().Changed("name") {
			return "", usagef(cmd, "two vmgroups are named, %q and %q: give one", name, args[0])
		}
		name = args[0]
	}
	if name == "" {
		return "", usagef(cmd, "'%s' needs a vmgroup: add --name", cmd.CommandPath())
	}
	return name, nil
}

// vmList splits a comma list of VM names. Blanks around a name and empty
// entries do not count.
func vmList(s string) []string {
	names := []string{}
	for name := range strings.SplitSeq(s, ",") {
		if name = strings.TrimSpace(name); name != "" {
			names = append(names, name)
		}
	}
	return names
}

const vmListUsage = "comma-separated `names` of VMs"

func (t *tool) vmgroupCreate() *cobra.Command {
	var group groupFlag
	var vms string
	var body wire.CreateVMGroup
	var tenant tenantFlags
	var first firstFlags
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Create a vmgroup, with all that belongs to a tenant",
		Long: `Creates a vmgroup with all that the flags say, or nothing. With --admin its first
user is made too, a tenant-admin; a password that is generated is printed once,
and is all that is printed with -o name.`,
		Example: `  mooring vmgroup create --name=Dev
  mooring vmgroup create --name=Dev --default-datastore=fast --vm-list=vm1,vm2
  mooring vmgroup create --name=Acme --email=it@acme.example --admin=jo --sockets=2 --storage=2TB`,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			body.Name, body.VMs = name, vmList(vms)
			text := fmt.Sprintf("vmgroup '%s' is created.", name)
			if name != volspec.DefaultGroup {
				text += "  Do not forget to run 'vmgroup vm add' and 'vmgroup access add' commands to enable access control."
			}
			if !tenant.given(cmd) && !first.given(cmd) {
				g, err := admin.CreateVMGroup(cmd.Context(), body)
				if err != nil {
					return err
				}
				return t.object(g, g.Name, text+"\n")
			}
			r := wire.CreateTenant{CreateVMGroup: body, Profile: tenant.over(cmd, wire.Profile{Labels: []string{}}), GuestAccess: tenant.guestAccess, GuestFiles: tenant.guestFiles}
			if err := first.fill(t, cmd, &r); err != nil {
				return err
			}
			made, err := admin.CreateTenant(cmd.Context(), r)
			if err != nil {
				return err
			}
			return t.tenantMade(made, text+"\n")
		}),
	}
	group.register(t, cmd, false)
	f := cmd.Flags()
	f.StringVar(&body.Description, "description", "", "`text` that describes it")
	f.StringVar(&body.DefaultDatastore, "default-datastore", "", "`datastore` of volumes whose name says none; "+volspec.VMDatastore+" is the VM's own")
	f.StringVar(&vms, "vm-list", "", vmListUsage)
	tenant.register(cmd)
	first.register(t, cmd)
	t.completeFlag(cmd, "default-datastore", datastoreNames)
	t.completeFlag(cmd, "vm-list", vmNames)
	return cmd
}

func (t *tool) vmgroupUpdate() *cobra.Command {
	var group groupFlag
	var tenant tenantFlags
	var newName, description, datastore string
	cmd := &cobra.Command{
		Use:   "update",
		Short: "Change a vmgroup's name, description, default datastore or contact data",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			body := wire.UpdateVMGroup{
				NewName:          given(cmd, "new-name", newName),
				Description:      given(cmd, "description", description),
				DefaultDatastore: given(cmd, "default-datastore", datastore),
			}
			if body == (wire.UpdateVMGroup{}) && !tenant.given(cmd) {
				return usagef(cmd, "nothing to change: give --new-name, --description, --default-datastore or contact data")
			}
			if tenant.given(cmd) {
				if err := tenant.update(cmd, admin, name); err != nil {
					return err
				}
			}
			if body == (wire.UpdateVMGroup{}) {
				return t.success("vmgroup modify succeeded")
			}
			g, err := admin.UpdateVMGroup(cmd.Context(), name, body)
			if err != nil {
				return err
			}
			return t.object(g, g.Name, "vmgroup modify succeeded\n")
		}),
	}
	group.register(t, cmd, true)
	f := cmd.Flags()
	f.StringVar(&newName, "new-name", "", "new `name`")
	f.StringVar(&description, "description", "", "new `text`; may be empty")
	f.StringVar(&datastore, "default-datastore", "", "new default `datastore`")
	tenant.register(cmd)
	t.completeFlag(cmd, "default-datastore", datastoreNames)
	return cmd
}

// given is a pointer to value when the flag was on the command line.
func given[T any](cmd *cobra.Command, flag string, value T) *T {
	if !cmd.Flags().Changed(flag) {
		return nil
	}
	return &value
}

// override puts value in its place when the flag was on the command line.
func override[T any](cmd *cobra.Command, flag string, place *T, value T) {
	if cmd.Flags().Changed(flag) {
		*place = value
	}
}

// anyGiven tells whether one of the flags was on the command line.
func anyGiven(cmd *cobra.Command, flags ...string) bool {
	return slices.ContainsFunc(flags, cmd.Flags().Changed)
}

func (t *tool) vmgroupRemove() *cobra.Command {
	var group groupFlag
	var force, volumes, dryRun bool
	cmd := &cobra.Command{
		Use:   "rm",
		Short: "Remove a vmgroup",
		Long: `Removes a vmgroup. One that has VMs needs --force, one that has volumes needs
--remove-volumes, which deletes their data for good, trash included. Either
everything is removed or nothing; an attached volume stands in the way.

On a terminal --remove-volumes asks first; --yes answers. Without a terminal it
does not ask, as the old command did not.`,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if dryRun {
				return t.previewGroupRemoval(cmd.Context(), admin, name, volumes)
			}
			prefix := ""
			if volumes {
				prefix = "All Volumes will be removed. "
				if err := t.ask(cmd.Context(), fmt.Sprintf("The data of all volumes of vmgroup %s will be deleted for good.", name)); err != nil {
					return err
				}
			}
			if err := admin.RemoveVMGroup(cmd.Context(), name, force, volumes); err != nil {
				return err
			}
			return t.success("%svmgroup rm succeeded", prefix)
		}),
	}
	group.register(t, cmd, true)
	f := cmd.Flags()
	f.BoolVar(&force, "force", false, "remove it although it has VMs; they fall to "+volspec.DefaultGroup)
	f.BoolVar(&volumes, "remove-volumes", false, "BE CAREFUL: delete its volumes and their data")
	f.BoolVar(&dryRun, "dry-run", false, "only list the volumes that would be deleted")
	return cmd
}

// previewGroupRemoval lists the volumes that stand or fall with a vmgroup.
func (t *tool) previewGroupRemoval(ctx context.Context, admin Admin, name string, volumes bool) error {
	g, err := admin.VMGroup(ctx, name)
	if err != nil {
		return err
	}
	all, err := allVolumes(ctx, admin, hostclient.VolumesQuery{VMGroup: name, State: "all"})
	if err != nil {
		return err
	}
	if err := list(t, all, removalColumns, qualified); err != nil {
		return err
	}
	verb := "would be deleted with vmgroup"
	if !volumes {
		verb = "need --remove-volumes to be deleted with vmgroup"
	}
	t.talk("Dry run, nothing was changed: %s %s %s; it has %s.", count(len(all), "volume"), verb, g.Name, count(len(g.VMs), "VM"))
	return nil
}

// count is a number with its noun.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

var groupColumns = []column[wire.VMGroup]{
	{header: "Uuid", value: func(g wire.VMGroup) string { return string(g.ID) }},
	{header: "Name", value: func(g wire.VMGroup) string { return g.Name }},
	{header: "Description", value: func(g wire.VMGroup) string { return g.Description }},
	{header: "Default_datastore", value: func(g wire.VMGroup) string { return g.DefaultDatastore }},
	{header: "VM_list", value: func(g wire.VMGroup) string {
		var names []string
		for _, vm := range g.VMs {
			names = append(names, vm.Name)
		}
		return strings.Join(names, ",")
	}},
	{header: "State", wide: true, value: func(g wire.VMGroup) string { return g.State }},
	{header: "Health", wide: true, value: func(g wire.VMGroup) string { return g.Health }},
	{header: "Access_rows", wide: true, value: func(g wire.VMGroup) string { return strconv.Itoa(len(g.Access)) }},
	{header: "Folders", wide: true, value: func(g wire.VMGroup) string { return strconv.Itoa(len(g.Folders)) }},
	{header: "Source", wide: true, value: func(g wire.VMGroup) string { return g.Source }},
}

func (t *tool) vmgroupList() *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List vmgroups",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			groups, err := admin.VMGroups(cmd.Context())
			if err != nil {
				return err
			}
			return list(t, groups, groupColumns, func(g wire.VMGroup) string { return g.Name })
		}),
	}
}

func (t *tool) vmgroupExport() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print a vmgroup as TOML for the daemon's configuration",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			text, err := admin.ExportVMGroup(cmd.Context(), name)
			if err != nil {
				return err
			}
			return t.object(wire.Message{Message: text}, name, text)
		}),
	}
	group.register(t, cmd, true)
	return cmd
}
