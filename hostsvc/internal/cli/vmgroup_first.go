package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// firstFlags are what a vmgroup can begin with: a user, an allowance, and who
// moves its data.
type firstFlags struct {
	admin, password, adminEmail string
	amounts                     amountFlags
	transporters                string
}

func (p *firstFlags) register(t *tool, cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.admin, "admin", "", "`name` of its first user, who administers it")
	f.StringVar(&p.password, "admin-password-file", "", "`file` with the password of that user; - is standard input")
	f.StringVar(&p.adminEmail, "admin-email", "", "`address` of mail of that user")
	f.StringVar(&p.transporters, "transporters", "", "comma-separated `names` of transporters; without it the built-in one, empty for none yet")
	p.amounts.register(cmd)
	_ = cmd.MarkFlagFilename("admin-password-file")
	t.completeFlag(cmd, "transporters", transporterNames)
}

func (p *firstFlags) given(cmd *cobra.Command) bool {
	return anyGiven(cmd, "admin", "admin-password-file", "admin-email", "transporters") || p.amounts.given(cmd)
}

// fill puts what the flags say into a request.
func (p *firstFlags) fill(t *tool, cmd *cobra.Command, r *wire.CreateTenant) (err error) {
	if p.admin == "" && anyGiven(cmd, "admin", "admin-password-file", "admin-email") {
		return usagef(cmd, "the first user has no name: add --admin=NAME")
	}
	if p.admin != "" {
		r.Admin = &wire.CreateUser{Name: p.admin, Role: volspec.TenantAdmin, Email: p.adminEmail}
		if p.password != "" {
			if r.Admin.Password, err = t.secretOf(p.password, "the password"); err != nil {
				return err
			}
		}
	}
	if p.amounts.given(cmd) {
		r.Allowance = &wire.Amounts{}
		if err := p.amounts.change(cmd, r.Allowance); err != nil {
			return err
		}
	}
	override(cmd, "transporters", &r.Transporters, vmList(p.transporters))
	return nil
}

// tenantMade shows what was made, and the password that was generated.
func (t *tool) tenantMade(made wire.TenantMade, text string) error {
	name := made.Tenant.Name
	if made.Admin != nil {
		text += userMade(*made.Admin, "is made")
		if made.Admin.Password != "" {
			name = made.Admin.Password
		}
	}
	return t.object(made, name, text)
}

var statusColumns = []column[wire.Tenant]{
	{header: "Name", value: func(v wire.Tenant) string { return v.Name }},
	{header: "State", value: func(v wire.Tenant) string { return v.State }},
	{header: "Health", value: func(v wire.Tenant) string { return v.Health }},
	{header: "Alarms", value: func(v wire.Tenant) string { return strconv.Itoa(v.Alarms) }},
	{header: "Notices", value: func(v wire.Tenant) string { return strconv.Itoa(v.Notices) }},
	{header: "Configured", value: func(v wire.Tenant) string { return yesNo(v.Readiness.Ready) }},
	{header: "Users", value: func(v wire.Tenant) string { return strconv.Itoa(v.Users) }},
	{header: "VMs", value: func(v wire.Tenant) string { return strconv.Itoa(v.VMs) }},
	{header: "Volumes", value: func(v wire.Tenant) string { return strconv.Itoa(v.Volumes) }},
	{header: "Storage", value: func(v wire.Tenant) string { return amount(v.Allowance.Storage.Used) }},
	{header: "Allowed", value: func(v wire.Tenant) string {
		return bounded("storage", v.Allowance.Storage.Bounded, v.Allowance.Storage.Desired)
	}},
	{header: "Missing", wide: true, value: func(v wire.Tenant) string { return orDash(strings.Join(v.Readiness.Missing, ",")) }},
	{header: "Labels", wide: true, value: func(v wire.Tenant) string { return orDash(strings.Join(v.Profile.Labels, ",")) }},
	{header: "Email", wide: true, value: func(v wire.Tenant) string { return orDash(v.Profile.Email) }},
	{header: "Description", wide: true, value: func(v wire.Tenant) string { return v.Description }},
}

func (t *tool) vmgroupStatus() *cobra.Command {
	var q hostclient.TenantQuery
	var limit int
	cmd := &cobra.Command{
		Use:   "status",
		Short: "List vmgroups as tenants: state, health, what they have and use",
		Example: `  mooring vmgroup status --health=alarms
  mooring vmgroup status --label=gold --sort=storage --desc --limit=10`,
		Args: noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			all, err := pages(limit, func(after string, n int) ([]wire.Tenant, string, error) {
				q.After, q.Limit = after, n
				p, err := admin.Tenants(cmd.Context(), q)
				return p.Tenants, p.Next, err
			})
			if err != nil {
				return err
			}
			return list(t, all, statusColumns, func(v wire.Tenant) string { return v.Name })
		}),
	}
	f := cmd.Flags()
	f.StringVar(&q.Words, "search", "", "only with this `text` in name, description or e-mail")
	f.StringVar(&q.Label, "label", "", "only with this `label`")
	f.IntVar(&limit, "limit", 0, "at most this `number`; 0 is all")
	f.BoolVar(&q.Desc, "desc", false, "the other way around")
	for _, x := range []struct {
		flag, what string
		to         *string
		words      []string
	}{
		{"state", "only in this `state`", &q.State, []string{wire.TenantEnabled, wire.TenantDisabled, wire.TenantDeleted}},
		{"health", "only of this `health`", &q.Health, []string{wire.HealthGood, wire.HealthNotices, wire.HealthAlarms}},
		{"sort", "`order`", &q.Sort, []string{"name", "health", "storage", "users"}},
	} {
		f.StringVar(x.to, x.flag, "", fmt.Sprintf("%s: %s", x.what, strings.Join(x.words, ", ")))
		_ = cmd.RegisterFlagCompletionFunc(x.flag, cobra.FixedCompletions(x.words, cobra.ShellCompDirectiveNoFileComp))
	}
	return cmd
}
