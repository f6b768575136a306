package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// rig is an installation of one test's own: a mooringd, a datastore, and
// guests whose engines have the plugin as a plain process, so that service
// and plugin start anew within a moment, with other settings or another
// build. Its guests are in the vmgroup "team", which counts its quota.
type rig struct {
	*harness.Daemon
	vc     *harness.VCenter // nil on the local hypervisor
	admin  *hostclient.Admin
	ds     *harness.Datastore
	guests []*plain
}

// plain is a guest with the plugin as a plain process.
type plain struct {
	*harness.Guest
	*harness.PlainPlugin
	binary   string
	settings []string // of the plugin's next start
	managed  bool     // the engine runs the plugin instead
}

const (
	team     = "team"
	rootName = "vsphere" // the plugin's mount root below the guest's own disk
)

// newRig starts the rig called name on ds with these guests; change may alter
// the service's configuration. At the end of the test everything is removed,
// and must be gone.
func newRig(t *testing.T, name string, ds *harness.Datastore, guests []*plain, bin harness.Binaries, change func(*harness.Config)) *rig {
	t.Helper()
	r := &rig{ds: ds, guests: guests}
	var machines []*harness.Guest
	for _, g := range guests {
		g.binary = bin.Plugin
		machines = append(machines, g.Guest)
	}
	r.Daemon = lab.Daemon(t, name, []*harness.Datastore{ds}, machines, func(c *harness.Config) {
		c.Volume.Reconcile = "1s"
		if change != nil {
			change(c)
		}
	})
	invited := onVSphere && r.Config.Guest == nil // a test with a door of its own invites by itself
	if onVSphere {
		r.findVCenter(t, machines)
	}
	r.Binary = bin.Mooringd
	r.OnSwitch = len(r.Config.Guest) > 0
	r.admin = hostclient.NewAdmin("unix://"+r.Config.Admin.Socket, hostclient.Options{Patience: 10 * time.Second})
	t.Cleanup(func() { r.finish(t) })
	r.Start(t)
	r.team(t)
	for _, g := range r.guests {
		var channel []string
		if invited {
			channel = r.channel(t, g)
		}
		if g.managed {
			g.InstallPlugin(t, slices.Concat(pluginSettings, channel)...)
		} else {
			g.settings = append(g.settings, channel...)
			g.start(t)
		}
		if invited {
			enrolled(t, r.Daemon, g.Name)
		}
	}
	return r
}

// plains are guests of these names, running, without a plugin so far.
func plains(t *testing.T, names ...string) (all []*plain) {
	t.Helper()
	for _, name := range names {
		all = append(all, &plain{Guest: lab.Guest(t, name)})
	}
	return all
}

// team makes the vmgroup of the rig's guests, unless the configuration has it;
// one that another service made in the same catalog gets them too.
func (r *rig) team(t *testing.T) {
	t.Helper()
	if len(r.Config.VMGroups) > 0 {
		return
	}
	var names []string
	for _, g := range r.guests {
		names = append(names, g.Name)
	}
	_, err := r.admin.CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: team, VMs: names})
	if errkind.Is(err, errkind.Exists) {
		require.NoError(t, r.admin.AddVMs(t.Context(), team, names))
		return
	}
	require.NoError(t, err)
	yes, total := true, volspec.Size(1<<40)
	require.NoError(t, r.admin.AddAccess(t.Context(), team, wire.SetAccess{Datastore: r.ds.Name, AllowCreate: &yes, TotalSize: &total, DefaultDatastore: true}))
}

// start starts the guest's plugin with the settings given beside its own.
func (p *plain) start(t *testing.T, settings ...string) {
	t.Helper()
	socket := "/run/docker/plugins/vsphere.sock"
	for _, s := range p.settings {
		if path, ok := strings.CutPrefix(s, "MOORING_SOCKET="); ok {
			socket = path
		}
	}
	p.Exec(t.Context(), "rm", "-f", socket).OK(t) // one that a killed plugin left
	p.PlainPlugin = p.RunPlainPlugin(t, p.binary, slices.Concat(
		[]string{"MOORING_MOUNT_ROOT=/srv/" + rootName, "MOORING_RECONCILE=4s", "MOORING_LOG_LEVEL=debug"}, p.settings, settings)...)
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if r := p.Exec(t.Context(), "test", "-S", socket); r.Code != 0 {
			return errors.New("the plugin does not listen yet")
		}
		return nil
	}))
}

// reboot switches the guest off and on again, the plugin before the engine.
func (p *plain) reboot(t *testing.T) {
	t.Helper()
	p.PowerOff(t)
	p.PowerOn(t)
	p.start(t)
	p.StartEngine(t)
}

// restart ends the plugin as a service manager would and starts it again.
func (p *plain) restart(t *testing.T, settings ...string) {
	t.Helper()
	p.Stop(t)
	p.start(t, settings...)
}

// finish takes the rig apart and checks that nothing is left of it.
func (r *rig) finish(t *testing.T) {
	t.Helper()
	if t.Failed() {
		t.Log(lab.Logs(60))
	}
	ctx := cleanup()
	for _, g := range r.guests {
		if !g.EngineRuns() {
			continue
		}
		if err := g.empty(ctx); err != nil {
			t.Errorf("the containers of %s: %v", g.Name, err)
		}
	}
	if !r.Running() {
		r.Env = nil
		r.Start(t)
	}
	err := harness.Eventually(30*time.Second, func() error {
		groups, err := r.admin.VMGroups(ctx)
		for _, g := range groups {
			err = errors.Join(err, r.forget(ctx, g.Name), r.admin.RemoveVMGroup(ctx, g.Name, true, true))
		}
		return err
	})
	if err == nil {
		err = harness.Eventually(20*time.Second, func() error {
			if leaks := lab.Leaks(); len(leaks) > 0 {
				return fmt.Errorf("leaks: %v", leaks)
			}
			return r.agree(ctx)
		})
	}
	for _, g := range r.guests {
		switch {
		case g.managed:
			if res := g.Docker(ctx, "plugin", "rm", "-f", harness.Driver); res.Code != 0 {
				err = errors.Join(err, fmt.Errorf("%s", res))
			}
		case g.PlainPlugin != nil && g.Running():
			g.Stop(t)
		}
		if strays, serr := g.strays(); serr != nil || len(strays) > 0 {
			err = errors.Join(err, serr, fmt.Errorf("files that missed their volume on %s: %v", g.Name, strays))
		}
	}
	if err != nil {
		t.Errorf("the test left something behind: %v", err)
	}
	err = r.End()
	for _, g := range r.guests {
		g.settings = nil
		err = errors.Join(err, os.RemoveAll(filepath.Join(g.Disk(), rootName, ".state")))
		if t.Failed() {
			err = errors.Join(err, g.Wipe())
		}
	}
	if t.Failed() {
		err = errors.Join(err, r.ds.Wipe())
	}
	if err != nil {
		t.Errorf("the rig could not be taken apart: %v", err)
	}
}

// empty removes all containers. An engine that was killed may refuse at first.
func (p *plain) empty(ctx context.Context) error {
	return harness.Eventually(20*time.Second, func() error {
		r := p.Docker(ctx, "ps", "-aq")
		if ids := r.Lines(); r.Code == 0 && len(ids) > 0 {
			r = p.Docker(ctx, append([]string{"rm", "-f", "-v"}, ids...)...)
		}
		if r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	})
}

// forget detaches the repositories of a vmgroup, with what uses them.
func (r *rig) forget(ctx context.Context, group string) error {
	policies, err := r.admin.Policies(ctx, group)
	errs := []error{err}
	for _, p := range policies {
		errs = append(errs, r.admin.RemovePolicy(ctx, group, p.Name))
	}
	repos, err := r.admin.GroupRepositories(ctx, group)
	errs = append(errs, err)
	for _, x := range repos {
		errs = append(errs, r.admin.DetachRepository(ctx, group, x.Name))
	}
	return errors.Join(errs...)
}

// strays are files below the plugin's mount root that lie in no volume.
func (p *plain) strays() (found []string, err error) {
	root := filepath.Join(p.Disk(), rootName)
	err = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist) || err == nil && path == filepath.Join(root, ".state"):
			return filepath.SkipDir
		case err == nil && !d.IsDir():
			found = append(found, path)
		}
		return err
	})
	return found, err
}

// agree describes everything in which catalog, datastore, loop devices, block
// nodes, quota and engines differ. Nothing may be half done.
func (r *rig) agree(ctx context.Context) error {
	list, err := r.admin.Volumes(ctx, hostclient.VolumesQuery{State: "all"})
	if err != nil {
		return err
	}
	var errs []error
	diff := func(what string, want, have []string) {
		slices.Sort(want)
		slices.Sort(have)
		if !slices.Equal(want, have) {
			errs = append(errs, fmt.Errorf("%s: %v, by the catalog %v", what, have, want))
		}
	}
	var files, attached []string
	kept := r.keeper()
	nodes, names, used := map[string][]string{}, map[string][]string{}, map[string]int64{}
	for _, v := range list.Volumes {
		if v.ViewOf == "" { // what only shows a recovery point has no disk of its own
			used[v.VMGroup] += v.SizeBytes
			files = append(files, kept.disk(v), string(v.ID)+".json")
		}
		if v.State != volspec.Ready && v.State != volspec.Trashed || v.Health != "ok" {
			errs = append(errs, fmt.Errorf("volume %s is %s, %s", v.Name, v.State, v.Health))
		}
		if v.AttachState != "attached" && v.AttachState != "detached" {
			errs = append(errs, fmt.Errorf("volume %s is %s", v.Name, v.AttachState))
		}
		if v.AttachedTo != "" {
			if v.ViewOf == "" {
				attached = append(attached, string(v.ID))
			}
			nodes[v.AttachedTo] = append(nodes[v.AttachedTo], kept.node(v))
		}
		if v.State != volspec.Ready {
			continue
		}
		names[v.VMGroup] = append(names[v.VMGroup], v.Name)
		snaps, err := r.admin.Snapshots(ctx, v.VMGroup, v.Name)
		errs = append(errs, err)
		for _, s := range snaps {
			used[v.VMGroup] += s.Size
			files = append(files, kept.snapshot(v, s))
		}
	}
	on, err := kept.files()
	errs = append(errs, err)
	bases, err := r.bases(ctx, list.Volumes, on, files)
	errs = append(errs, err)
	diff("files on the datastore", append(files, bases...), on)
	plugged, err := kept.plugged(ctx)
	errs = append(errs, err)
	diff("disks with VMs", attached, plugged)
	groups, err := r.admin.VMGroups(ctx)
	errs = append(errs, err)
	groupOf := map[string]string{}
	for _, g := range groups {
		for _, a := range g.Access {
			if a.Datastore == r.ds.Name && a.UsedBytes != used[g.Name] {
				errs = append(errs, fmt.Errorf("vmgroup %s uses %d bytes by its quota and %d by its volumes", g.Name, a.UsedBytes, used[g.Name]))
			}
		}
		for _, vm := range g.VMs {
			groupOf[vm.Name] = g.Name
		}
	}
	for _, g := range r.guests {
		diff("block nodes of "+g.Name, nodes[g.Name], kept.nodes(g))
		if !g.EngineRuns() || !g.managed && (g.PlainPlugin == nil || !g.Running()) {
			continue
		}
		diff("docker volume ls on "+g.Name, slices.Clone(names[groupOf[g.Name]]), g.Docker(ctx, "volume", "ls", "-q").Lines())
	}
	return errors.Join(errs...)
}

// bases are the files of snapshots that the next backups start from: one at
// most for each volume and repository.
func (r *rig) bases(ctx context.Context, volumes []wire.Volume, on, known []string) (found []string, err error) {
	left := map[string]int{} // how many each volume may have
	repos := map[string]int{}
	for _, v := range volumes {
		n, asked := repos[v.VMGroup]
		if !asked {
			all, e := r.admin.GroupRepositories(ctx, v.VMGroup)
			err = errors.Join(err, e)
			n = len(all)
			repos[v.VMGroup] = n
		}
		left[string(v.ID)] = n
	}
	for _, f := range on {
		id, _, _ := strings.Cut(f, ".")
		if left[id] > 0 && strings.HasSuffix(f, ".snap") && !slices.Contains(known, f) {
			found, left[id] = append(found, f), left[id]-1
		}
	}
	return found, err
}

// settled waits until everything agrees.
func (r *rig) settled(t *testing.T) {
	t.Helper()
	require.NoError(t, harness.Eventually(30*time.Second, func() error { return r.agree(t.Context()) }))
}

// volume is what the admin sees of a volume of the team.
func (r *rig) volume(t *testing.T, name string) wire.Volume {
	t.Helper()
	v, err := r.admin.Volume(t.Context(), team, name)
	require.NoError(t, err)
	return v
}

// detached waits until a volume of the team is attached to nobody.
func (r *rig) detached(t *testing.T, name string) {
	t.Helper()
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if v := r.volume(t, name); v.AttachState != "detached" {
			return fmt.Errorf("volume %s is %s, %s", name, v.AttachState, v.AttachedTo)
		}
		return nil
	}))
}

// image is the file of a volume's disk.
func (r *rig) image(t *testing.T, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.ds.Path, "dockvols", "*", string(r.volume(t, name).ID)+".img"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// holder makes, without starting it, a container of that name that has the
// volume of the same name: it runs script there, then waits for its end.
func holder(t *testing.T, g *plain, name, script string) {
	t.Helper()
	g.Docker(t.Context(), "create", "--name", name, "--network=none", "--volume-driver", harness.Driver, "-v", name+":/vol",
		harness.Image, "sh", "-ec", script+`; sync; trap "exit 0" TERM; sleep 1000 & wait`).OK(t)
}
