package cli

import (
	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) vmgroupSecurity() *cobra.Command {
	var group groupFlag
	var refused, factor bool
	cmd := &cobra.Command{
		Use:   "security",
		Short: "Change who gets at the data of a vmgroup",
		Long: `Changes what a tenant settles about who gets at its data. Whether its provider
reads content can be changed by an administrator of the tenant alone, who logs in
with 'mooring login' first.`,
		Example: `  mooring vmgroup security --name=acme --refuse-content
  mooring vmgroup security --name=acme --require-second-factor`,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if !anyGiven(cmd, "refuse-content", "require-second-factor") {
				return usagef(cmd, "'%s' needs something to change: add --refuse-content or --require-second-factor", cmd.CommandPath())
			}
			r := wire.UpdateSecurity{ContentRefused: given(cmd, "refuse-content", refused), FactorRequired: given(cmd, "require-second-factor", factor)}
			if _, err := admin.SetSecurity(cmd.Context(), name, r); err != nil {
				return err
			}
			return t.success("vmgroup security succeeded")
		}),
	}
	group.register(t, cmd, true)
	cmd.Flags().BoolVar(&refused, "refuse-content", false, "refuse the provider files, downloads and recovery kits; =false lets it read them again")
	cmd.Flags().BoolVar(&factor, "require-second-factor", false, "require a second factor of all users who have a password")
	return cmd
}
