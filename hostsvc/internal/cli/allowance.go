package cli

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

type allowanceAdmin interface {
	Pool(ctx context.Context) (wire.Pool, error)
	SetPool(ctx context.Context, r wire.Amounts) (wire.Pool, error)
	Allowance(ctx context.Context, vmgroup string) (wire.Allowance, error)
	SetAllowance(ctx context.Context, vmgroup string, r wire.Amounts) (wire.Allowance, error)
}

func (t *tool) allowanceCommand() *cobra.Command {
	pool := t.group(&cobra.Command{Use: "pool", Short: "Show and set what the whole service may hand out"},
		t.poolShow(), t.poolSet())
	return t.group(&cobra.Command{
		Use:   "allowance",
		Short: "Bound what all vmgroups together may protect and store",
		Long: `The pool is what the service may hand out to vmgroups: sockets of the hosts that
run protected VMs, protected VMs, protected volumes, and storage of backups.
'mooring vmgroup allowance' delegates it. What has no bound is not counted.`,
	}, pool)
}

func (t *tool) vmgroupAllowanceCommand() *cobra.Command {
	return t.group(&cobra.Command{
		Use:   "allowance",
		Short: "Show and set what a vmgroup may protect and store",
		Long: `A VM or a volume is protected as long as it has a recovery point, or a backup
that waits or runs. Less than what is in use can be delegated: nothing is
removed, and nothing new is protected or stored until there is room again.`,
	}, t.allowanceShow(), t.allowanceSet())
}

// amountFlags are the kinds of things that are delegated.
type amountFlags struct{ sockets, vms, volumes, storage string }

func (f *amountFlags) register(cmd *cobra.Command) {
	const form = "; unset removes the bound"
	cmd.Flags().StringVar(&f.sockets, "sockets", "", "`number` of processor sockets of the hosts that run protected VMs"+form)
	cmd.Flags().StringVar(&f.vms, "vms", "", "`number` of protected VMs"+form)
	cmd.Flags().StringVar(&f.volumes, "volumes", "", "`number` of protected volumes"+form)
	cmd.Flags().StringVar(&f.storage, "storage", "", "storage of backups: "+sizeForm+form)
}

// given tells whether any of the flags is on the command line.
func (f *amountFlags) given(cmd *cobra.Command) bool {
	return anyGiven(cmd, "sockets", "vms", "volumes", "storage")
}

// change writes what was given over the amounts that there are.
func (f *amountFlags) change(cmd *cobra.Command, a *wire.Amounts) error {
	if !f.given(cmd) {
		return usagef(cmd, "'%s' needs an amount: add --sockets, --vms, --volumes or --storage", cmd.CommandPath())
	}
	for _, x := range []struct {
		flag, text string
		to         **int64
	}{{"sockets", f.sockets, &a.Sockets}, {"vms", f.vms, &a.VMs}, {"volumes", f.volumes, &a.Volumes}, {"storage", f.storage, &a.Storage}} {
		if !cmd.Flags().Changed(x.flag) {
			continue
		}
		switch {
		case strings.EqualFold(x.text, "unset"):
			*x.to = nil
		case x.flag == "storage":
			size, err := limit(x.text)
			if err != nil {
				return usagef(cmd, "--storage: %s; unset removes the bound", errkind.Text(err))
			}
			*x.to = new(int64(size))
		default:
			n, err := strconv.ParseUint(x.text, 10, 31)
			if err != nil {
				return usagef(cmd, "--%s: %q is not a number: write one from 0, or unset", x.flag, x.text)
			}
			*x.to = new(int64(n))
		}
	}
	return nil
}

// poolRow is one kind of things in the pool, as it is shown.
type poolRow struct {
	Kind string `json:"kind"`
	wire.PoolShare
}

// allowanceRow is one kind of things that a vmgroup may use.
type allowanceRow struct {
	Kind string `json:"kind"`
	wire.Share
}

// bounded is an amount, or that there is no bound.
func bounded(kind string, is bool, n int64) string {
	if !is {
		return "Unset"
	}
	return inKind(kind, n)
}

func inKind(kind string, n int64) string {
	if kind == "storage" {
		return amount(n)
	}
	return strconv.FormatInt(n, 10)
}

var poolColumns = []column[poolRow]{
	{header: "Kind", value: func(r poolRow) string { return r.Kind }},
	{header: "Pool", value: func(r poolRow) string { return bounded(r.Kind, r.Bounded, r.Size) }},
	{header: "Delegated", value: func(r poolRow) string { return inKind(r.Kind, r.Delegated) }},
	{header: "Used", value: func(r poolRow) string { return inKind(r.Kind, r.Used) }},
}

var allowanceColumns = []column[allowanceRow]{
	{header: "Kind", value: func(r allowanceRow) string { return r.Kind }},
	{header: "Allowed", value: func(r allowanceRow) string { return bounded(r.Kind, r.Bounded, r.Desired) }},
	{header: "Used", value: func(r allowanceRow) string { return inKind(r.Kind, r.Used) }},
	{header: "Counts", value: func(r allowanceRow) string { return inKind(r.Kind, r.Effective) }},
}

func (t *tool) showPool(p wire.Pool) error {
	return list(t, []poolRow{{"sockets", p.Sockets}, {"vms", p.VMs}, {"volumes", p.Volumes}, {"storage", p.Storage}}, poolColumns, func(r poolRow) string { return r.Kind })
}

func (t *tool) showAllowance(a wire.Allowance) error {
	return list(t, []allowanceRow{{"sockets", a.Sockets}, {"vms", a.VMs}, {"volumes", a.Volumes}, {"storage", a.Storage}}, allowanceColumns, func(r allowanceRow) string { return r.Kind })
}

func (t *tool) poolShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Show the pool, what of it is delegated and what is used",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			p, err := admin.Pool(cmd.Context())
			if err != nil {
				return err
			}
			return t.showPool(p)
		}),
	}
}

func (t *tool) poolSet() *cobra.Command {
	var f amountFlags
	cmd := &cobra.Command{
		Use:     "set",
		Short:   "Set the pool; what is not named stays",
		Example: "  mooring allowance pool set --sockets=10 --storage=20TB",
		Args:    noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			if err := f.change(cmd, &wire.Amounts{}); err != nil {
				return err
			}
			p, err := admin.Pool(cmd.Context())
			if err != nil {
				return err
			}
			of := func(s wire.PoolShare) *int64 { return boundOf(s.Bounded, s.Size) }
			a := wire.Amounts{Sockets: of(p.Sockets), VMs: of(p.VMs), Volumes: of(p.Volumes), Storage: of(p.Storage)}
			if err := f.change(cmd, &a); err != nil {
				return err
			}
			if p, err = admin.SetPool(cmd.Context(), a); err != nil {
				return err
			}
			return t.showPool(p)
		}),
	}
	f.register(cmd)
	return cmd
}

func (t *tool) allowanceShow() *cobra.Command {
	var group groupFlag
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show what a vmgroup may protect and store, and what it does",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			a, err := admin.Allowance(cmd.Context(), name)
			if err != nil {
				return err
			}
			return t.showAllowance(a)
		}),
	}
	group.register(t, cmd, true)
	return cmd
}

func (t *tool) allowanceSet() *cobra.Command {
	var group groupFlag
	var f amountFlags
	cmd := &cobra.Command{
		Use:     "set",
		Short:   "Delegate to a vmgroup; what is not named stays",
		Example: "  mooring vmgroup allowance set --name=Dev --sockets=2 --vms=20 --storage=2TB",
		RunE: t.onGroup(&group, func(cmd *cobra.Command, admin Admin, name string) error {
			if err := f.change(cmd, &wire.Amounts{}); err != nil {
				return err
			}
			have, err := admin.Allowance(cmd.Context(), name)
			if err != nil {
				return err
			}
			of := func(s wire.Share) *int64 { return boundOf(s.Bounded, s.Desired) }
			a := wire.Amounts{Sockets: of(have.Sockets), VMs: of(have.VMs), Volumes: of(have.Volumes), Storage: of(have.Storage)}
			if err := f.change(cmd, &a); err != nil {
				return err
			}
			if have, err = admin.SetAllowance(cmd.Context(), name, a); err != nil {
				return err
			}
			return t.showAllowance(have)
		}),
	}
	group.register(t, cmd, true)
	f.register(cmd)
	return cmd
}

func boundOf(is bool, n int64) *int64 {
	if !is {
		return nil
	}
	return &n
}
