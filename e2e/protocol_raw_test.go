package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Items of TestPluginProtocol for which the engine is not asked: it would not
// send such requests, or not in this order.

// raw asks the plugin itself and returns its error text, "" for none.
func (p *protocol) raw(t *testing.T, call, body string) (text string, broken bool) {
	t.Helper()
	_, answer, err := ask(t.Context(), p.g.ownSocket(), "/VolumeDriver."+call, []byte(body))
	if err != nil {
		return "", true
	}
	var reply struct{ Err string }
	require.NoError(t, json.Unmarshal([]byte(answer), &reply), "%s answers %q", call, answer)
	return reply.Err, false
}

func nonsense(t *testing.T, p *protocol) {
	pid := p.g.PluginPID(t.Context())
	for _, call := range []string{"Create", "Remove", "Mount", "Unmount"} {
		text, broken := p.raw(t, call, "")
		require.False(t, broken, call)
		require.Contains(t, text, restarted, call)
	}
	for _, call := range []string{"Get", "Path"} { // an error would make the engine forget
		_, broken := p.raw(t, call, "")
		require.True(t, broken, call)
	}
	for _, call := range []string{"List", "Capabilities"} {
		text, broken := p.raw(t, call, "")
		require.False(t, broken, call)
		require.Empty(t, text, call)
	}
	for _, body := range []string{"{", "[]", "7", `"x"`, "null", "{}", `{"Name":7}`, `{"Name":{"a":"b"}}`, `{"Opts":[]}`, strings.Repeat("x", 2<<20), "\x00\xff"} {
		for _, call := range []string{"Create", "Remove", "Mount", "Unmount", "Get", "Path"} {
			if text, broken := p.raw(t, call, body); text == "" && !broken {
				t.Errorf("%s with %.20q succeeds", call, body)
			}
		}
	}
	require.Equal(t, pid, p.g.PluginPID(t.Context()), "the same process still serves")
}

func hostileNames(t *testing.T, p *protocol) {
	before := tree(t, filepath.Join(p.g.Disk(), rootName))
	names := []string{
		"", " ", ".", "..", ".state", "/", "/etc/passwd", "../../etc/x", "a/b", `a\b`, "a/../b", "v@", "@v", "@", "a@b@c",
		"v@../../etc", "a\x00b", "a\nb", "\x1b[2J", strings.Repeat("n", 257), strings.Repeat("ü", 200), "\xff\xfe", "%2e%2e%2f", "-", "--help", "$(id)", "`id`", "; id",
	}
	valid := map[string]bool{}
	for _, name := range names {
		body, err := json.Marshal(map[string]any{"Name": name, "ID": "hostile", "Opts": map[string]string{"size": "16mb"}})
		require.NoError(t, err)
		text, broken := p.raw(t, "Create", string(body))
		require.False(t, broken, "%q", name)
		valid[name] = text == ""
		for _, call := range []string{"Get", "Path", "Mount", "Unmount"} {
			text, broken := p.raw(t, call, string(body))
			require.False(t, broken, "%s of %q", call, name)
			if call != "Unmount" && !valid[name] {
				require.NotEmpty(t, text, "%s of %q", call, name)
			}
		}
		p.raw(t, "Unmount", string(body))
	}
	for _, name := range []string{"", ".", "..", "/", "/etc/passwd", "../../etc/x", "a/b", `a\b`, "a/../b", "@v", "a@b@c", "v@../../etc", "a\x00b", "a\nb", "\x1b[2J", strings.Repeat("n", 257)} {
		require.False(t, valid[name], "%q is no name of a volume", name)
	}
	for name, is := range valid {
		if is {
			body, err := json.Marshal(map[string]any{"Name": name})
			require.NoError(t, err)
			text, broken := p.raw(t, "Remove", string(body))
			require.False(t, broken)
			require.Empty(t, text, "%q", name)
		}
	}
	require.Equal(t, before, tree(t, filepath.Join(p.g.Disk(), rootName)), "nothing appears below the mount root")
	require.NoFileExists(t, filepath.Join(p.g.Disk(), "etc"))
}

// tree lists what is below a folder, without the plugin's own state.
func tree(t *testing.T, dir string) (found []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == ".state" {
			return filepath.SkipDir
		}
		found = append(found, path)
		return err
	}))
	return found
}

// No container stands behind these uses: reconciliation must not be quick.
func usesCounted(t *testing.T, p *protocol) {
	p.g.restart(t, "MOORING_RECONCILE=10m")
	defer p.g.restart(t)
	use := func(call, id string) {
		t.Helper()
		text, broken := p.raw(t, call, fmt.Sprintf(`{"Name":"data","ID":%q}`, id))
		require.False(t, broken)
		require.Empty(t, text)
	}
	held := func(is bool) {
		t.Helper()
		require.Equal(t, is, p.volume(t, "data").AttachedTo == "p1")
	}
	create(t, p.g.Guest, "data", "size=16mb")
	use("Unmount", "never seen")
	use("Mount", "a")
	use("Mount", "a") // an engine that crashed mounts again with the old id
	use("Mount", "b")
	use("Unmount", "never seen")
	use("Unmount", "b")
	use("Unmount", "b")
	held(true)
	use("Unmount", "a")
	held(true)
	use("Unmount", "a")
	held(false)
	use("Unmount", "a")
	held(false)

	use("Mount", "before")
	p.g.restart(t, "MOORING_RECONCILE=10m")
	held(true)
	use("Mount", "after")
	use("Unmount", "before")
	held(true)
	use("Unmount", "after")
	held(false)

	use("Mount", "stale")
	remove(t, p.g.Guest, "data") // no container has it, whatever was counted
}
