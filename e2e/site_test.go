package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// site is the installation that most tests share: one mooringd, the guests
// vm1 and vm2 with the managed plugin, and the datastores ds1 (a folder),
// ds2 (btrfs) and small (ext4, 160 MiB). A test gets it empty and leaves it empty.
type site struct {
	*harness.Daemon
	vc              *harness.VCenter // nil on the local hypervisor
	ds1, ds2, small *harness.Datastore
	vm1, vm2        *harness.Guest
}

var shared *site

// logLines is how much of each log a failed test shows.
const logLines = 60

// newSite makes the site ready for a test and checks at its end that nothing
// is left: no container, volume, file, loop device or block node, and no byte
// beside a volume.
func newSite(t *testing.T) *site {
	t.Helper()
	if shared == nil {
		s := &site{
			ds1: lab.Folder(t, at("site-vcenter", "ds1")), ds2: lab.Filesystem(t, at("site-vcenter", "ds2"), "btrfs", 4096),
			small: lab.Filesystem(t, at("site-vcenter", "small"), "ext4", 160), vm1: lab.NewGuest(t, "vm1"), vm2: lab.NewGuest(t, "vm2"),
		}
		all := append(s.guests(), lab.NewGuest(t, "vm3"))
		s.Daemon = lab.Daemon(t, "site", s.stores(), all, nil)
		if onVSphere {
			s.vc = vcenter(t, "site-vcenter", s.Daemon, s.stores(), all...)
		}
		shared = s
	}
	s := shared
	if !s.Running() {
		s.Start(t)
	}
	for _, g := range s.guests() {
		s.install(t, lab.Guest(t, g.Name))
	}
	t.Cleanup(func() { s.finish(t) })
	return s
}

// pluginSettings make the plugins compare what is mounted with what is used
// often enough for tests, and give a service that is away up before users would.
var pluginSettings = []string{"MOORING_LOG_LEVEL=debug", "MOORING_RECONCILE=2s", "MOORING_TIMEOUT=15s"}

func (s *site) stores() []*harness.Datastore {
	return []*harness.Datastore{s.ds1, s.ds2, s.small}
}

// vm3 boots the third guest, which has no managed plugin, for the length of a
// test.
func (s *site) vm3(t *testing.T) *harness.Guest {
	t.Helper()
	g := lab.Guest(t, "vm3")
	t.Cleanup(func() { g.PowerOff(t) })
	return g
}

func (s *site) guests() []*harness.Guest { return []*harness.Guest{s.vm1, s.vm2} }

// finish checks that the test left nothing; after a failure it says what the
// logs have and clears the site by force, so that the next test can run.
func (s *site) finish(t *testing.T) {
	err := harness.Eventually(15*time.Second, func() error { return s.empty(cleanup()) })
	if err == nil && !t.Failed() {
		return
	}
	if !t.Failed() {
		t.Errorf("the test left something behind: %v", err)
	}
	t.Log(lab.Logs(logLines))
	for _, g := range s.guests() {
		if g.Powered() {
			t.Logf("--- mounts of %s\n%s", g.Name, g.Mounts(cleanup()))
		}
	}
	if err := s.clear(t); err != nil {
		t.Errorf("the site could not be cleared for the next test: %v", err)
	}
}

// empty describes everything that is left of a test.
func (s *site) empty(ctx context.Context) error {
	var errs []error
	note := func(what string, items []string) {
		if len(items) > 0 {
			errs = append(errs, fmt.Errorf("%s: %s", what, strings.Join(items, ", ")))
		}
	}
	for _, g := range s.guests() {
		if g.Powered() && g.EngineRuns() {
			note("containers on "+g.Name, g.Docker(ctx, "ps", "-aq").Lines())
			note("volumes on "+g.Name, g.Docker(ctx, "volume", "ls", "--format", "{{.Driver}} {{.Name}}").Lines())
		}
		stray, err := g.StrayFiles()
		note("files outside a volume on "+g.Name, stray)
		errs = append(errs, err)
	}
	for _, ds := range s.stores() {
		files, err := ds.Files()
		note("files on datastore "+ds.Name, files)
		errs = append(errs, err)
	}
	note("leaks", lab.Leaks())
	if s.Running() {
		note("volumes in the catalog", s.Mooring(ctx, "volume", "ls", "-o", "name").Lines())
		groups := s.Mooring(ctx, "vmgroup", "ls", "-o", "name").Lines()
		if !slices.Equal(groups, []string{"_DEFAULT"}) {
			errs = append(errs, fmt.Errorf("vmgroups: %v instead of _DEFAULT alone", groups))
		}
	}
	return errors.Join(errs...)
}

// clear takes the whole site down and forgets what it knew; the next test
// builds it anew on the same guests.
func (s *site) clear(t *testing.T) error {
	var errs []error
	if err := s.End(); err != nil {
		errs = append(errs, err)
	}
	for _, g := range s.guests() {
		errs = append(errs, g.Wipe())
	}
	if s.vc != nil {
		s.vc.Reset(t)
		for _, g := range append(s.guests(), lab.NewGuest(t, "vm3")) {
			s.vc.Admit(t, g, g.Name, s.ds1)
			errs = append(errs, os.RemoveAll(s.invitation(g)))
		}
		s.vc.Configure(t, s.Daemon)
	} else {
		for _, ds := range s.stores() {
			errs = append(errs, ds.Wipe())
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.Config.StateDir))...)
}

// volumes lists the catalog's volumes with the given short name, of every
// vmgroup.
func (s *site) volumes(t *testing.T) []wire.Volume {
	t.Helper()
	var out []wire.Volume
	require.NoError(t, json.Unmarshal([]byte(s.Mooring(t.Context(), "volume", "ls", "-o", "json").OK(t).Stdout), &out))
	return out
}

// volume is what the admin sees of one volume of _DEFAULT.
func (s *site) volume(t *testing.T, name string) wire.Volume {
	t.Helper()
	return s.volumeIn(t, "_DEFAULT", name)
}

func (s *site) volumeIn(t *testing.T, group, name string) wire.Volume {
	t.Helper()
	return inspected(t, s.Daemon, group, s.full(name))
}

// full is a volume's name with its datastore: the administrator has no VM that
// says where.
func (s *site) full(name string) string {
	if strings.Contains(name, "@") {
		return name
	}
	return name + "@" + s.ds1.Name
}

// inspected is what the admin of a service sees of a volume.
func inspected(t *testing.T, d *harness.Daemon, group, name string) wire.Volume {
	t.Helper()
	var v wire.Volume
	out := d.Mooring(t.Context(), "volume", "inspect", "--vmgroup", group, "--volume", name, "-o", "json").OK(t).Stdout
	require.NoError(t, json.Unmarshal([]byte(out), &v))
	return v
}

// becomesAttached waits until a volume of a service is attached to the VM of
// that name, "" for detached.
func becomesAttached(t *testing.T, d *harness.Daemon, group, name, vm string) {
	t.Helper()
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		if v := inspected(t, d, group, name); v.AttachedTo != vm {
			return fmt.Errorf("volume %s is attached to %q (%s), not to %q", name, v.AttachedTo, v.AttachState, vm)
		}
		return nil
	}))
}

// attachedTo waits until the volume of _DEFAULT is attached to the VM of that
// name, "" for detached.
func (s *site) attachedTo(t *testing.T, name, vm string) {
	t.Helper()
	s.attachedToIn(t, "_DEFAULT", name, vm)
}

func (s *site) attachedToIn(t *testing.T, group, name, vm string) {
	t.Helper()
	becomesAttached(t, s.Daemon, group, s.full(name), vm)
}

// create makes a volume with "docker volume create" on g.
func create(t *testing.T, g *harness.Guest, name string, options ...string) {
	t.Helper()
	tryCreate(t, g, name, options...).OK(t)
}

func tryCreate(t *testing.T, g *harness.Guest, name string, options ...string) harness.Result {
	t.Helper()
	args := []string{"volume", "create", "-d", harness.Driver}
	for _, o := range options {
		args = append(args, "-o", o)
	}
	return g.Docker(t.Context(), append(args, "--name", name)...)
}

// remove removes volumes with "docker volume rm" on g.
func remove(t *testing.T, g *harness.Guest, names ...string) {
	t.Helper()
	g.Docker(t.Context(), append([]string{"volume", "rm", "--"}, names...)...).OK(t)
}

// sh runs a script in a new container on g that has the volume at /vol.
func sh(t *testing.T, g *harness.Guest, volume, script string) harness.Result {
	t.Helper()
	return g.Docker(t.Context(), "run", "--rm", "--network=none", "--volume-driver", harness.Driver, "-v", volume+":/vol", harness.Image, "sh", "-ec", script)
}

// keep starts a container on g that holds the volume at /vol and writes a
// line to /vol/log ten times a second.
func keep(t *testing.T, g *harness.Guest, name, volume string, flags ...string) {
	t.Helper()
	args := append([]string{"run", "-d", "--network=none", "--name", name, "--volume-driver", harness.Driver, "-v", volume + ":/vol"}, flags...)
	g.Docker(t.Context(), append(args, harness.Image, "sh", "-c", "trap 'exit 0' TERM; while :; do echo $(hostname) >>/vol/log || exit 9; sleep 0.1; done")...).OK(t)
}

// drop removes containers at once.
func drop(t *testing.T, g *harness.Guest, names ...string) {
	t.Helper()
	g.Docker(t.Context(), append([]string{"rm", "-f", "-v"}, names...)...).OK(t)
}

// status is the Status of "docker volume inspect".
func status(t *testing.T, g *harness.Guest, name string) map[string]any {
	t.Helper()
	var out map[string]any
	require.NoError(t, json.Unmarshal([]byte(g.Docker(t.Context(), "volume", "inspect", "-f", "{{json .Status}}", "--", name).OK(t).Stdout), &out))
	return out
}

// listed is "docker volume ls -q" on g.
func listed(t *testing.T, g *harness.Guest) []string {
	t.Helper()
	return g.Docker(t.Context(), "volume", "ls", "-q").OK(t).Lines()
}
