package cli

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

// tenantFlags are what can be said of a vmgroup beside its VMs and rights.
type tenantFlags struct {
	profile                 wire.Profile
	labels                  string
	guestAccess, guestFiles bool
}

var contactFlags = []string{"email", "phone", "website", "address", "labels"}

func (p *tenantFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.profile.Email, "email", "", "e-mail `address` of the tenant")
	f.StringVar(&p.profile.Phone, "phone", "", "its `number`")
	f.StringVar(&p.profile.Website, "website", "", "its website, a `URL`")
	f.StringVar(&p.profile.Address, "address", "", "its postal address, one line of `text`")
	f.StringVar(&p.labels, "labels", "", "comma-separated `words` to find it by")
	f.BoolVar(&p.guestAccess, "guest-access", false, "let its users with the role guest log in and look")
	f.BoolVar(&p.guestFiles, "guest-files", false, "let them recover files too")
}

// given tells whether any of the flags is on the command line.
func (p *tenantFlags) given(cmd *cobra.Command) bool {
	return anyGiven(cmd, contactFlags...) || anyGiven(cmd, "guest-access", "guest-files")
}

// over is a profile with what the flags change.
func (p *tenantFlags) over(cmd *cobra.Command, have wire.Profile) wire.Profile {
	override(cmd, "email", &have.Email, p.profile.Email)
	override(cmd, "phone", &have.Phone, p.profile.Phone)
	override(cmd, "website", &have.Website, p.profile.Website)
	override(cmd, "address", &have.Address, p.profile.Address)
	override(cmd, "labels", &have.Labels, vmList(p.labels))
	return have
}

// update changes a vmgroup as the flags say.
func (p *tenantFlags) update(cmd *cobra.Command, admin Admin, name string) error {
	r := wire.UpdateTenant{GuestAccess: given(cmd, "guest-access", p.guestAccess), GuestFiles: given(cmd, "guest-files", p.guestFiles)}
	if anyGiven(cmd, contactFlags...) {
		have, err := admin.Tenant(cmd.Context(), name)
		if err != nil {
			return err
		}
		r.Profile = new(p.over(cmd, have.Profile))
	}
	_, err := admin.UpdateTenant(cmd.Context(), name, r)
	return err
}

func (t *tool) vmgroupShow() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show a vmgroup as a tenant: contact data, state, health, what it has",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			v, err := admin.Tenant(cmd.Context(), name)
			if err != nil {
				return err
			}
			return t.object(v, v.Name, tenantText(v))
		}),
	}
	group.register(t, cmd, true)
	return cmd
}

func tenantText(v wire.Tenant) string {
	state := v.State
	if !v.PurgeAfter.IsZero() {
		state += ", gone for good after " + moment(v.PurgeAfter)
	}
	var b strings.Builder
	for _, row := range [][2]string{
		{"Name", v.Name}, {"Id", string(v.ID)}, {"Description", v.Description}, {"E-mail", v.Profile.Email}, {"Phone", v.Profile.Phone},
		{"Website", v.Profile.Website}, {"Address", v.Profile.Address}, {"Labels", strings.Join(v.Profile.Labels, ",")},
		{"State", state}, {"Health", fmt.Sprintf("%s (%s, %s)", v.Health, count(v.Alarms, "alarm"), count(v.Notices, "notice"))},
		{"Configured", cmp.Or(v.Readiness.Message, "yes")}, {"Guest access", yesNo(v.GuestAccess)}, {"Guests recover files", yesNo(v.GuestFiles)},
		{"Content for provider", yesNo(!v.Security.ContentRefused)}, {"Second factor", requiredOrNot(v.Security.FactorRequired)},
		{"Users", fmt.Sprint(v.Users)}, {"VMs", fmt.Sprint(v.VMs)}, {"Volumes", fmt.Sprint(v.Volumes)}, {"Source", v.Source},
	} {
		b.WriteString(strings.TrimRight(fmt.Sprintf("%-21s %s", row[0]+":", clean(row[1], false)), " ") + "\n")
	}
	return b.String()
}

func requiredOrNot(required bool) string {
	if required {
		return "required"
	}
	return "as users like"
}

func (t *tool) vmgroupEnable() *cobra.Command {
	return t.toState(wire.TenantEnabled, "enable", "Let things begin in a disabled vmgroup again")
}

func (t *tool) vmgroupRestore() *cobra.Command {
	return t.toState(wire.TenantEnabled, "restore", "Bring a deleted vmgroup back, before it is gone for good")
}

func (t *tool) vmgroupDisable() *cobra.Command {
	cmd := t.toState(wire.TenantDisabled, "disable", "Let nothing new begin in a vmgroup")
	cmd.Long = `Lets nothing new begin in a vmgroup: its users cannot log in, its policies do not
run, no job begins and no volume is made. Its containers go on, its data stay as
they are, and nothing is removed from its repositories. 'mooring vmgroup enable'
gives everything back.`
	return cmd
}

// toState is a command that brings a vmgroup into a state.
func (t *tool) toState(state, verb, short string) *cobra.Command {
	var group groupFlag
	var cancel bool
	cmd := &cobra.Command{
		Use:   verb,
		Short: short,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			_, err := admin.UpdateTenant(cmd.Context(), name, wire.UpdateTenant{State: &state, CancelJobs: cancel})
			if err != nil {
				return err
			}
			return t.success("vmgroup %s succeeded", verb)
		}),
	}
	group.register(t, cmd, true)
	if state == wire.TenantDisabled {
		cmd.Flags().BoolVar(&cancel, "cancel-jobs", false, "end jobs that run too")
	}
	return cmd
}

func (t *tool) vmgroupDelete() *cobra.Command {
	var group groupFlag
	var data, immediately bool
	cmd := &cobra.Command{
		Use:   "delete",
		Short: "Delete a vmgroup; it can be restored until its grace period ends",
		Long: `Takes a vmgroup out of use and out of sight of its users. It can be brought back
with 'mooring vmgroup restore' until its grace period (tenant_grace in the
configuration) ends; then it is removed for good. One that has volumes or
repositories needs --with-data: its volumes are destroyed in the end, and what
its repositories hold stays where it is.

On a terminal it asks first; --yes answers.`,
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			question := fmt.Sprintf("Vmgroup %s will be deleted, and removed for good when its grace period is over.", name)
			if immediately {
				question = fmt.Sprintf("Vmgroup %s will be removed for good now.", name)
			}
			if data {
				question += " The data of all its volumes go with it."
			}
			if err := t.ask(cmd.Context(), question); err != nil {
				return err
			}
			if err := admin.DeleteTenant(cmd.Context(), name, data, immediately); err != nil {
				return err
			}
			return t.success("vmgroup delete succeeded")
		}),
	}
	group.register(t, cmd, true)
	cmd.Flags().BoolVar(&data, "with-data", false, "BE CAREFUL: even if it has volumes or repositories")
	cmd.Flags().BoolVar(&immediately, "now", false, "without a grace period")
	return cmd
}
