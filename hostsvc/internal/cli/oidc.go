package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// oidcAdmin is about the provider of a vmgroup's users, with "" of the master's.
type oidcAdmin interface {
	OIDC(ctx context.Context, vmgroup string) (wire.OIDC, error)
	PutOIDC(ctx context.Context, vmgroup string, r wire.OIDC) (wire.OIDC, error)
	RemoveOIDC(ctx context.Context, vmgroup string) error
}

var oidcColumns = []column[wire.OIDC]{
	{header: "Issuer", value: func(o wire.OIDC) string { return o.Issuer }},
	{header: "Client", value: func(o wire.OIDC) string { return o.ClientID }},
	{header: "Claim", value: func(o wire.OIDC) string { return o.Claim }},
	{header: "Role", value: func(o wire.OIDC) string { return string(o.Role) }},
	{header: "Callback", value: func(o wire.OIDC) string { return o.Callback }},
}

func (t *tool) oidcCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "oidc",
		Short: "Let users log in by a provider of OpenID Connect",
		Long: `Sets the provider by which users log in to the portal. With --vmgroup they are
those of a tenant, without it those of the master.`,
	}, t.oidcShow(), t.oidcSet(), t.oidcRemove())
}

func (t *tool) oidcShow() *cobra.Command {
	cmd := &cobra.Command{Use: "show", Short: "Show the provider, and the callback to register with it", Args: noArgs}
	group := t.usersOf(cmd)
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		o, err := admin.OIDC(cmd.Context(), *group)
		if err != nil {
			return err
		}
		return t.showOIDC(o)
	})
	return cmd
}

func (t *tool) showOIDC(o wire.OIDC) error {
	return list(t, []wire.OIDC{o}, oidcColumns, func(o wire.OIDC) string { return o.Issuer })
}

func (t *tool) oidcSet() *cobra.Command {
	var r wire.OIDC
	var file string
	cmd := &cobra.Command{
		Use:   "set",
		Short: "Set the provider; what is not named stays",
		Long: `Sets the provider. Users who are not known yet are made with --role at their
first log-in; without a role they are refused.`,
		Example: `  mooring oidc set --vmgroup=Dev --issuer=https://id.example --client-id=mooring --secret-file=oidc.secret --role=operator`,
		Args:    noArgs,
	}
	group := t.usersOf(cmd)
	f := cmd.Flags()
	f.StringVar(&r.Issuer, "issuer", "", "`URL` of the provider")
	f.StringVar(&r.ClientID, "client-id", "", "`name` by which the provider knows this service")
	f.StringVar(&file, "secret-file", "", "`file` with the secret of the client; - is standard input")
	f.StringVar(&r.Claim, "claim", "", "`claim` that holds the name of the user (default: preferred_username, else email)")
	t.roleFlag(cmd, (*string)(&r.Role))
	_ = cmd.MarkFlagFilename("secret-file")
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		if !anyGiven(cmd, "issuer", "client-id", "claim", "role", "secret-file") {
			return usagef(cmd, "'%s' needs something to change", cmd.CommandPath())
		}
		o, err := admin.OIDC(cmd.Context(), *group)
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
		o.Callback = ""
		override(cmd, "issuer", &o.Issuer, r.Issuer)
		override(cmd, "client-id", &o.ClientID, r.ClientID)
		override(cmd, "claim", &o.Claim, r.Claim)
		override(cmd, "role", &o.Role, r.Role)
		if file != "" {
			if o.Secret, err = t.secretOf(file, "the secret"); err != nil {
				return err
			}
		}
		if o, err = admin.PutOIDC(cmd.Context(), *group, o); err != nil {
			return err
		}
		return t.showOIDC(o)
	})
	return cmd
}

func (t *tool) oidcRemove() *cobra.Command {
	cmd := &cobra.Command{Use: "rm", Short: "Let users log in only with passwords", Args: noArgs}
	group := t.usersOf(cmd)
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		whose := "the master"
		if *group != "" {
			whose = "vmgroup " + *group
		}
		if err := t.confirm(cmd, fmt.Sprintf("Users of %s will no longer log in by their provider.", whose)); err != nil {
			return err
		}
		if err := admin.RemoveOIDC(cmd.Context(), *group); err != nil {
			return err
		}
		return t.done(whose, "Users of %s no longer log in by a provider.", whose)
	})
	return cmd
}
