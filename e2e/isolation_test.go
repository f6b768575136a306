package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	others = "zzothers" // the vmgroup of guest p2
	nobody = "xxxx"     // a name that exists nowhere, as long as those below
)

// Whatever a VM asks Docker about names that another vmgroup has, the answers
// are those for names that nobody has, byte for byte; and nothing of others
// appears in listings, errors, the plugin's log and its files.
func TestOthersAreInvisible(t *testing.T) {
	both := plains(t, "p1", "p2")
	g, h := both[0], both[1]
	g.throughRelay(t)
	r := newRig(t, "isolation", lab.Folder(t, own("isolation")), both, lab.Bin, func(c *harness.Config) { c.Volume.TrashKeep = "1h" })
	r.secede(t, h)
	seen := watch(t, g)

	// One for each state in which a volume can be.
	for _, n := range []string{"frmt", "used", "snap", "gone", "prot", "hidn"} {
		create(t, h.Guest, n, "size=16mb")
	}
	sh(t, h.Guest, "frmt", write).OK(t)
	keep(t, h.Guest, "user", "used")
	_, err := r.admin.CreateSnapshot(t.Context(), others, "snap", wire.CreateSnapshot{Name: "monday"})
	require.NoError(t, err)
	remove(t, h.Guest, "gone")
	yes := true
	_, err = r.admin.SetVolume(t.Context(), others, "prot", wire.SetVolume{Protect: &yes})
	require.NoError(t, err)

	for _, verb := range verbs {
		want := verb.do(t, r, nobody)
		for _, n := range []string{"frmt", "used", "snap", "gone", "prot"} {
			require.Equal(t, want, verb.do(t, r, n), "%s of a volume of others (%s)", verb.name, n)
		}
	}
	require.Empty(t, listed(t, g.Guest))

	// Its own volumes of the same names are its own.
	create(t, g.Guest, "used", "size=16mb")
	sh(t, g.Guest, "used", "test ! -e /vol/log; "+write).OK(t)
	h.Docker(t.Context(), "exec", "user", "sh", "-c", "test ! -e /vol/f && test -s /vol/log").OK(t)
	require.Equal(t, []string{"used@" + r.ds.Name}, listed(t, g.Guest))

	theirs, err := r.admin.Volumes(t.Context(), hostclient.VolumesQuery{VMGroup: others, State: "all"})
	require.NoError(t, err)
	require.Len(t, theirs.Volumes, 6)
	text := seen()
	require.NotEmpty(t, text)
	secrets := []string{"hidn", others, "monday", `\bp2\b`}
	for _, v := range theirs.Volumes {
		secrets = append(secrets, string(v.ID))
		if v.Serial != "" { // it was attached once
			secrets = append(secrets, v.Serial)
		}
	}
	for _, s := range secrets {
		require.NotRegexp(t, s, text, "%s is nothing of p1's business", s)
	}
	drop(t, h.Guest, "user")
	no := false
	_, err = r.admin.SetVolume(t.Context(), others, "prot", wire.SetVolume{Protect: &no})
	require.NoError(t, err)
}

// secede moves a guest of the team into a vmgroup of its own.
func (r *rig) secede(t *testing.T, g *plain) {
	t.Helper()
	require.NoError(t, r.admin.RemoveVMs(t.Context(), team, []string{g.Name}))
	_, err := r.admin.CreateVMGroup(t.Context(), wire.CreateVMGroup{Name: others, VMs: []string{g.Name}})
	require.NoError(t, err)
	yes, total := true, volspec.Size(1<<30)
	require.NoError(t, r.admin.AddAccess(t.Context(), others, wire.SetAccess{Datastore: r.ds.Name, AllowCreate: &yes, TotalSize: &total, DefaultDatastore: true}))
}

// verbs are everything that guest p1 can ask about a name. Each leaves
// nothing behind.
var verbs = []struct {
	name string
	do   func(t *testing.T, r *rig, n string) string
}{
	{"inspect", said("volume", "inspect", "%")},
	{"inspect by full name", said("volume", "inspect", "%@isolation")},
	{"inspect on another datastore", said("volume", "inspect", "%@nowhere")},
	{"rm", said("volume", "rm", "%")},
	{"rm by full name", said("volume", "rm", "%@isolation")},
	{"rm -f", said("volume", "rm", "-f", "%")},
	{"ls", said("volume", "ls", "-f", "name=%")},
	{"prune", said("volume", "prune", "-f")},
	{"clone", said("volume", "create", "-d", harness.Driver, "-o", "clone-from=%", "copy")},
	{"clone by full name", said("volume", "create", "-d", harness.Driver, "-o", "clone-from=%@isolation", "copy")},
	{"clone of a snapshot", said("volume", "create", "-d", harness.Driver, "-o", "clone-from=%", "-o", "from-snapshot=monday", "copy")},
	{"create with bad options", said("volume", "create", "-d", harness.Driver, "-o", "size=lots", "%")},
	{"create on another datastore", said("volume", "create", "-d", harness.Driver, "%@nowhere")},
	{"run by full name", said("run", "--rm", "--network=none", "--name", "probe", "-v", "%@nowhere:/vol", "--volume-driver", harness.Driver, harness.Image, "true")},
	{"create, use and rm an own one", func(t *testing.T, r *rig, n string) string {
		out := said("volume", "create", "-d", harness.Driver, "-o", "size=16mb", "%")(t, r, n)
		out += said("volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Status.status}} {{.Status.capacity}}", "%")(t, r, n)
		out += said("run", "--rm", "--network=none", "-v", "%:/vol", harness.Image, "ls", "/vol")(t, r, n)
		r.detached(t, n)
		return out + said("volume", "rm", "%")(t, r, n)
	}},
	{"the plugin's own calls", func(t *testing.T, r *rig, n string) string {
		var out strings.Builder
		for _, call := range []string{"Get", "Path", "Mount", "Unmount", "Remove"} {
			for _, name := range []string{n, n + "@isolation"} {
				status, answer, err := ask(t.Context(), r.guests[0].ownSocket(), "/VolumeDriver."+call, fmt.Appendf(nil, `{"Name":%q,"ID":"x"}`, name))
				require.NoError(t, err)
				fmt.Fprintln(&out, call, status, masked(answer, n))
			}
		}
		return out.String()
	}},
}

// said is what a docker command of guest p1 answers, with the name asked for
// and all that is different each time masked.
func said(args ...string) func(*testing.T, *rig, string) string {
	return func(t *testing.T, r *rig, n string) string {
		t.Helper()
		res := r.guests[0].Docker(t.Context(), named(args, n)...)
		return fmt.Sprintf("%d\n%s\n%s\n", res.Code, masked(res.Stdout, n), masked(res.Stderr, n))
	}
}

var changing = regexp.MustCompile(`request [0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}`)

func masked(s, name string) string {
	return changing.ReplaceAllString(strings.ReplaceAll(s, name, "NAME"), "…")
}

// watch returns a function for all that the guest's logs and the plugin's
// files have from now on.
func watch(t *testing.T, g *plain) func() string {
	t.Helper()
	logs := []string{filepath.Join(filepath.Dir(g.Disk()), "plain-plugin.log"), filepath.Join(filepath.Dir(g.Disk()), "dockerd.log")}
	begin := map[string]int{}
	for _, l := range logs {
		raw, err := os.ReadFile(l)
		require.NoError(t, err)
		begin[l] = len(raw)
	}
	return func() string {
		var out strings.Builder
		for _, l := range logs {
			raw, err := os.ReadFile(l)
			require.NoError(t, err)
			out.Write(raw[begin[l]:])
		}
		files, err := filepath.Glob(filepath.Join(g.Disk(), rootName, ".state", "*"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, f := range files {
			raw, err := os.ReadFile(f)
			require.NoError(t, err)
			out.Write(raw)
		}
		return out.String()
	}
}
