package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func aPoint() thingFlags { return thingFlags{noun: "recovery point", form: "POINT"} }

func pointName(p wire.Point) string { return p.VMGroup + "/" + string(p.ID) }

var pointColumns = []column[wire.Point]{
	{header: "Point", value: func(p wire.Point) string { return string(p.ID) }},
	{header: "VMGroup", value: func(p wire.Point) string { return p.VMGroup }},
	{header: "Volume", value: func(p wire.Point) string { return p.Volume }},
	{header: "Created", value: func(p wire.Point) string { return moment(p.Created) }},
	{header: "State", value: func(p wire.Point) string { return string(p.State) }},
	{header: "Consistency", value: func(p wire.Point) string { return string(p.Consistency) }},
	{header: "Size", value: func(p wire.Point) string { return amount(p.SizeBytes) }},
	{header: "Data", value: func(p wire.Point) string { return amount(p.DataBytes) }},
	{header: "New", value: func(p wire.Point) string { return amount(p.NewBytes) }},
	{header: "Repository", value: func(p wire.Point) string { return p.Repository }},
	{header: "Hold", value: func(p wire.Point) string { return yesNo(p.Hold) }},
	{header: "Stored", wide: true, value: func(p wire.Point) string { return amount(p.StoredBytes) }},
	{header: "Stall", wide: true, value: func(p wire.Point) string { return stall(p) }},
	{header: "Tracking", wide: true, value: func(p wire.Point) string { return orDash(p.Tracking) }},
	{header: "Policy", wide: true, value: func(p wire.Point) string { return orDash(p.Policy) }},
	{header: "Copy_of", wide: true, value: func(p wire.Point) string { return orDash(string(p.CopyOf)) }},
	{header: "Damage", wide: true, value: func(p wire.Point) string { return orDash(p.Damage) }},
}

func stall(p wire.Point) string {
	if p.Consistency != volspec.FilesystemConsistent || p.StallMS == 0 {
		return "-"
	}
	return (time.Duration(p.StallMS) * time.Millisecond).String()
}

func (t *tool) backupList() *cobra.Command {
	var group groupArg
	var q hostclient.PointsQuery
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List recovery points, newest first",
		Long: `Lists recovery points, newest first. Size is that of the volume, Data what of it
was not empty, New what the repository did not have yet. The point of a VM is one row
of all its disks; 'mooring backup inspect' shows each.`,
		Example: `  mooring backup ls
  mooring backup ls Dev --volume=db
  mooring backup ls Dev --volume=vm/web01`,
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := group.get(cmd, args)
			if err != nil {
				return err
			}
			admin, err := t.admin()
			if err != nil {
				return err
			}
			var found []wire.Point
			if err := inGroups(cmd.Context(), admin, name, func(g string) error {
				all, err := allPoints(cmd.Context(), admin, g, q)
				found = append(found, all...)
				return err
			}); err != nil {
				return err
			}
			return list(t, found, pointColumns, pointName)
		},
	}
	group.register(t, cmd, "recovery points")
	cmd.Flags().StringVar(&q.Volume, "volume", "", "only of `volume`, also of one that is gone; vm/NAME is a VM")
	cmd.Flags().StringVar(&q.Repository, "repository", "", "only in `repository`")
	t.completeFlag(cmd, "repository", repositoryNames(&group.name))
	return cmd
}

func (t *tool) backupInspect() *cobra.Command {
	which := aPoint()
	cmd := &cobra.Command{
		Use:               "inspect [VMGROUP/]POINT",
		Short:             "Show everything about a recovery point",
		Args:              args(1, 1, "one recovery point"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			p, err := admin.Point(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			return t.object(p, pointName(p), describePoint(p))
		}),
	}
	which.register(t, cmd)
	return cmd
}

func describePoint(p wire.Point) string {
	facts := [][2]string{
		{"Point", string(p.ID)},
		{"VMGroup", p.VMGroup},
		{"Volume", p.Volume},
		{"Volume uuid", string(p.VolumeID)},
		{"Repository", p.Repository},
		{"Created", moment(p.Created)},
		{"State", string(p.State)},
		{"Verified", moment(p.VerifiedAt)},
		{"Proven", moment(p.ProvenAt)},
		{"Consistency", string(p.Consistency)},
		{"Writers waited", stall(p)},
		{"Hold", yesNo(p.Hold)},
		{"Policy", orDash(p.Policy)},
		{"Filesystem", orDash(p.FSType)},
		{"Size", volspec.Size(p.SizeBytes).String()},
		{"Data", amount(p.DataBytes)},
		{"Read", amount(p.ReadBytes)},
		{"New", amount(p.NewBytes)},
		{"Stored", amount(p.StoredBytes)},
		{"Tracking", orDash(p.Tracking)},
	}
	for _, d := range p.Disks {
		text := fmt.Sprintf("%s, key %s: %s", d.Label, d.Key, d.State)
		if d.Point != "" {
			text += fmt.Sprintf(", %s on %s, point %s", volspec.Size(d.SizeBytes), orDash(d.Datastore), d.Point)
		}
		if d.Damage != "" {
			text += ": " + d.Damage
		}
		facts = append(facts, [2]string{"Disk", text})
	}
	if p.CopyOf != "" {
		facts = append(facts, [2]string{"Copy of", string(p.CopyOf)})
	}
	if p.Damage != "" {
		facts = append(facts, [2]string{"Damage", p.Damage})
	}
	return lines(facts)
}

// whose names in a sentence what a point is of.
func whose(p wire.Point) string {
	if p.Kind == "vm" {
		return "VM " + p.VM
	}
	return "volume " + p.Volume
}

func (t *tool) backupHold(use, short string, hold bool) *cobra.Command {
	which := aPoint()
	cmd := &cobra.Command{
		Use:               use + " [VMGROUP/]POINT...",
		Short:             short,
		Args:              args(1, 1<<20, "at least one recovery point"),
		ValidArgsFunction: t.complete(which.points),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			return each(things, func(o thing) error {
				p, err := admin.SetPoint(cmd.Context(), o.group, o.name, wire.SetPoint{Hold: &hold})
				if err != nil {
					return err
				}
				if hold {
					return t.done(pointName(p), "Recovery point %s of %s is held.", pointName(p), whose(p))
				}
				return t.done(pointName(p), "Recovery point %s of %s is not held any more.", pointName(p), whose(p))
			})
		}),
	}
	which.register(t, cmd)
	return cmd
}

func (t *tool) backupRemove() *cobra.Command {
	which := aPoint()
	cmd := &cobra.Command{
		Use:   "rm [VMGROUP/]POINT...",
		Short: "Delete recovery points",
		Long: `Deletes recovery points. Other points do not need them. It asks first, and needs
--yes where nobody can be asked. Held points are refused.`,
		Args:              args(1, 1<<20, "at least one recovery point"),
		ValidArgsFunction: t.complete(which.points),
		RunE: t.onThings(&which, func(cmd *cobra.Command, admin Admin, things []thing) error {
			// What is deleted is what was asked about: latest may be newer then.
			var points []wire.Point
			for _, o := range things {
				p, err := admin.Point(cmd.Context(), o.group, o.name)
				if err != nil {
					return err
				}
				points = append(points, p)
			}
			if err := t.confirm(cmd, fmt.Sprintf("%s will be deleted for good: %s.", count(len(points), "recovery point"), pointList(points))); err != nil {
				return err
			}
			return each(points, func(p wire.Point) error {
				if err := admin.DeletePoint(cmd.Context(), p.VMGroup, string(p.ID)); err != nil {
					return err
				}
				return t.done(pointName(p), "Recovery point %s of %s is deleted.", pointName(p), whose(p))
			})
		}),
	}
	which.register(t, cmd)
	return cmd
}

func pointList(points []wire.Point) string {
	var all []string
	for _, p := range points {
		all = append(all, fmt.Sprintf("%s/%s of %s", p.VMGroup, p.Volume, moment(p.Created)))
	}
	return strings.Join(all, ", ")
}
