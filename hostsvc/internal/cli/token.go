package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var tokenColumns = []column[wire.Token]{
	{header: "Name", value: func(v wire.Token) string { return v.Name }},
	{header: "May", value: func(v wire.Token) string {
		if v.Scope == "" {
			return "everything"
		}
		return string(v.Scope)
	}},
	{header: "Created", value: func(v wire.Token) string { return moment(v.Created) }},
	{header: "Last used", value: func(v wire.Token) string { return moment(v.LastUsed) }},
	{header: "Expires", value: func(v wire.Token) string { return moment(v.Expires) }},
	{header: "From", wide: true, value: func(v wire.Token) string { return orDash(v.LastFrom) }},
	{header: "ID", wide: true, value: func(v wire.Token) string { return v.ID }},
}

func (t *tool) tokenCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "token",
		Short: "Manage the tokens with which programs act as you",
		Long: `Manages the tokens of the user who is logged in. A token manages none, so each
command asks for the password, and for the code of a second factor; the session
that it opens ends with the command. Who logs in only by an OIDC provider has no
password, and makes tokens in the portal.`,
	}, t.tokenList(), t.tokenCreate(), t.tokenRemove())
}

// onVisit makes the body of a command that needs a session of the user whose
// token the context holds.
func (t *tool) onVisit(cmd *cobra.Command, do func(cmd *cobra.Command, v Visit, args []string) error) {
	var file string
	cmd.Flags().StringVar(&file, "password-file", "", "`file` with the password; - is standard input")
	_ = cmd.MarkFlagFilename("password-file")
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := t.self(cmd)
		if err != nil {
			return err
		}
		password, err := t.password(cmd, file)
		if err != nil {
			return err
		}
		visit, err := t.visit(cmd, &s, password)
		if err != nil {
			return err
		}
		defer visit.Close()
		err = do(cmd, visit, args)
		t.leave(cmd.Context(), visit)
		return err
	}
}

// self is the place with the user that its token is of.
func (t *tool) self(cmd *cobra.Command) (stored, error) {
	p, err := t.where()
	if err != nil {
		return stored{}, err
	}
	if p.socket != "" {
		return stored{}, usagef(cmd, "tokens belong to users, and the admin socket has none: name a service with --server or --context")
	}
	admin, err := t.admin()
	if err != nil {
		return stored{}, err
	}
	who, err := admin.Session(cmd.Context())
	s := p.stored
	s.User, s.Tenant = who.User, who.Tenant
	return s, err
}

// leave ends a session, which ends by itself, too.
func (t *tool) leave(ctx context.Context, v Visit) {
	if err := v.Logout(context.WithoutCancel(ctx)); err != nil {
		fmt.Fprintf(t.Err, "The session could not be ended: %s\n", clean(errkind.Text(err), false))
	}
}

func (t *tool) tokenList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List your tokens", Args: noArgs}
	t.onVisit(cmd, func(cmd *cobra.Command, v Visit, _ []string) error {
		all, err := v.Tokens(cmd.Context())
		if err != nil {
			return err
		}
		return list(t, all, tokenColumns, func(v wire.Token) string { return v.Name })
	})
	return cmd
}

// ownPermissions are those that a token can have.
func ownPermissions(ctx context.Context, a Admin) ([]string, error) {
	who, err := a.Session(ctx)
	return slices.DeleteFunc(who.Permissions, func(p string) bool { return p == "self.manage" }), err
}

func (t *tool) tokenCreate() *cobra.Command {
	var r wire.CreateToken
	var scope []string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print its secret, once",
		Long: `Makes a token. Its secret is printed once; with -o name it is all that is printed.
Give it only the permissions that its program needs.`,
		Example: `  mooring token create nightly --scope=backup.run,backup.read --days=30 --password-file=jo.password
  mooring token create watch --scope=audit.read --password-file=jo.password -o name`,
		Args: args(1, 1, "one token"),
	}
	f := cmd.Flags()
	f.StringSliceVar(&scope, "scope", nil, "only these `permissions` of yours; without it, all but those over your account")
	f.IntVar(&r.Days, "days", 0, "how long the token holds; 0: as long as the service says")
	t.completeFlag(cmd, "scope", ownPermissions)
	t.onVisit(cmd, func(cmd *cobra.Command, v Visit, args []string) error {
		r.Name, r.Scope = args[0], volspec.Scope(strings.Join(scope, " "))
		made, err := v.CreateToken(cmd.Context(), r)
		if err != nil {
			return err
		}
		return t.object(made, made.Secret, fmt.Sprintf("Token %s is made, until %s.\nIts secret, shown only now:\n\n    %s\n",
			clean(made.Name, false), moment(made.Expires), clean(made.Secret, false)))
	})
	return cmd
}

func (t *tool) tokenRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "End a token of yours, by name or id",
		Args:  args(1, 1, "one token"),
	}
	t.onVisit(cmd, func(cmd *cobra.Command, v Visit, args []string) error {
		if err := t.confirm(cmd, fmt.Sprintf("Token %s will end: programs that use it are refused.", args[0])); err != nil {
			return err
		}
		if err := v.RemoveToken(cmd.Context(), args[0]); err != nil {
			return err
		}
		return t.done(args[0], "Token %s is removed.", args[0])
	})
	return cmd
}
