package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// useCase is one command, and what there must be before and after it. n is a
// name of the round's own.
type useCase struct {
	name    string
	prepare func(t *testing.T, r *rig, n string)
	act     func(ctx context.Context, r *rig, n string) harness.Result
	done    string // what the repeated command may say instead of succeeding
	check   func(t *testing.T, r *rig, n string)
}

const (
	write = "echo kept >/vol/f"
	read  = "grep -qx kept /vol/f"
)

// useCases are the commands with steps on the way.
var useCases = []useCase{
	{
		name:  "create",
		act:   docker("volume", "create", "-d", harness.Driver, "-o", "size=16mb", "%"),
		check: func(t *testing.T, r *rig, n string) { require.EqualValues(t, 16<<20, r.volume(t, n).SizeBytes) },
	},
	{
		name:    "clone",
		prepare: func(t *testing.T, r *rig, _ string) { r.base(t) },
		act:     docker("volume", "create", "-d", harness.Driver, "-o", "clone-from=base", "%"),
		check: func(t *testing.T, r *rig, n string) {
			holder(t, r.guests[0], n, read)
			r.guests[0].Docker(t.Context(), "start", n).OK(t)
			r.reads(t, n)
			drop(t, r.guests[0].Guest, n)
		},
	},
	{
		name: "first mount",
		prepare: func(t *testing.T, r *rig, n string) {
			create(t, r.guests[0].Guest, n, "size=16mb")
			holder(t, r.guests[0], n, "test -e /vol/f || "+write)
		},
		act: docker("start", "%"),
		check: func(t *testing.T, r *rig, n string) {
			r.reads(t, n)
			drop(t, r.guests[0].Guest, n)
		},
	},
	{
		name: "second mount",
		prepare: func(t *testing.T, r *rig, _ string) {
			r.base(t)
			r.guests[0].Docker(t.Context(), "stop", "-t", "1", "base").OK(t)
			r.detached(t, "base")
		},
		act: docker("start", "base"),
		check: func(t *testing.T, r *rig, _ string) {
			r.reads(t, "base")
		},
	},
	{
		name: "stop",
		prepare: func(t *testing.T, r *rig, _ string) {
			r.base(t)
			r.guests[0].Docker(t.Context(), "start", "base").OK(t)
		},
		act:   docker("stop", "-t", "1", "base"),
		check: func(t *testing.T, r *rig, _ string) { r.detached(t, "base") },
	},
	{
		name:    "docker volume rm",
		prepare: blank,
		act:     docker("volume", "rm", "%"),
		done:    noSuchVolume,
		check:   trashed,
	},
	{
		name: "purge",
		prepare: func(t *testing.T, r *rig, n string) {
			blank(t, r, n)
			remove(t, r.guests[0].Guest, n)
		},
		act:  mooring("volume", "rm", "--purge", "--yes", team+"/%"),
		done: "not found",
		check: func(t *testing.T, r *rig, n string) {
			_, err := r.admin.Volume(t.Context(), team, n)
			require.Error(t, err)
		},
	},
	{
		name: "undelete",
		prepare: func(t *testing.T, r *rig, n string) {
			blank(t, r, n)
			remove(t, r.guests[0].Guest, n)
		},
		act:  mooring("volume", "undelete", team+"/%"),
		done: "not found in the trash",
		check: func(t *testing.T, r *rig, n string) {
			require.Contains(t, listed(t, r.guests[0].Guest), n+"@"+r.ds.Name)
		},
	},
	{
		name:    "resize",
		prepare: blank,
		act:     mooring("volume", "resize", team+"/%", "24mb"),
		check:   func(t *testing.T, r *rig, n string) { require.EqualValues(t, 24<<20, r.volume(t, n).SizeBytes) },
	},
	{
		name: "resize in use",
		prepare: func(t *testing.T, r *rig, n string) {
			blank(t, r, n)
			holder(t, r.guests[0], n, "test -e /vol/f || "+write)
			r.guests[0].Docker(t.Context(), "start", n).OK(t)
		},
		act: mooring("volume", "resize", team+"/%", "48mb"),
		check: func(t *testing.T, r *rig, n string) {
			// Not every kernel lets a guest grow it while it is mounted.
			r.guests[0].Docker(t.Context(), "restart", "-t", "1", n).OK(t)
			require.NoError(t, harness.Eventually(30*time.Second, func() error {
				if v := r.volume(t, n); v.SizeBytes != 48<<20 || v.FSBytes < 30<<20 {
					return fmt.Errorf("volume of %d bytes, filesystem of %d", v.SizeBytes, v.FSBytes)
				}
				return nil
			}))
			r.reads(t, n)
			drop(t, r.guests[0].Guest, n)
		},
	},
	{
		name:    "snapshot create",
		prepare: blank,
		act:     mooring("volume", "snapshot", "create", team+"/%", "s"),
		done:    "already has a snapshot",
		check:   snapshots(1),
	},
	{
		name: "snapshot rm",
		prepare: func(t *testing.T, r *rig, n string) {
			blank(t, r, n)
			_, err := r.admin.CreateSnapshot(t.Context(), team, n, wire.CreateSnapshot{Name: "s"})
			require.NoError(t, err)
		},
		act:   mooring("volume", "snapshot", "rm", "--yes", team+"/%", "s"),
		done:  "not found",
		check: snapshots(0),
	},
	{
		name: "detach by force",
		prepare: func(t *testing.T, r *rig, n string) {
			blank(t, r, n)
			holder(t, r.guests[0], n, write)
			r.guests[0].Docker(t.Context(), "start", n).OK(t)
		},
		act: mooring("volume", "detach", "--force", "--yes", team+"/%"),
		check: func(t *testing.T, r *rig, n string) {
			drop(t, r.guests[0].Guest, n)
			holder(t, r.guests[0], n, "test -e /vol")
			r.guests[0].Docker(t.Context(), "start", n).OK(t)
			drop(t, r.guests[0].Guest, n)
		},
	},
	{
		name: "vmgroup rm",
		prepare: func(t *testing.T, r *rig, n string) {
			_, err := r.admin.CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: n})
			require.NoError(t, err)
			yes := true
			require.NoError(t, r.admin.AddAccess(t.Context(), n, wire.SetAccess{Datastore: r.ds.Name, AllowCreate: &yes, DefaultDatastore: true}))
			for _, v := range []string{"a", "b"} {
				_, err = r.admin.CreateVolume(t.Context(), n, wire.CreateVolume{Name: v, Options: map[string]string{"size": "16mb"}})
				require.NoError(t, err)
			}
		},
		act:  mooring("vmgroup", "rm", "--name=%", "--force", "--remove-volumes"),
		done: "does not exist",
		check: func(t *testing.T, r *rig, n string) {
			_, err := r.admin.VMGroup(t.Context(), n)
			require.Error(t, err)
		},
	},
}

// docker and mooring are commands; % stands for the round's name.
func docker(args ...string) func(context.Context, *rig, string) harness.Result {
	return func(ctx context.Context, r *rig, n string) harness.Result {
		return r.guests[0].Docker(ctx, named(args, n)...)
	}
}

func mooring(args ...string) func(context.Context, *rig, string) harness.Result {
	return func(ctx context.Context, r *rig, n string) harness.Result { return r.Mooring(ctx, named(args, n)...) }
}

func named(args []string, n string) (out []string) {
	for _, a := range args {
		out = append(out, strings.ReplaceAll(a, "%", n))
	}
	return out
}

func blank(t *testing.T, r *rig, n string) { create(t, r.guests[0].Guest, n, "size=16mb") }

func trashed(t *testing.T, r *rig, n string) {
	require.EqualValues(t, "trashed", r.volume(t, n).State)
}

func snapshots(count int) func(*testing.T, *rig, string) {
	return func(t *testing.T, r *rig, n string) { require.Equal(t, count, r.volume(t, n).Snapshots) }
}

// base makes, once, the volume base with a container of that name and data.
func (r *rig) base(t *testing.T) {
	t.Helper()
	g := r.guests[0]
	if g.Docker(t.Context(), "container", "inspect", "base").Code == 0 {
		return
	}
	create(t, g.Guest, "base", "size=16mb")
	sh(t, g.Guest, "base", write).OK(t)
	holder(t, g, "base", read)
}

// reads checks that the data is in the volume, through the running container.
func (r *rig) reads(t *testing.T, n string) {
	t.Helper()
	require.NoError(t, harness.Eventually(10*time.Second, func() error {
		if res := r.guests[0].Docker(t.Context(), "exec", n, "sh", "-ec", read+"; grep -q ' /vol ' /proc/mounts"); res.Code != 0 {
			return fmt.Errorf("%s", res)
		}
		return nil
	}))
}

// victim is the process that is killed.
type victim struct {
	arm     func(t *testing.T, env string) // start it anew with this setting, "" for none
	running func() bool
	log     string // where it notes the points it passes, as seen from here
	inside  string // the same as it sees it itself
}

func (r *rig) service() victim {
	log := filepath.Join(r.Config.StateDir, "points")
	return victim{
		arm: func(t *testing.T, env string) {
			r.Stop(t)
			r.Env = nil
			if env != "" {
				r.Env = []string{env}
			}
			r.Start(t)
		},
		running: r.Running, log: log, inside: log,
	}
}

func (r *rig) pluginOf(g *plain) victim {
	return victim{
		arm: func(t *testing.T, env string) {
			if g.Running() {
				g.Stop(t)
			}
			if env == "" {
				g.start(t)
				return
			}
			g.start(t, env)
		},
		running: func() bool { return g.Running() }, log: filepath.Join(g.Disk(), "points"), inside: "/srv/points",
	}
}

// mooringd is killed at every step that it records on the way of every
// command. Catalog, disks, loop devices, quota and engine agree afterwards,
// the same command succeeds, and what was written is there.
func TestServiceKilledAtEveryStep(t *testing.T) {
	r := crashRig(t, "steps")
	r.killAtEveryStep(t, r.service(), "volume.", 30, useCases)
}

// The same for the plugin, with the commands that go through it.
func TestPluginKilledAtEveryStep(t *testing.T) {
	r := crashRig(t, "plugin-steps")
	var through []useCase
	for _, u := range useCases {
		if slices.Contains([]string{"create", "first mount", "second mount", "stop", "docker volume rm"}, u.name) {
			through = append(through, u)
		}
	}
	r.killAtEveryStep(t, r.pluginOf(r.guests[0]), "plugin.", 12, through)
}

func crashRig(t *testing.T, name string) *rig {
	t.Helper()
	ds := lab.Filesystem(t, own(name), "btrfs", 4096)
	return newRig(t, name, ds, plains(t, "p1"), lab.CrashBinaries(t), func(c *harness.Config) { c.Volume.TrashKeep = "1h" })
}

// killAtEveryStep finds out which points each use case passes, then dies at
// each. There must be at least so many points with that prefix.
func (r *rig) killAtEveryStep(t *testing.T, v victim, prefix string, atLeast int, cases []useCase) {
	v.arm(t, "MOORING_CRASH_LOG="+v.inside)
	points, count := map[string][]string{}, 0
	for i, u := range cases {
		points[u.name] = r.passed(t, v, u, fmt.Sprintf("look-%d", i))
		for _, p := range points[u.name] {
			if strings.HasPrefix(p, prefix) {
				count++
			}
		}
	}
	v.arm(t, "")
	require.GreaterOrEqual(t, count, atLeast, "%v", points)
	for i, u := range cases {
		require.NotEmpty(t, points[u.name], "steps of %s", u.name)
		for j, p := range points[u.name] {
			t.Run(u.name+"/"+p, func(t *testing.T) { r.killAt(t, v, u, p, fmt.Sprintf("v%d-%d", i, j)) })
			if t.Failed() {
				return // what follows would stand on what failed
			}
		}
	}
}

// passed runs a use case undisturbed and returns the points it passes.
func (r *rig) passed(t *testing.T, v victim, u useCase, n string) []string {
	t.Helper()
	if u.prepare != nil {
		u.prepare(t, r, n)
	}
	require.NoError(t, os.WriteFile(v.log, nil, 0o600))
	u.act(t.Context(), r, n).OK(t)
	raw, err := os.ReadFile(v.log)
	require.NoError(t, err)
	r.settled(t)
	u.check(t, r, n)
	points := strings.Fields(string(raw))
	slices.Sort(points)
	return slices.Compact(points)
}

// killAt lets the victim die at a point of the use case and repeats it.
func (r *rig) killAt(t *testing.T, v victim, u useCase, point, n string) {
	if u.prepare != nil {
		u.prepare(t, r, n)
	}
	v.arm(t, "MOORING_CRASH_AT="+point)
	first := make(chan harness.Result, 1)
	go func() { first <- u.act(t.Context(), r, n) }()
	require.NoError(t, harness.Eventually(30*time.Second, func() error {
		if v.running() {
			return fmt.Errorf("the point %s was not reached", point)
		}
		return nil
	}))
	v.arm(t, "")
	t.Logf("died there, its caller saw: %s", <-first)
	again := step{do: func() harness.Result { return u.act(t.Context(), r, n) }, done: u.done}
	require.NoError(t, harness.Eventually(30*time.Second, again.try))
	r.settled(t)
	u.check(t, r, n)
	r.settled(t)
}

// wedged is what Docker 20.10 says of a container whose processes or folders
// it forgot: it refuses that container until the machine boots again.
var wedged = regexp.MustCompile(`: already exists|file exists|with id exists|id already in use|already in progress`)

// dockerd is killed at random moments of creating a volume and starting a
// container on it. Restarted, the same commands succeed; no use is left
// behind, no local volume appears, and what was written is there.
func TestEngineKilledAtRandom(t *testing.T) {
	r := newRig(t, "engine", lab.Folder(t, own("engine")), plains(t, "p1"), lab.Bin, nil)
	g := r.guests[0]
	random := rand.New(rand.NewPCG(1, 2))
	var all []string
	for i := range 10 {
		n := fmt.Sprintf("e%d", i)
		commands := []step{
			{do: func() harness.Result { return tryCreate(t, g.Guest, n, "size=16mb") }},
			{do: func() harness.Result {
				return g.Docker(t.Context(), "create", "--name", n, "--network=none", "--volume-driver", harness.Driver, "-v", n+":/vol",
					harness.Image, "sh", "-ec", "test -e /vol/f || "+write+"; "+read+"; sync; sleep 1000")
			}, done: "is already in use by container"},
			{do: func() harness.Result { return g.Docker(t.Context(), "start", n) }},
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for _, c := range commands {
				if c.try() != nil {
					return
				}
			}
		}()
		time.Sleep(time.Duration(random.IntN(900)) * time.Millisecond)
		g.KillEngine(t)
		<-ended
		g.StartEngine(t)
		for _, c := range commands {
			require.NoError(t, harness.Eventually(60*time.Second, func() error {
				err := c.try()
				if err != nil && wedged.MatchString(err.Error()) {
					t.Logf("round %d: %v", i, err)
					g.reboot(t)
				}
				return err
			}))
		}
		r.reads(t, n)
		require.Empty(t, g.Docker(t.Context(), "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)
		drop(t, g.Guest, n)
		r.detached(t, n)
		all = append(all, "-v", n+":/vol/"+n)
	}
	g.Docker(t.Context(), append(append([]string{"run", "--rm", "--network=none"}, all...), harness.Image,
		"sh", "-ec", "ls /vol | wc -l | grep -qx 10; for v in /vol/*; do grep -qx kept $v/f; done")...).OK(t)
	r.settled(t)
}
