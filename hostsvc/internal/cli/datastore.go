package cli

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var datastoreColumns = []column[wire.Datastore]{
	{header: "Name", value: func(d wire.Datastore) string { return d.Name }},
	{header: "Type", value: func(d wire.Datastore) string { return d.Type }},
	{header: "State", value: func(d wire.Datastore) string { return d.State }},
	{header: "Capacity", value: func(d wire.Datastore) string { return volspec.Size(d.Capacity).Short() }},
	{header: "Free", value: func(d wire.Datastore) string { return volspec.Size(d.Free).Short() }},
	{header: "Provisioned", value: func(d wire.Datastore) string { return volspec.Size(d.Allocated).Short() }},
	{header: "Volumes", value: func(d wire.Datastore) string { return strconv.Itoa(d.Volumes) }},
	{header: "Reflink", wide: true, value: func(d wire.Datastore) string { return strconv.FormatBool(d.Reflink) }},
	{header: "Path", wide: true, value: func(d wire.Datastore) string { return d.Path }},
	{header: "Uuid", wide: true, value: func(d wire.Datastore) string { return d.ID }},
	{header: "Detail", wide: true, value: func(d wire.Datastore) string { return d.Detail }},
}

func (t *tool) datastoreCommand() *cobra.Command {
	ls := &cobra.Command{
		Use:   "ls",
		Short: "List datastores",
		Args:  noArgs,
		RunE: t.onService(func(cmd *cobra.Command, admin Admin) error {
			stores, err := admin.Datastores(cmd.Context())
			if err != nil {
				return err
			}
			return list(t, stores, datastoreColumns, func(d wire.Datastore) string { return d.Name })
		}),
	}
	return t.group(&cobra.Command{Use: "datastore", Short: "Show datastores and search them for volumes"}, ls, t.datastoreScan())
}

var scanColumns = []column[wire.ScanItem]{
	{header: "Uuid", value: func(i wire.ScanItem) string { return string(i.ID) }},
	{header: "Volume", value: func(i wire.ScanItem) string { return i.Name }},
	{header: "VMGroup", value: func(i wire.ScanItem) string { return i.Group }},
	{header: "Capacity", value: func(i wire.ScanItem) string { return volspec.Size(i.Size).Short() }},
	{header: "Action", value: func(i wire.ScanItem) string { return i.Action }},
	{header: "Detail", value: func(i wire.ScanItem) string { return i.Detail }},
}

func (t *tool) datastoreScan() *cobra.Command {
	var req wire.Scan
	cmd := &cobra.Command{
		Use:   "scan DATASTORE",
		Short: "Compare the disks on a datastore with the catalog",
		Long: `Compares the disks on a datastore with the catalog and lists each with what is to
be done about it. With --adopt, disks that the catalog does not know are taken
into it again, from the metadata beside them; without, nothing is changed. The
exit code is 3 when a disk could not be adopted.

With --dockvols it also finds the volumes that the vSphere Docker Volume Service
left on the datastore. With --adopt they are taken over: moved by name, without
a copy, with their vmgroup, name and options. A volume that a VM still has is
refused: stop the old service first.`,
		Args:              args(1, 1, "one datastore"),
		ValidArgsFunction: first(t.complete(datastoreNames)),
		RunE: func(cmd *cobra.Command, args []string) error {
			admin, err := t.admin()
			if err != nil {
				return err
			}
			r, err := admin.Scan(cmd.Context(), args[0], req)
			if err != nil {
				return err
			}
			slices.SortStableFunc(r.Items, func(a, b wire.ScanItem) int {
				return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
			})
			if err := list(t, r.Items, scanColumns, func(i wire.ScanItem) string { return string(i.ID) }); err != nil {
				return err
			}
			if n := adoptable(r); n > 0 && !req.Adopt {
				t.talk("%s can be taken into the catalog: add --adopt.", count(n, "disk"))
			}
			return scanOutcome(r, req.Adopt)
		},
	}
	cmd.Flags().BoolVar(&req.Adopt, "adopt", false, "take unknown disks into the catalog")
	cmd.Flags().BoolVar(&req.Dockvols, "dockvols", false, "find volumes of the vSphere Docker Volume Service too")
	return cmd
}

func adoptable(r wire.ScanResult) (n int) {
	for _, i := range r.Items {
		if i.Action == "adoptable" {
			n++
		}
	}
	return n
}

// scanOutcome is an error when an adoption left disks out.
func scanOutcome(r wire.ScanResult, adopt bool) error {
	left := 0
	for _, i := range r.Items {
		switch i.Action {
		case "known", "adopted", "missing":
		default:
			left++
		}
	}
	if !adopt || left == 0 {
		return nil
	}
	err := errkind.New(errkind.Corrupt, "%s of datastore %s could not be adopted: see the details", count(left, "disk"), r.Datastore)
	return &partial{done: len(r.Items), errs: []error{err}}
}
