package cli

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const reference = "../../../docs/cli"

// TestReferenceIsCurrent compares docs/cli with what the commands say of
// themselves; -update writes it anew.
func TestReferenceIsCurrent(t *testing.T) {
	root := (&tool{Options: newSession(world()).opts}).root()
	if *update {
		require.NoError(t, os.RemoveAll(reference))
		require.NoError(t, os.MkdirAll(reference, 0o755))
		require.NoError(t, doc.GenMarkdownTree(root, reference))
	}
	fresh := t.TempDir()
	require.NoError(t, doc.GenMarkdownTree(root, fresh))
	require.Equal(t, files(t, fresh), files(t, reference), "run: go test ./hostsvc/internal/cli -update")
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	require.NoError(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		found[path] = string(text)
		return err
	}))
	return found
}

func walk(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, c := range cmd.Commands() {
		walk(c, do)
	}
}

func TestManPages(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1500000000")
	s := newSession(world())
	dir := filepath.Join(t.TempDir(), "new", "man1")
	require.Equal(t, outcome{}, s.run(t, "man", "--dir", dir))
	pages := files(t, dir)
	commands := 0
	walk((&tool{Options: s.opts}).root(), func(cmd *cobra.Command) {
		page := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		assert.Contains(t, pages, page)
		commands++
	})
	require.Len(t, pages, commands)
	require.Contains(t, pages["mooring-vmgroup-create.1"], `"Jul 2017" "Mooring 1.2.3" "Mooring Manual"`)

	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o600))
	got := s.run(t, "man", filepath.Join(blocked, "man1"))
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "the folder for the pages cannot be made")
}

// TestEveryCommandExplainsItself: a summary, and examples that parse.
func TestEveryCommandExplainsItself(t *testing.T) {
	home := t.TempDir()
	t.Chdir(home)
	for _, name := range []string{"s3.keys", "sftp.keys", "old.kit", "main.key", "jo.password", "operator.password", "oidc.secret", "passphrase"} { // that examples read
		require.NoError(t, os.WriteFile(name, []byte("password = x\n"), 0o600))
	}
	require.NoError(t, os.WriteFile("dev.bundle", []byte("{}"), 0o600))
	examples := 0
	walk((&tool{Options: newSession(world()).opts}).root(), func(cmd *cobra.Command) {
		assert.NotEmpty(t, cmd.Short, cmd.CommandPath())
		assert.NotNil(t, cmd.RunE, cmd.CommandPath())
		for line := range strings.Lines(cmd.Example) {
			line, ok := strings.CutPrefix(strings.TrimSpace(line), "mooring ")
			if !ok {
				continue
			}
			line, _, _ = strings.Cut(line, " >")
			line, _, _ = strings.Cut(line, " | ")
			examples++
			s := newSession(world())
			s.opts.Getenv = func(key string) string { return map[string]string{"HOME": home}[key] }
			got := s.run(t, words(strings.ReplaceAll(line, `"`, "'"))...)
			assert.Zero(t, got.code, "%s: %s", line, got.err)
		}
	})
	require.Greater(t, examples, 10)
}

func TestHelp(t *testing.T) {
	s := newSession(world())
	got := s.run(t, "help", "vmgroup", "create")
	require.Equal(t, outcome{out: got.out}, got)
	require.Contains(t, got.out, "mooring vmgroup create [NAME] [flags]")
	require.Equal(t, got, s.run(t, "vmgroup", "create", "--help"))
}

func TestCompletionScripts(t *testing.T) {
	s := newSession(world())
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := s.run(t, "completion", shell)
		require.Zero(t, got.code)
		require.Contains(t, got.out, "__complete", shell)
	}
	bash := exec.CommandContext(t.Context(), "bash", "-n")
	bash.Stdin = strings.NewReader(s.run(t, "completion", "bash").out)
	out, err := bash.CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestCompletionKnowsNames(t *testing.T) {
	for line, want := range map[string]string{
		"vmgroup rm --name=":                            "_DEFAULT Dev",
		"vmgroup rm --name D":                           "Dev",
		"vmgroup rm ":                                   "_DEFAULT Dev",
		"vmgroup rm Dev ":                               "",
		"vmgroup create ":                               "",
		"vmgroup create --default-datastore s":          "slow",
		"vmgroup vm add --vm-list v":                    "vm1 vm 2",
		"vmgroup vm add --vm-list vm1,":                 "vm1,vm1 vm1,vm 2",
		"vmgroup access add --datastore ":               "fast slow _VM_DS _ALL_DS",
		"vmgroup access set --allow-create ":            "True False",
		"vmgroup folder rm --folder ":                   "/DC0/vm/tenants/dev",
		"vmgroup update --default-datastore f":          "fast",
		"volume ls --vmgroup D":                         "Dev",
		"volume ls --datastore f":                       "fast",
		"volume ls -c volume,attach":                    "volume,attached-to volume,attach-as",
		"volume shortls --vmgroup D":                    "Dev",
		"volume inspect D":                              "Dev/db@fast Dev/logs@slow",
		"volume inspect --vmgroup Dev ":                 "db@fast logs@slow",
		"volume inspect Dev/db ":                        "",
		"volume doctor --volume D":                      "Dev/db@fast Dev/logs@slow",
		"volume rm Dev/db@fast Dev/l":                   "Dev/logs@slow",
		"volume protect _":                              "_DEFAULT/x@fast",
		"volume set ":                                   "Dev/db@fast Dev/logs@slow _DEFAULT/x@fast",
		"volume resize D":                               "Dev/db@fast Dev/logs@slow",
		"volume clone D":                                "Dev/db@fast Dev/logs@slow",
		"volume detach D":                               "Dev/db@fast Dev/logs@slow",
		"volume undelete ":                              "Dev/old@fast",
		"volume undelete --volume ":                     "Dev/old@fast",
		"volume trash ls --vmgroup D":                   "Dev",
		"volume snapshot create D":                      "Dev/db@fast Dev/logs@slow",
		"volume snapshot ls D":                          "Dev/db@fast Dev/logs@slow",
		"volume snapshot rm D":                          "Dev/db@fast Dev/logs@slow",
		"volume snapshot rm Dev/db ":                    "monday",
		"volume snapshot rm --vmgroup Dev --volume db ": "monday",
		"volume snapshot rm Dev/db monday ":             "",
		"datastore scan ":                               "fast slow",
		"audit --vmgroup D":                             "Dev",
		"completion ":                                   "bash zsh fish",
		"vm ls -o ":                                     "table wide json yaml name",
	} {
		s := newSession(world())
		args := strings.Split(line, " ")
		got := s.run(t, append([]string{"__completeNoDesc"}, args...)...)
		require.Zero(t, got.code, line)
		lines := strings.Split(strings.TrimSpace(got.out), "\n")
		assert.Equal(t, want, strings.Join(lines[:len(lines)-1], " "), line)
	}
}

func TestCompletionIsSilentWithoutService(t *testing.T) {
	s := newSession(world())
	s.admin.fail["VMGroups"] = assert.AnError
	got := s.run(t, "__completeNoDesc", "vmgroup", "rm", "")
	require.Equal(t, 0, got.code)
	require.Equal(t, ":4\n", got.out)
}
