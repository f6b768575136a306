package cli

import (
	"cmp"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

var vmColumns = []column[wire.VM]{
	{header: "Uuid", value: func(v wire.VM) string { return string(v.ID) }},
	{header: "Name", value: func(v wire.VM) string { return v.Name }},
	{header: "VMGroup", value: func(v wire.VM) string { return cmp.Or(v.VMGroup, notAvailable) }},
	{header: "Datastore", value: func(v wire.VM) string { return cmp.Or(v.Datastore, notAvailable) }},
	{header: "Power", value: func(v wire.VM) string { return cmp.Or(v.Power, "unknown") }},
	{header: "Attached", value: func(v wire.VM) string { return strconv.Itoa(v.Attached) }},
	{header: "Last_seen", value: func(v wire.VM) string { return moment(v.LastSeen) }},
	{header: "Certificate", wide: true, value: func(v wire.VM) string { return v.Certificate }},
	{header: "Plugin", wide: true, value: func(v wire.VM) string { return v.Plugin }},
	{header: "Channel", wide: true, value: func(v wire.VM) string { return v.Channel }},
}

func (t *tool) vmCommand() *cobra.Command {
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List VMs",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			vms, err := admin.VMs(cmd.Context())
			if err != nil {
				return err
			}
			return list(t, vms, vmColumns, func(v wire.VM) string { return v.Name })
		}),
	}
	return t.group(&cobra.Command{Use: "vm", Short: "Show the VMs that the host service knows, and let them enrol"}, ls, t.vmEnroll(), t.vmRevoke())
}

func (t *tool) vmEnroll() *cobra.Command {
	var place bool
	cmd := &cobra.Command{
		Use:   "enroll VM",
		Short: "Make a one-time code with which a VM enrols",
		Long: `Makes a one-time code with which a VM, given by name or uuid, gets the certificate
that it needs on TLS channels, and prints what to run in the VM. The code is
good for ten minutes and for one use. When it is used, all certificates that
the VM had before end. With --guestinfo the code is not shown: the hypervisor
places it in the VM, where a plugin with MOORING_ENROLL=guestinfo finds it.
With -o name only the code is printed.`,
		Example:           "  mooring vm enroll docker1",
		Args:              args(1, 1, "one VM"),
		ValidArgsFunction: first(t.complete(vmNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if place && t.format == formatName {
				return usagef(cmd, "-o name prints the code, which --guestinfo does not show: leave one of them out")
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			in, err := admin.InviteVM(cmd.Context(), args[0], wire.Invite{GuestInfo: place})
			if err != nil {
				return err
			}
			return t.object(in, in.Code, invitationText(in))
		},
	}
	cmd.Flags().BoolVar(&place, "guestinfo", false, "have the hypervisor place the code in the VM")
	return cmd
}

// invitationText is what to do in the VM.
func invitationText(in wire.Invitation) string {
	name := clean(in.Name, false)
	if in.Placed {
		return fmt.Sprintf("An invitation is in VM %s until %s.\n", name, moment(in.Expires))
	}
	return fmt.Sprintf(`Code for VM %s, until %s:

    %s

In the VM, as root, with the plugin installed and disabled:

    mkdir -p /run/mooring && (umask 077 && echo %s > /run/mooring/enroll)
    docker plugin set vsphere MOORING_HOST=%s MOORING_CA=%s
    docker plugin enable --timeout 0 vsphere
`, name, moment(in.Expires), clean(in.Code, false), clean(in.Code, false), clean(in.URL, false), clean(in.CA, false))
}

func (t *tool) vmRevoke() *cobra.Command {
	return &cobra.Command{
		Use:   "revoke VM",
		Short: "End all certificates and codes of a VM, at once",
		Long: `Ends all certificates and codes of a VM, given by name or uuid: from now on every
request of it on a TLS channel is refused. What it has attached stays attached.
mooring vm enroll lets it back in.`,
		Args:              args(1, 1, "one VM"),
		ValidArgsFunction: first(t.complete(vmNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := t.admin()
			if err != nil {
				return err
			}
			if err := admin.RevokeVM(cmd.Context(), args[0]); err != nil {
				return err
			}
			return t.success("vm revoke succeeded")
		},
	}
}
