package cli

import (
	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

var alarmColumns = []column[wire.Alarm]{
	{header: "Since", value: func(a wire.Alarm) string { return moment(a.Since) }},
	{header: "VMGroup", value: func(a wire.Alarm) string { return orDash(a.VMGroup) }},
	{header: "Kind", value: func(a wire.Alarm) string { return a.Kind }},
	{header: "Object", value: func(a wire.Alarm) string { return orDash(a.Object) }},
	{header: "Detail", value: func(a wire.Alarm) string { return a.Detail }},
}

func (t *tool) alarmCommand() *cobra.Command {
	var group groupArg
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List what somebody must look at",
		Long: `Lists what somebody must look at: volumes without a recovery point that is young
enough, repositories that are away, backups that failed, damage. An alarm is there
until its cause is gone.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var found []wire.Alarm
			if name == "" {
				found, err = admin.Alarms(cmd.Context())
			} else {
				found, err = admin.GroupAlarms(cmd.Context(), name)
			}
			if err != nil {
				return err
			}
			return list(t, found, alarmColumns, func(a wire.Alarm) string { return a.VMGroup + "/" + a.Object })
		},
	}
	group.register(t, ls, "alarms")
	return t.group(&cobra.Command{Use: "alarm", Short: "Show what somebody must look at"}, ls)
}

func (t *tool) keyCommand() *cobra.Command {
	rotate := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new master key",
		Long: `Makes a new master key and seals the keys and credentials of all repositories with
it. Repositories and recovery kits stay as they are.`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			r, err := admin.RotateKey(cmd.Context())
			if err != nil {
				return err
			}
			if t.format == formatTable || t.format == formatWide {
				t.talk("The master key is %s now; %s sealed with it.", r.KeyID, count(r.Resealed, "secret"))
				return nil
			}
			return t.object(r, r.KeyID, "")
		}),
	}
	return t.group(&cobra.Command{Use: "key", Short: "Look after the key that seals the secrets of repositories"}, rotate)
}
