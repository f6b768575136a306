package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// tool is a program that makes backups of disk.img. A step that it does not
// have returns no usage.
type tool interface {
	// begin makes an empty repository for a round.
	begin(b *testing.B, round int)
	// backup stores the image. changed is a file with what changed since the
	// last backup, "" for the first.
	backup(b *testing.B, changed string) usage
	verify(b *testing.B) usage
	// restore brings the newest backup back, as the file that it returns.
	restore(b *testing.B) (usage, string)
	// end removes what the round made.
	end(b *testing.B)
}

// place is where a tool works: everything below one folder.
type place struct{ dir, source string } // source is the folder of disk.img

func (p *place) image() string        { return filepath.Join(p.source, imageName) }
func (p *place) path(n string) string { return filepath.Join(p.dir, n) }
func (p *place) begin(b *testing.B)   { require.NoError(b, os.MkdirAll(p.path("out"), 0o755)) }
func (p *place) end(b *testing.B)     { require.NoError(b, os.RemoveAll(p.dir)) }
func (p *place) restored() string     { return filepath.Join(p.path("out"), imageName) }
func (p *place) env(e ...string) []string {
	return append(e, "HOME="+p.path("home"), "XDG_CACHE_HOME="+p.path("cache"))
}

const imageName = "disk.img"

// kopiaTool is kopia's own program, with the format that we use.
type kopiaTool struct {
	place
	program string
}

func (k *kopiaTool) do(b *testing.B, args ...string) (usage, string) {
	env := k.env("KOPIA_PASSWORD=secret", "KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_CONFIG_PATH="+k.path("kopia.config"), "KOPIA_LOG_DIR="+k.path("log"))
	return run(b, k.dir, env, append([]string{k.program, "--no-progress"}, args...)...)
}

func (k *kopiaTool) begin(b *testing.B, _ int) {
	k.place.begin(b)
	k.do(b, "repository", "create", "filesystem", "--path="+k.path("repository"), "--cache-directory="+k.path("cache"),
		"--block-hash=BLAKE3-256", "--encryption=AES256-GCM-HMAC-SHA256", "--object-splitter=FIXED-1M")
	k.do(b, "policy", "set", "--global", "--compression=zstd-fastest", "--parallel-upload-above-size-mib=64")
	k.do(b, "maintenance", "set", "--enable-quick=false", "--enable-full=false")
}

func (k *kopiaTool) backup(b *testing.B, _ string) usage {
	u, _ := k.do(b, "snapshot", "create", k.source)
	return u
}

func (k *kopiaTool) newest(b *testing.B) string {
	_, said := k.do(b, "snapshot", "list", "--json", k.source)
	var all []struct {
		ID string `json:"id"`
	}
	require.NoError(b, json.Unmarshal([]byte(said), &all))
	require.NotEmpty(b, all)
	return all[len(all)-1].ID
}

func (k *kopiaTool) verify(b *testing.B) usage {
	u, _ := k.do(b, "snapshot", "verify", "--verify-files-percent=100", k.newest(b))
	return u
}

func (k *kopiaTool) restore(b *testing.B) (usage, string) {
	u, _ := k.do(b, "snapshot", "restore", k.newest(b), k.path("out"), "--write-sparse-files")
	return u, k.restored()
}

func (k *kopiaTool) end(b *testing.B) { k.place.end(b) }

// resticTool is restic. Its check reads the whole repository: there is no
// other way to have the content read back.
type resticTool struct{ place }

func (r *resticTool) do(b *testing.B, args ...string) usage {
	env := r.env("RESTIC_PASSWORD=secret", "RESTIC_REPOSITORY="+r.path("repository"), "RESTIC_CACHE_DIR="+r.path("cache"))
	u, _ := run(b, r.dir, env, append([]string{"restic", "-q"}, args...)...)
	return u
}

func (r *resticTool) begin(b *testing.B, _ int) { r.place.begin(b); r.do(b, "init") }

func (r *resticTool) backup(b *testing.B, _ string) usage { return r.do(b, "backup", r.source) }
func (r *resticTool) verify(b *testing.B) usage           { return r.do(b, "check", "--read-data") }

func (r *resticTool) restore(b *testing.B) (usage, string) {
	return r.do(b, "restore", "latest", "--target", r.path("out")), filepath.Join(r.path("out"), r.image())
}

func (r *resticTool) end(b *testing.B) { r.place.end(b) }

// borgTool is borg with blocks of the size of ours. It verifies by a dry run of
// a restore, which reads what one archive needs.
type borgTool struct {
	place
	n int
}

func (t *borgTool) do(b *testing.B, dir string, args ...string) usage {
	env := t.env("BORG_PASSPHRASE=secret", "BORG_REPO="+t.path("repository"), "BORG_BASE_DIR="+t.path("home"))
	u, _ := run(b, dir, env, append([]string{"borg"}, args...)...)
	return u
}

func (t *borgTool) begin(b *testing.B, _ int) {
	t.place.begin(b)
	require.NoError(b, os.MkdirAll(t.path("home"), 0o700))
	t.n = 0
	t.do(b, t.dir, "init", "-e", "repokey-blake2")
}

func (t *borgTool) archive() string { return fmt.Sprintf("::a%d", t.n) }

func (t *borgTool) backup(b *testing.B, _ string) usage {
	t.n++
	return t.do(b, t.source, "create", "--sparse", "--chunker-params=fixed,1048576", "-C", "zstd,1", t.archive(), imageName)
}

func (t *borgTool) verify(b *testing.B) usage {
	return t.do(b, t.path("out"), "extract", "--dry-run", t.archive())
}

func (t *borgTool) restore(b *testing.B) (usage, string) {
	return t.do(b, t.path("out"), "extract", "--sparse", t.archive()), t.restored()
}

func (t *borgTool) end(b *testing.B) { t.place.end(b) }

// cpTool copies the bytes: the limit of what this machine can do.
type cpTool struct{ place }

func (c *cpTool) do(b *testing.B, args ...string) usage {
	u, _ := run(b, c.dir, nil, args...)
	return u
}

func (c *cpTool) begin(b *testing.B, _ int) { c.place.begin(b) }

func (c *cpTool) backup(b *testing.B, changed string) usage {
	if changed != "" {
		return usage{}
	}
	return c.do(b, "cp", "--sparse=always", "--reflink=never", c.image(), c.path("copy"))
}

func (c *cpTool) verify(b *testing.B) usage { return c.do(b, "cmp", c.path("copy"), c.path("copy.2")) }

func (c *cpTool) restore(b *testing.B) (usage, string) {
	return c.do(b, "cp", "--sparse=always", "--reflink=never", c.path("copy.2"), c.restored()), c.restored()
}

func (c *cpTool) end(b *testing.B) { c.place.end(b) }
