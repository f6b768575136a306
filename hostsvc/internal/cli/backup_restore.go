package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func (t *tool) backupRestore() *cobra.Command {
	which := aPoint()
	var name string
	var options []string
	var inPlace bool
	var vm wire.RunRestore
	var w waitFlags
	cmd := &cobra.Command{
		Use:   "restore [VMGROUP/]POINT",
		Short: "Bring a recovery point back, as a new volume or VM or in place",
		Long: `Brings a recovery point back as a new volume of the vmgroup. Without --name it is
called like the old one with -restored, and a number if that is taken. Its name is
printed.

With --in-place the content goes back into the volume it is of, which must not be
attached. What the volume holds now is kept as a snapshot. It asks first, and needs
--yes where nobody can be asked.

The point of a VM becomes a new VM of the vmgroup, powered off, with an identity of
its own: called --as, with each disk where it was or all on --datastore. With --disk
only one disk comes back, as a new volume. With --in-place all disks, or --disk, go
back into the VM they are of, which must be powered off; what they hold now is kept
as files.`,
		Example: `  mooring backup restore Dev/db@latest
  mooring backup restore Dev/db@2026-11-24T10:00:00Z --name=db-tuesday -O size=20gb
  mooring backup restore Dev/db@latest --in-place --yes
  mooring backup restore Dev/vm/web01@latest --as=web01-new --datastore=ds2
  mooring backup restore Dev/vm/web01@latest --disk="Hard disk 2" --name=web-data`,
		Args:              args(1, 1, "one recovery point"),
		ValidArgsFunction: first(t.complete(which.points)),
		RunE: t.onThing(&which, func(cmd *cobra.Command, admin Admin, o thing, _ []string) error {
			opts, err := volumeOptions(cmd, options)
			if err != nil {
				return err
			}
			if name == "" {
				name = vm.Name
			}
			if inPlace && (name != "" || len(opts) > 0) {
				return usagef(cmd, "--in-place goes back into the volume itself: leave out --name and --opt")
			}
			p, err := admin.Point(cmd.Context(), o.group, o.name)
			if err != nil {
				return err
			}
			if p.VM != "" {
				vm.Name, vm.Options, vm.InPlace = name, opts, inPlace
				return t.restoreVM(cmd, admin, w, o.group, p, vm)
			}
			if vm.Disk != "" || vm.Datastore != "" || vm.Host != "" {
				return usagef(cmd, "--disk, --datastore and --host are for the recovery point of a VM: leave them out, and write --name=VOLUME@DATASTORE")
			}
			if inPlace {
				return t.restoreInPlace(cmd, admin, w, o.group, p)
			}
			if name == "" {
				if name, err = freeName(cmd.Context(), admin, o.group, p.Volume); err != nil {
					return err
				}
			}
			name, err = inGroupName(cmd, o.group, name)
			if err != nil {
				return err
			}
			j, err := admin.RestorePoint(cmd.Context(), o.group, string(p.ID), wire.RunRestore{Name: name, Options: opts})
			if err != nil {
				return err
			}
			return t.begun(cmd, admin, w, []wire.Job{j}, t.restored(o.group, name))
		}),
	}
	which.register(t, cmd)
	f := cmd.Flags()
	f.StringVar(&name, "name", "", "`name` of the new volume")
	f.StringArrayVarP(&options, "opt", "O", nil, "one option of the new volume as `key=value`, as for 'docker volume create'; may be repeated")
	f.BoolVar(&inPlace, "in-place", false, "put it back into the volume or VM that it is of")
	f.StringVar(&vm.Name, "as", "", "`name` of the new VM")
	f.StringVar(&vm.Disk, "disk", "", "only this `disk` of a VM, by key or label")
	f.StringVar(&vm.Datastore, "datastore", "", "`datastore` of the new VM")
	f.StringVar(&vm.Host, "host", "", "`host` of the new VM, as the hypervisor calls it")
	for _, free := range []string{"as", "disk", "host"} {
		_ = cmd.RegisterFlagCompletionFunc(free, cobra.NoFileCompletions)
	}
	t.completeFlag(cmd, "datastore", datastoreNames)
	_ = cmd.RegisterFlagCompletionFunc("name", cobra.NoFileCompletions)
	_ = cmd.RegisterFlagCompletionFunc("opt", cobra.NoFileCompletions)
	w.register(cmd)
	return cmd
}

// restoreVM brings a VM back, or one disk of it.
func (t *tool) restoreVM(cmd *cobra.Command, admin Admin, w waitFlags, group string, p wire.Point, req wire.RunRestore) error {
	if req.InPlace {
		what := "The disks of"
		if req.Disk != "" || p.Kind != "vm" {
			what = "One disk of"
		}
		err := t.confirm(cmd, fmt.Sprintf("%s VM %s/%s: the content is replaced by that of %s (recovery point %s). The VM must be powered off. What it holds now is kept as files.",
			what, group, p.VM, moment(p.Created), p.ID))
		if err != nil {
			return err
		}
	}
	j, err := admin.RestorePoint(cmd.Context(), group, string(p.ID), req)
	if err != nil {
		return err
	}
	return t.begun(cmd, admin, w, []wire.Job{j}, t.restored(group, strings.TrimPrefix(j.Object, "restore ")))
}

// volumeOptions reads key=value options.
func volumeOptions(cmd *cobra.Command, options []string) (map[string]string, error) {
	for _, o := range options {
		if key, _, ok := strings.Cut(o, "="); !ok || strings.TrimSpace(key) == "" {
			return nil, usagef(cmd, "option %q is not of the form key=value", clean(o, false))
		}
	}
	given := optionFlags{each: options}
	return given.get(cmd)
}

// inGroupName takes the vmgroup off a new volume's name: a restore stays in
// the vmgroup of its point.
func inGroupName(cmd *cobra.Command, group, name string) (string, error) {
	g, rest, ok := strings.Cut(name, "/")
	if !ok {
		return name, nil
	}
	if g != group || rest == "" {
		return "", usagef(cmd, "a restored volume stays in the vmgroup of its recovery point: write %s as VOLUME or %s/VOLUME", clean(name, false), clean(group, false))
	}
	return rest, nil
}

func (t *tool) restoreInPlace(cmd *cobra.Command, admin Admin, w waitFlags, group string, p wire.Point) error {
	volume := group + "/" + p.Volume
	if err := t.confirm(cmd, fmt.Sprintf("The content of volume %s is replaced by that of %s (recovery point %s). What it holds now is kept as a snapshot.",
		volume, moment(p.Created), p.ID)); err != nil {
		return err
	}
	j, err := admin.RestorePoint(cmd.Context(), group, string(p.ID), wire.RunRestore{InPlace: true})
	if err != nil {
		return err
	}
	return t.begun(cmd, admin, w, []wire.Job{j}, t.restored(group, p.Volume))
}

// restored prints the name of a volume that was brought back.
func (t *tool) restored(group, volume string) func([]wire.Job) error {
	return func(jobs []wire.Job) error {
		j := jobs[0]
		if j.State != "done" && j.State != "partial" {
			return nil // the error says it
		}
		if j.Summary != "" && t.format != formatYAML {
			t.talk("%s", j.Summary)
		}
		name := group + "/" + volume
		return t.object(j, name, clean(name, false)+"\n")
	}
}

// tries bounds the search for a free name.
const tries = 1000

// freeName is a name for a restored volume that is not taken, beside the old
// one.
func freeName(ctx context.Context, admin Admin, group, volume string) (string, error) {
	short, datastore, _ := strings.Cut(volume, "@")
	for n := 1; n <= tries; n++ {
		name := short + "-restored"
		if n > 1 {
			name += fmt.Sprintf("-%d", n)
		}
		if datastore != "" {
			name += "@" + datastore
		}
		_, err := admin.Volume(ctx, group, name)
		switch {
		case errkind.Is(err, errkind.NotFound):
			return name, nil
		case err != nil:
			return "", err
		}
	}
	return "", errkind.New(errkind.Exists, "no free name like %s-restored was found: add --name", short)
}
