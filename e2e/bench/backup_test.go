package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The tools that are compared, in the order of the table.
const (
	product = "Mooring, job"
	library = "Mooring, library"
	kopia   = "kopia"
	borg    = "borg"
	restic  = "restic"
	cp      = "cp --sparse"
)

var columns = []string{product, library, kopia, borg, restic, cp}

// The steps of a round.
const (
	full      = "full"
	changed   = "incremental, 1 %"
	unchanged = "unchanged"
	verify    = "verify"
	restore   = "restore"
)

var steps = []string{full, changed, unchanged, verify, restore}

// rounds is how often all tools do all steps, in turn.
const rounds = 3

var (
	// measured holds the usages of each step and tool, one per round.
	measured = map[string]map[string][]usage{}
	// room is how much a tool's restored image takes, as a part of the source's:
	// the most of the rounds.
	room = map[string]float64{}
)

// BenchmarkBackup measures backups of one image, by us and by others.
func BenchmarkBackup(b *testing.B) {
	dir := filepath.Join(lab.Dir, "backup")
	source := filepath.Join(dir, "source")
	require.NoError(b, os.MkdirAll(source, 0o755))
	img := filepath.Join(source, imageName)
	makeImage(b, img)
	at := func(name string) place { return place{dir: filepath.Join(dir, name), source: source} }
	size := imageMiB(b)
	ours := newProduct(b, "backup", fmt.Sprintf("%dmb", max(1024, size*8)))
	ours.create(b, "disk", fmt.Sprintf("%dmb", size*2))
	run(b, "/", nil, "cp", "--sparse=always", img, ours.disk)
	tools := map[string]tool{
		product: ours, library: &libraryTool{place: at("library"), program: buildStep(b)},
		kopia: &kopiaTool{place: at("kopia"), program: filepath.Join(lab.Bin.Root, ".cache/bin/kopia")}, borg: &borgTool{place: at("borg")},
		restic: &resticTool{place: at("restic")}, cp: &cpTool{place: at("cp")},
	}
	for _, s := range steps {
		measured[s] = map[string][]usage{}
	}
	for b.Loop() {
		for i := range rounds {
			round(b, i, tools, img, ours.disk)
		}
	}
	judge(b)
}

// round lets all tools do all steps. Who begins changes with the round.
func round(b *testing.B, n int, tools map[string]tool, img, disk string) {
	order := slices.Concat(columns[n%len(columns):], columns[:n%len(columns)])
	for _, name := range order {
		tools[name].begin(b, n)
	}
	ranges := filepath.Join(filepath.Dir(filepath.Dir(img)), "changed")
	each := func(step string, f func(tool) usage) {
		for _, name := range order {
			run(b, "/", nil, "sync") // nobody pays for what another wrote
			warm(b, img)
			if u := f(tools[name]); u.wall > 0 {
				measured[step][name] = append(measured[step][name], u)
				b.Logf("round %d, %s, %s: %s", n, step, name, u)
			}
		}
	}
	each(full, func(t tool) usage { return t.backup(b, "") })
	all := changes(b, img, uint64(n+1))
	apply(b, img, all)
	apply(b, disk, all)
	note(b, ranges, all)
	each(changed, func(t tool) usage { return t.backup(b, ranges) })
	// A disk in use is touched all the time: nobody may go by its time alone.
	require.NoError(b, os.Chtimes(img, time.Now(), time.Now()))
	note(b, ranges, nil)
	each(unchanged, func(t tool) usage { return t.backup(b, ranges) })
	copied := tools[cp].(*cpTool)
	run(b, "/", nil, "cp", "--sparse=always", img, copied.path("copy"))
	run(b, "/", nil, "cp", "--sparse=always", img, copied.path("copy.2"))
	each(verify, func(t tool) usage { return t.verify(b) })
	each(restore, func(t tool) usage { return back(b, t, tools, img) })
	for _, name := range order {
		tools[name].end(b)
	}
}

// back lets a tool restore, and compares what came.
func back(b *testing.B, t tool, tools map[string]tool, img string) usage {
	u, path := t.restore(b)
	took := same(b, path, img)
	for name := range tools {
		if tools[name] == t {
			room[name] = max(room[name], took)
		}
	}
	return u
}

// BenchmarkIdleTerabyte backs a sparse volume of 1 TiB up that has not changed.
func BenchmarkIdleTerabyte(b *testing.B) {
	p := newProduct(b, "idle", "8gb")
	p.create(b, "disk", "1024gb")
	f, err := os.OpenFile(p.disk, os.O_WRONLY, 0)
	require.NoError(b, err)
	for i := range int64(256) { // 256 MiB in all, over the whole disk
		_, err := f.WriteAt(fmt.Appendf(nil, "%1048576d", i), i<<32)
		require.NoError(b, err)
	}
	require.NoError(b, errors.Join(f.Sync(), f.Close()))
	p.begin(b, 0)
	first := p.backup(b, "")
	var all []usage
	for b.Loop() {
		for range rounds {
			all = append(all, p.backup(b, ""))
		}
	}
	u := median(all)
	b.Logf("first: %s, unchanged: %s", first, u)
	alone("backup of an unchanged sparse volume of 1 TiB (its first: "+first.String()+")", u.String(), verdict("< 10 s, < 200 MiB", u.wall < 10*time.Second && u.peak < 200*mib))
}

// buildStep builds the program that does one step with the library.
func buildStep(b *testing.B) string {
	out := filepath.Join(lab.Dir, "step")
	cmd := exec.Command("go", "build", "-o", out, "./hostsvc/internal/repository/repositorytest/step")
	cmd.Dir, cmd.Env = lab.Bin.Root, append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", said)
	return out
}
