package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// userAdmin is about the users of a vmgroup, with "" of the master.
type userAdmin interface {
	Users(ctx context.Context, vmgroup string) ([]wire.User, error)
	CreateUser(ctx context.Context, vmgroup string, r wire.CreateUser) (wire.User, error)
	UpdateUser(ctx context.Context, vmgroup, name string, r wire.UpdateUser) (wire.User, error)
	RemoveUser(ctx context.Context, vmgroup, name string) error
}

var userColumns = []column[wire.User]{
	{header: "Name", value: func(u wire.User) string { return u.Name }},
	{header: "Role", value: func(u wire.User) string { return string(u.Role) }},
	{header: "State", value: userState},
	{header: "Second factor", value: func(u wire.User) string { return yesNo(u.TOTP) }},
	{header: "Last log-in", value: func(u wire.User) string { return moment(u.LastLogin) }},
	{header: "Email", wide: true, value: func(u wire.User) string { return u.Email }},
	{header: "Sessions", wide: true, value: func(u wire.User) string { return strconv.Itoa(u.Sessions) }},
	{header: "Tokens", wide: true, value: func(u wire.User) string { return strconv.Itoa(u.Tokens) }},
	{header: "Description", wide: true, value: func(u wire.User) string { return u.Description }},
}

func userState(u wire.User) string {
	switch {
	case !u.Enabled:
		return "disabled"
	case !u.LockedUntil.IsZero():
		return "locked until " + moment(u.LockedUntil)
	}
	return "enabled"
}

func (t *tool) userCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "user",
		Short: "Manage the people who use the portal and the API",
		Long: `Manages users. With --vmgroup they are those of a tenant, without it those of the
master, who see all vmgroups.`,
	}, t.userList(), t.userCreate(), t.userSet(), t.userReset(), t.userRemove())
}

// usersOf is the flag that says whose users a command is about.
func (t *tool) usersOf(cmd *cobra.Command) *string {
	group := new(string)
	t.vmgroupFlag(cmd, group, "of `vmgroup`; without it, of the master")
	return group
}

func userNames(group *string) names {
	return func(ctx context.Context, a Admin) (found []string, err error) {
		all, err := a.Users(ctx, *group)
		for _, u := range all {
			found = append(found, u.Name)
		}
		return found, err
	}
}

func (t *tool) userList() *cobra.Command {
	cmd := &cobra.Command{Use: "ls", Short: "List users", Args: noArgs}
	group := t.usersOf(cmd)
	cmd.RunE = t.onService(func(cmd *cobra.Command, admin Admin) error {
		all, err := admin.Users(cmd.Context(), *group)
		if err != nil {
			return err
		}
		return list(t, all, userColumns, func(u wire.User) string { return u.Name })
	})
	return cmd
}

func (t *tool) userCreate() *cobra.Command {
	var r wire.CreateUser
	var file string
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a user",
		Long: `Makes a user. Without --password-file a password is generated and printed once;
the user changes it at the first log-in. With -o name only the password is
printed.`,
		Example: `  mooring user create jo --vmgroup=Dev --role=tenant-admin
  mooring user create auditor --role=master-viewer`,
		Args: args(1, 1, "one user"),
	}
	group := t.usersOf(cmd)
	f := cmd.Flags()
	t.roleFlag(cmd, (*string)(&r.Role))
	f.StringVar(&file, "password-file", "", "`file` with the password; - is standard input")
	f.StringVar(&r.Email, "email", "", "`address` of mail")
	f.StringVar(&r.Description, "description", "", "`text` for other administrators")
	_ = cmd.MarkFlagFilename("password-file")
	cmd.RunE = t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) (err error) {
		if r.Role == "" {
			r.Role = volspec.MasterAdmin
			if *group != "" {
				r.Role = volspec.TenantAdmin
			}
		}
		if file != "" {
			if r.Password, err = t.secretOf(file, "the password"); err != nil {
				return err
			}
		}
		r.Name = args[0]
		u, err := admin.CreateUser(cmd.Context(), *group, r)
		if err != nil {
			return err
		}
		return t.object(u, cmp.Or(u.Password, u.Name), userMade(u, "is made"))
	})
	return cmd
}

// userMade says what was done, with the password that was generated.
func userMade(u wire.User, what string) string {
	text := fmt.Sprintf("User %s (%s) %s.\n", clean(u.Name, false), clean(string(u.Role), false), what)
	if u.Password != "" {
		text += fmt.Sprintf("Password, shown only now and to be changed at the first log-in:\n\n    %s\n", clean(u.Password, false))
	}
	return text
}

func (t *tool) roleFlag(cmd *cobra.Command, role *string) {
	var all []string
	for _, r := range slices.Concat(volspec.MasterRoles, volspec.TenantRoles) {
		all = append(all, string(r))
	}
	cmd.Flags().StringVar(role, "role", "", "`role`: "+strings.Join(all, ", "))
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(all, cobra.ShellCompDirectiveNoFileComp))
}

func (t *tool) userSet() *cobra.Command {
	var role, email, description string
	var enable, disable, unlock bool
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change a user: its role, whether it may log in, its address",
		Long: `Changes a user. It counts at once, in open sessions and for tokens, too. The last
enabled administrator stays one.`,
		Example: `  mooring user set jo --vmgroup=Dev --role=operator
  mooring user set jo --vmgroup=Dev --disable`,
		Args: args(1, 1, "one user"),
	}
	group := t.usersOf(cmd)
	cmd.ValidArgsFunction = first(t.complete(userNames(group)))
	f := cmd.Flags()
	t.roleFlag(cmd, &role)
	f.StringVar(&email, "email", "", "`address` of mail")
	f.StringVar(&description, "description", "", "`text` for other administrators")
	f.BoolVar(&enable, "enable", false, "let it log in")
	f.BoolVar(&disable, "disable", false, "let it not log in, and end its sessions")
	f.BoolVar(&unlock, "unlock", false, "forget its wrong log-ins")
	cmd.RunE = t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
		if enable && disable {
			return usagef(cmd, "--enable and --disable exclude each other")
		}
		r := wire.UpdateUser{Unlock: unlock, Email: given(cmd, "email", email), Description: given(cmd, "description", description)}
		if role != "" {
			r.Role = new(volspec.Role(role))
		}
		if enable || disable {
			r.Enabled = &enable
		}
		if r == (wire.UpdateUser{}) {
			return usagef(cmd, "'%s' needs something to change", cmd.CommandPath())
		}
		u, err := admin.UpdateUser(cmd.Context(), *group, args[0], r)
		if err != nil {
			return err
		}
		return t.object(u, u.Name, userMade(u, "is changed"))
	})
	return cmd
}

func (t *tool) userReset() *cobra.Command {
	var totp, both bool
	cmd := &cobra.Command{
		Use:   "reset NAME",
		Short: "Give a user a new password, or take its second factor away",
		Long: `Generates a new password, which is printed once, unlocks the user and ends its
sessions. With --second-factor the second factor is taken away instead, and with
--all both. With -o name only the password is printed.`,
		Args: args(1, 1, "one user"),
	}
	group := t.usersOf(cmd)
	cmd.ValidArgsFunction = first(t.complete(userNames(group)))
	cmd.Flags().BoolVar(&totp, "second-factor", false, "take the second factor away and leave the password")
	cmd.Flags().BoolVar(&both, "all", false, "do both")
	cmd.RunE = t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
		u, err := admin.UpdateUser(cmd.Context(), *group, args[0], wire.UpdateUser{ResetPassword: !totp || both, ResetTOTP: totp || both})
		if err != nil {
			return err
		}
		return t.object(u, cmp.Or(u.Password, u.Name), userMade(u, "is reset"))
	})
	return cmd
}

func (t *tool) userRemove() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a user, with its sessions and tokens",
		Args:  args(1, 1, "one user"),
	}
	group := t.usersOf(cmd)
	cmd.ValidArgsFunction = first(t.complete(userNames(group)))
	cmd.RunE = t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
		if err := t.confirm(cmd, fmt.Sprintf("User %s will be removed, with its sessions and tokens.", args[0])); err != nil {
			return err
		}
		if err := admin.RemoveUser(cmd.Context(), *group, args[0]); err != nil {
			return err
		}
		return t.done(args[0], "User %s is removed.", args[0])
	})
	return cmd
}
