package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// libraryTool is our engine alone, in a process for each step as the peers
// are, on the same file.
type libraryTool struct {
	place
	program string
	n       int
}

func (l *libraryTool) do(b *testing.B, args ...string) usage {
	u, _ := run(b, l.dir, nil, append([]string{l.program, "-state", l.path("state"), "-repository", l.path("repository")}, args...)...)
	return u
}

func (l *libraryTool) begin(b *testing.B, _ int) {
	l.place.begin(b)
	require.NoError(b, os.MkdirAll(l.path("repository"), 0o700))
	l.n = 0
	l.do(b, "create")
}

func (l *libraryTool) backup(b *testing.B, changed string) usage {
	l.n++
	args := []string{"-image", l.image(), "-id", fmt.Sprint(l.n)}
	if changed != "" {
		args = append(args, "-parent", fmt.Sprint(l.n-1), "-changed", changed)
	}
	return l.do(b, append(args, "write")...)
}

func (l *libraryTool) verify(b *testing.B) usage { return l.do(b, "-id", fmt.Sprint(l.n), "verify") }

func (l *libraryTool) restore(b *testing.B) (usage, string) {
	return l.do(b, "-id", fmt.Sprint(l.n), "-image", l.restored(), "restore"), l.restored()
}

func (l *libraryTool) end(b *testing.B) { l.place.end(b) }

// group is the vmgroup whose volumes are backed up.
const group = "bench"

// productTool is what a user has: a volume on a managed datastore, a job of
// mooringd for each step, ordered and waited for by the command line.
type productTool struct {
	d      *harness.Daemon
	store  *harness.Datastore
	dir    string // of repositories
	volume string
	disk   string // the volume's disk
	repo   string
}

func newProduct(b *testing.B, name, size string) *productTool {
	store := lab.Folder(b, name)
	d := lab.Daemon(b, "mooringd-"+name, nil, nil, func(c *harness.Config) { c.Log.Level = "info" })
	dropIn := d.ConfigFile() + ".d/datastore.toml"
	require.NoError(b, os.MkdirAll(filepath.Dir(dropIn), 0o755))
	require.NoError(b, os.WriteFile(dropIn, fmt.Appendf(nil, "[[datastore]]\nname = %q\npath = %q\nsize = %q\n", name, store.Path, size), 0o644))
	d.Start(b)
	b.Cleanup(func() { d.Stop(b) })
	p := &productTool{d: d, store: store, dir: filepath.Join(lab.Dir, "repositories-"+name)}
	p.mooring(b, "vmgroup", "create", group, "--default-datastore="+name)
	return p
}

// mooring runs the command line and measures it.
func (p *productTool) mooring(b *testing.B, args ...string) (usage, string) {
	b.Helper()
	return run(b, "/", nil, append([]string{lab.Bin.Mooring, "--socket", p.d.Config.Admin.Socket, "--yes"}, args...)...)
}

func (p *productTool) job(b *testing.B, args ...string) usage {
	b.Helper()
	u := watch(b, p.d.PID(), func() usage { u, _ := p.mooring(b, args...); return u })
	u.stages = p.stages(b)
	return u
}

// stages are those of the last job.
func (p *productTool) stages(b *testing.B) (all []stage) {
	_, name := p.mooring(b, "job", "ls", "--limit=1", "-o", "name")
	_, said := p.mooring(b, "job", "inspect", strings.TrimSpace(name), "-o", "json")
	var j struct {
		Steps []struct {
			Name         string
			Begun, Ended time.Time
		}
	}
	require.NoError(b, json.Unmarshal([]byte(said), &j), said)
	for _, s := range j.Steps {
		all = append(all, stage{s.Name, s.Ended.Sub(s.Begun)})
	}
	return all
}

// create makes a volume and finds its disk.
func (p *productTool) create(b *testing.B, name, size string) {
	p.mooring(b, "volume", "create", group+"/"+name, "--size="+size)
	p.volume, p.disk = name, p.diskOf(b, name)
}

func (p *productTool) diskOf(b *testing.B, name string) string {
	_, said := p.mooring(b, "volume", "inspect", group+"/"+name, "-o", "json")
	var v struct {
		ID string `json:"id"`
	}
	require.NoError(b, json.Unmarshal([]byte(said), &v), said)
	found, err := filepath.Glob(filepath.Join(p.store.Path, "dockvols", "*", v.ID+".img"))
	require.NoError(b, err)
	require.Len(b, found, 1, "%s", said)
	return found[0]
}

func (p *productTool) begin(b *testing.B, round int) {
	p.repo = fmt.Sprintf("r%d", round)
	p.mooring(b, "repository", "create", group+"/"+p.repo, "--type=directory", "--path="+filepath.Join(p.dir, p.repo))
}

func (p *productTool) backup(b *testing.B, _ string) usage {
	return p.job(b, "backup", "run", group+"/"+p.volume, "--repository="+p.repo)
}

func (p *productTool) verify(b *testing.B) usage {
	return p.job(b, "backup", "verify", group+"/"+p.volume+"@latest")
}

func (p *productTool) restore(b *testing.B) (usage, string) {
	u := p.job(b, "backup", "restore", group+"/"+p.volume+"@latest", "--name=back")
	return u, p.diskOf(b, "back")
}

func (p *productTool) end(b *testing.B) {
	p.mooring(b, "volume", "rm", group+"/back")
	p.mooring(b, "repository", "detach", group+"/"+p.repo)
	require.NoError(b, os.RemoveAll(filepath.Join(p.dir, p.repo)))
}
