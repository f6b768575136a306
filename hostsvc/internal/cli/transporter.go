package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/wire"
)

type transporterAdmin interface {
	Transporters(ctx context.Context, vmgroup string) ([]wire.Transporter, error)
	UpdateTransporter(ctx context.Context, name string, r wire.UpdateTransporter) (wire.Transporter, error)
	RemoveTransporter(ctx context.Context, name string) error
	SetTransporters(ctx context.Context, vmgroup string, r wire.SetTransporters) ([]wire.Transporter, error)
}

func (t *tool) transporterCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "transporter",
		Short: "See the processes that move the data of backups, and for whom they work",
		Long: `Every mooringd moves data of backups. That of the service itself is the
transporter built-in; others on the same PostgreSQL catalog have the names that
their configurations say. A transporter takes the jobs of the vmgroups that are
bound to it; of several that are bound whichever is free.`,
	}, t.transporterList(), t.transporterSet(), t.transporterBind(), t.transporterRemove())
}

func transporterNames(ctx context.Context, a Admin) (found []string, err error) {
	all, err := a.Transporters(ctx, "")
	for _, tr := range all {
		found = append(found, tr.Name)
	}
	return found, err
}

var transporterColumns = []column[wire.Transporter]{
	{header: "Name", value: func(tr wire.Transporter) string { return tr.Name }},
	{header: "State", value: func(tr wire.Transporter) string { return tr.State }},
	{header: "Host", value: func(tr wire.Transporter) string { return tr.Host }},
	{header: "Jobs", value: func(tr wire.Transporter) string { return strconv.Itoa(tr.Jobs) }},
	{header: "VMGroups", value: func(tr wire.Transporter) string { return strings.Join(tr.Tenants, ",") }},
	{header: "Description", value: func(tr wire.Transporter) string { return tr.Description }},
	{header: "Seen", wide: true, value: func(tr wire.Transporter) string { return moment(tr.Seen) }},
	{header: "Version", wide: true, value: func(tr wire.Transporter) string { return tr.Version }},
}

func (t *tool) listTransporters(all []wire.Transporter) error {
	return list(t, all, transporterColumns, func(tr wire.Transporter) string { return tr.Name })
}

func (t *tool) transporterList() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List the transporters",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			all, err := admin.Transporters(cmd.Context(), group)
			if err != nil {
				return err
			}
			return t.listTransporters(all)
		}),
	}
	t.vmgroupFlag(cmd, &group, "only those that work for this `vmgroup`")
	return cmd
}

func (t *tool) transporterSet() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use:               "set TRANSPORTER",
		Short:             "Describe a transporter",
		Example:           "  mooring transporter set site-b --description='second building'",
		Args:              args(1, 1, "one transporter"),
		ValidArgsFunction: first(t.complete(transporterNames)),
		RunE: t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
			if !cmd.Flags().Changed("description") {
				return usagef(cmd, "'%s' needs the description: add --description", cmd.CommandPath())
			}
			tr, err := admin.UpdateTransporter(cmd.Context(), args[0], wire.UpdateTransporter{Description: &description})
			if err != nil {
				return err
			}
			return t.listTransporters([]wire.Transporter{tr})
		}),
	}
	cmd.Flags().StringVar(&description, "description", "", "one line of `text`")
	return cmd
}

func (t *tool) transporterBind() *cobra.Command {
	var none bool
	cmd := &cobra.Command{
		Use:   "bind VMGROUP TRANSPORTER...",
		Short: "Bind a vmgroup to transporters, these and no others",
		Long: `Binds a vmgroup to transporters, these and no others. Jobs that run go on where
they are. Bound to none, its jobs wait.`,
		Example:           "  mooring transporter bind Dev built-in site-b",
		Args:              args(1, 1<<20, "a vmgroup and transporters"),
		ValidArgsFunction: first(t.complete(groupNames)),
		RunE: t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
			if (len(args) == 1) != none {
				return usagef(cmd, "'%s' needs transporters, or --none", cmd.CommandPath())
			}
			all, err := admin.SetTransporters(cmd.Context(), args[0], wire.SetTransporters{Transporters: args[1:]})
			if err != nil {
				return err
			}
			return t.listTransporters(all)
		}),
	}
	cmd.Flags().BoolVar(&none, "none", false, "bind it to none")
	return cmd
}

func (t *tool) transporterRemove() *cobra.Command {
	return &cobra.Command{
		Use:               "rm TRANSPORTER",
		Short:             "Forget a transporter that is offline and works for nobody",
		Args:              args(1, 1, "one transporter"),
		ValidArgsFunction: first(t.complete(transporterNames)),
		RunE: t.onArgs(func(cmd *cobra.Command, admin Admin, args []string) error {
			if err := admin.RemoveTransporter(cmd.Context(), args[0]); err != nil {
				return err
			}
			return t.success("Transporter %s is removed.", args[0])
		}),
	}
}
