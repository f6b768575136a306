package kit_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/hostsvc/internal/repository"
)

// kopiaDir holds the standard kopia program.
func kopiaDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../../.cache/bin")
	require.NoError(t, err)
	require.FileExists(t, dir+"/kopia", "run make peers")
	return dir
}

// commands are the lines of a kit that a shell runs.
func commands(text string) (out []string) {
	_, text, _ = strings.Cut(text, "HOW TO RESTORE WITHOUT MOORING")
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "  "); ok {
			out = append(out, rest)
		}
	}
	return out
}

// What a kit tells to do without Mooring is what the standard program
// understands, and it restores.
func TestStockKopiaDoesWhatTheKitSays(t *testing.T) {
	dir := kopiaDir(t)
	home := t.TempDir()
	run := func(command string) string {
		t.Helper()
		c := exec.Command("sh", "-ec", command)
		c.Dir = home
		c.Env = []string{"HOME=" + home, "PATH=" + dir + ":" + os.Getenv("PATH"), "KOPIA_PASSWORD=" + key, "KOPIA_CHECK_FOR_UPDATES=false"}
		out, err := c.CombinedOutput()
		require.NoError(t, err, "%s\n%s", command, out)
		return string(out)
	}
	k := samples["directory"]
	k.Location.Path = home + "/it's here"
	require.NoError(t, os.Mkdir(k.Location.Path, 0o700))
	require.NoError(t, os.Mkdir(home+"/src", 0o700))
	require.NoError(t, os.WriteFile(home+"/src/disk.img", []byte("content"), 0o600))
	run(`kopia repository create filesystem --path="$HOME/it's here" && kopia snapshot create src && kopia repository disconnect`)

	lines := commands(kit.Render(k))
	require.Len(t, lines, 4)
	run(lines[0])
	id := regexp.MustCompile(`\bk[0-9a-f]{32,}`).FindString(run(lines[1]))
	require.NotEmpty(t, id)
	run(strings.NewReplacer("OBJECT-ID", id, "FOLDER", "out").Replace(lines[2]))
	b, err := os.ReadFile(home + "/out/disk.img")
	require.NoError(t, err)
	assert.Equal(t, "content", string(b))
	run(lines[3])
}

func TestStockKopiaKnowsTheFlags(t *testing.T) {
	dir := kopiaDir(t)
	for name, k := range samples {
		for _, line := range commands(kit.Render(k)) {
			words := regexp.MustCompile(`^kopia( [a-z0-9]+)+`).FindString(line)
			if words == "" {
				continue
			}
			help, err := exec.Command(dir+"/kopia", append(strings.Fields(words)[1:], "--help")...).CombinedOutput()
			require.NoError(t, err, string(help))
			for _, flag := range regexp.MustCompile(` (--[a-z-]+)`).FindAllStringSubmatch(line, -1) {
				assert.Regexp(t, regexp.MustCompile(`(\s--|\])`+strings.TrimPrefix(flag[1], "--")+`(=|\s)`), string(help), "%s: %s", name, line)
			}
		}
	}
}

// The commands of Mooring that a kit names exist, with their flags.
func TestMooringKnowsTheCommands(t *testing.T) {
	for name, k := range samples {
		n := 0
		for _, m := range regexp.MustCompile(`(?m)^  mooring ([a-z]+) ([a-z]+) (.*)$`).FindAllStringSubmatch(kit.Render(k), -1) {
			n++
			page, err := os.ReadFile("../../../../docs/cli/mooring_" + m[1] + "_" + m[2] + ".md")
			require.NoError(t, err, name)
			for _, flag := range regexp.MustCompile(`--[a-z-]+`).FindAllString(m[3], -1) {
				assert.Regexp(t, `(?m)^ +`+flag+` `, string(page), "%s: %s", name, m[0])
			}
		}
		assert.Equal(t, 4, n)
	}
}

// The line that takes the private key out of a saved kit does.
func TestThePrivateKeyComesOut(t *testing.T) {
	dir := t.TempDir()
	k := samples["sftp"]
	text := kit.Render(k)
	require.NoError(t, os.WriteFile(dir+"/kit.txt", []byte(text), 0o600))
	for _, line := range commands(text) {
		if strings.Contains(line, "sed") {
			c := exec.Command("sh", "-ec", line)
			c.Dir = dir
			out, err := c.CombinedOutput()
			require.NoError(t, err, string(out))
		}
	}
	b, err := os.ReadFile(dir + "/ssh.key")
	require.NoError(t, err)
	assert.Equal(t, k.Credentials.PrivateKey, strings.TrimSuffix(string(b), "\n"))
	st, err := os.Stat(dir + "/ssh.key")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	k.Credentials = repository.Credentials{}
	assert.NotContains(t, kit.Render(k), "sed")
}
