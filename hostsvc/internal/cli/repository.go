package cli

import (
	"cmp"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) repositoryCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "repository",
		Short: "Make, attach, watch and detach the places where recovery points lie",
		Long: `A repository belongs to one vmgroup and holds its recovery points, encrypted with
a key of its own: a folder on this machine, a bucket of an S3 service or a folder
on an SFTP server. It is in kopia's format. On the command line a repository is
written VMGROUP/NAME, as -o name prints it, or with --vmgroup and the name alone.

Keep the recovery kit of every repository ('mooring repository kit') outside this
installation: with the kit and the repository alone everything can be restored.`,
	},
		t.repositoryCreate(), t.repositoryAttach(), t.repositoryDetach(), t.repositoryList(), t.repositoryInspect(),
		t.repositoryCheck(), t.repositoryKit(), t.repositoryCredentials(), t.repositoryPrepare(), t.repositoryAssign(),
		t.repositoryLimit(), t.repositoryUsage())
}

func aRepository() thingFlags { return thingFlags{noun: "repository", form: "NAME"} }

func repositoryName(r wire.Repository) string {
	if r.VMGroup == "" {
		return r.Name
	}
	return r.VMGroup + "/" + r.Name
}

var repositoryColumns = []column[wire.Repository]{
	{header: "Name", value: func(r wire.Repository) string { return r.Name }},
	{header: "VMGroup", value: func(r wire.Repository) string { return orDash(r.VMGroup) }},
	{header: "Type", value: func(r wire.Repository) string { return r.Location.Type }},
	{header: "Where", value: func(r wire.Repository) string { return where(r.Location) }},
	{header: "State", value: func(r wire.Repository) string { return r.State }},
	{header: "Points", value: func(r wire.Repository) string { return strconv.Itoa(r.Points) }},
	{header: "Logical", value: func(r wire.Repository) string { return amount(r.Logical) }},
	{header: "Unique", value: func(r wire.Repository) string { return amount(r.UniqueBytes) }},
	{header: "Stored", value: func(r wire.Repository) string { return amount(r.Stored) }},
	{header: "Ratio", value: func(r wire.Repository) string { return ratio(r.Logical, r.Stored) }},
	{header: "Checked", wide: true, value: func(r wire.Repository) string { return moment(r.Checked) }},
	{header: "Kit", wide: true, value: func(r wire.Repository) string { return moment(r.Kit) }},
	{header: "Uuid", wide: true, value: func(r wire.Repository) string { return string(r.ID) }},
	{header: "Detail", wide: true, value: func(r wire.Repository) string { return r.Detail }},
}

// where is a location in one word.
func where(l wire.Location) string {
	switch l.Type {
	case "s3":
		return strings.TrimSuffix(l.Endpoint+"/"+l.Bucket+"/"+l.Prefix, "/")
	case "sftp":
		host := l.Host
		if l.Port != 0 && l.Port != 22 {
			host = net.JoinHostPort(l.Host, strconv.Itoa(l.Port))
		}
		if l.User != "" {
			host = l.User + "@" + host
		}
		return host + ":" + l.Path
	}
	return l.Path
}

func (t *tool) repositoryList() *cobra.Command {
	var group groupArg
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List repositories with what they hold",
		Long: `Lists repositories with what they hold: Logical is the data of all recovery
points, Unique what is different among them, Stored what that takes in the place
after compression.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var found []wire.Repository
			if name == "" {
				found, err = admin.Repositories(cmd.Context(), "")
			} else {
				found, err = admin.GroupRepositories(cmd.Context(), name)
			}
			if err != nil {
				return err
			}
			return list(t, found, repositoryColumns, repositoryName)
		},
	}
	group.register(t, cmd, "repositories")
	return cmd
}

func (t *tool) repositoryInspect() *cobra.Command {
	which := aRepository()
	cmd := &cobra.Command{
		Use:               "inspect [VMGROUP/]NAME",
		Short:             "Show everything about a repository",
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: first(t.complete(which.repositories)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			r, err := admin.Repository(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			return t.object(r, repositoryName(r), describeRepository(r))
		}),
	}
	which.register(t, cmd)
	return cmd
}

func describeRepository(r wire.Repository) string {
	state := r.State
	if r.Detail != "" {
		state += ": " + r.Detail
	}
	facts := [][2]string{
		{"Repository", r.Name},
		{"VMGroup", orDash(r.VMGroup)},
		{"Uuid", string(r.ID)},
		{"Type", r.Location.Type},
		{"Where", where(r.Location)},
		{"State", state},
		{"Format", orDash(r.Format)},
		{"Format id", orDash(r.Unique)},
		{"Points", strconv.Itoa(r.Points)},
		{"Logical", amount(r.Logical)},
		{"Unique", amount(r.UniqueBytes)},
		{"Stored", amount(r.Stored)},
		{"Ratio", ratio(r.Logical, r.Stored)},
		{"Created", moment(r.Created)},
		{"Checked", moment(r.Checked)},
		{"Maintained", moment(r.Maintained)},
		{"Kit exported", moment(r.Kit)},
		{"Declared in", cmp.Or(r.Source, "made by hand")},
	}
	return lines(facts)
}

func (t *tool) repositoryCheck() *cobra.Command {
	which := aRepository()
	cmd := &cobra.Command{
		Use:   "check [VMGROUP/]NAME",
		Short: "Look now whether a repository is there and is the right one",
		Long: `Looks now whether a repository answers and has the identity that it is known by,
and measures it. The exit code is 10 when it is away or is another one.`,
		Args:              args(1, 1, "one repository"),
		ValidArgsFunction: first(t.complete(which.repositories)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			r, err := admin.CheckRepository(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			if err := list(t, []wire.Repository{r}, repositoryColumns, repositoryName); err != nil {
				return err
			}
			if r.State == "offline" {
				return errkind.New(errkind.Offline, "repository %s is offline: %s", o, orDash(r.Detail))
			}
			return nil
		}),
	}
	which.register(t, cmd)
	return cmd
}

func (t *tool) repositoryDetach() *cobra.Command {
	which := aRepository()
	var prepared bool
	cmd := &cobra.Command{
		Use:   "detach [VMGROUP/]NAME",
		Short: "Forget a repository; what it holds stays where it is",
		Long: `Forgets a repository, with its key and its recovery points, but removes nothing
from the place: 'mooring repository attach' takes it up again, with the recovery
kit. It asks first, and needs --yes where nobody can be asked.

With --prepared, a prepared place that no vmgroup has yet is forgotten.`,
		Args: args(1, 1, "one repository"),
		ValidArgsFunction: first(func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
			if prepared {
				return t.complete(preparedNames)(cmd, args, typed)
			}
			return t.complete(which.repositories)(cmd, args, typed)
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if prepared {
				admin, err := t.admin()
				if err != nil {
					return err
				}
				if err := admin.RemovePrepared(cmd.Context(), args[0]); err != nil {
					return err
				}
				return t.done(args[0], "Prepared repository %s is forgotten.", args[0])
			}
			return t.onThing(&which, t.detach)(cmd, args)
		},
	}
	which.register(t, cmd)
	cmd.Flags().BoolVar(&prepared, "prepared", false, "forget a prepared place that is not assigned")
	return cmd
}

func (t *tool) detach(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
	r, err := admin.Repository(cmd.Context(), o.group, o.name)
	if err != nil {
		return err
	}
	kit := fmt.Sprintf("Its recovery kit was never exported: without it nothing in it (%s) can be read again.", count(r.Points, "recovery point"))
	if !r.Kit.IsZero() {
		kit = fmt.Sprintf("Its recovery kit was exported at %s.", moment(r.Kit))
	}
	if err := t.confirm(cmd, fmt.Sprintf("Repository %s and its key are forgotten; what lies in %s stays there. %s", o, where(r.Location), kit)); err != nil {
		return err
	}
	if err := admin.DetachRepository(cmd.Context(), o.group, o.name); err != nil {
		return err
	}
	return t.done(o.String(), "Repository %s is detached.", o)
}
