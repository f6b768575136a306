package main

import (
	"archive/tar"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestQuote(t *testing.T) {
	for want, words := range map[string][]string{
		"mooring vmgroup ls":                  {"mooring", "vmgroup", "ls"},
		`sh -c "echo 'a b' >/data/f"`:         {"sh", "-c", "echo 'a b' >/data/f"},
		`sh -c 'echo "$HOME"'`:                {"sh", "-c", `echo "$HOME"`},
		`x 'it'\''s $5' ''`:                   {"x", "it's $5", ""},
		"docker volume inspect '{{.Status}}'": {"docker", "volume", "inspect", "{{.Status}}"},
	} {
		assert.Equal(t, want, quote(words))
		if _, err := exec.LookPath("sh"); assert.NoError(t, err) { // as a shell reads it
			out, err := exec.CommandContext(t.Context(), "sh", "-c", `printf '%s\n' `+quote(words)).Output()
			require.NoError(t, err)
			var lines bytes.Buffer
			for _, w := range words {
				lines.WriteString(w + "\n")
			}
			assert.Equal(t, lines.String(), string(out))
		}
	}
}

// A step is only as good as what it demands.
func TestEveryStepOfTheStoryDemandsSomething(t *testing.T) {
	for _, c := range story("mooring.toml", "https://127.0.0.1:8443") {
		for _, s := range c.steps {
			assert.True(t, s.run == nil || len(s.want) > 0 || s.check != nil, "%s: %v", c.title, s.run)
			assert.Contains(t, []string{"", onLocal, onVSphere}, s.only, "%s: %v", c.title, s.run)
		}
	}
}

func TestToldOnAHypervisor(t *testing.T) {
	all := []chapter{
		{"one", []step{{say: "a"}, {say: "b", only: onLocal}, {say: "c", only: onVSphere}}},
		{"two", []step{{say: "d", only: onLocal}}},
	}
	assert.Equal(t, []chapter{{"one", []step{{say: "a"}, {say: "c", only: onVSphere}}}}, told(all, onVSphere))
}

func TestJudge(t *testing.T) {
	s := step{want: []string{"a", "b"}, not: []string{"c"}, check: atLeast(250)}
	assert.NoError(t, s.judge("a b\n/dev/x 276 0 1"))
	assert.ErrorContains(t, s.judge("a\n/dev/x 276"), `lacks "b"`)
	assert.ErrorContains(t, s.judge("a b c\n/dev/x 276"), `contains "c"`)
	assert.ErrorContains(t, s.judge("a b\n/dev/x 96"), "does not have 250 MB")
	assert.Error(t, s.judge("a b\nnothing here"))
}

func TestAnswersThatDifferInTheRequestOnly(t *testing.T) {
	a := `404 {"detail":"Volume a not found","request":"11111111"}`
	assert.Equal(t, `404 {"detail":"Volume a not found",}`, withoutRequest(a))
	assert.Equal(t, "no id", withoutRequest("no id"))
}

// A busybox that is not static needs its libraries in the image.
func TestLibraries(t *testing.T) {
	sh, err := filepath.EvalSymlinks("/bin/sh")
	require.NoError(t, err)
	libs, err := libraries(t.Context(), sh)
	require.NoError(t, err)
	var names []string
	for _, l := range libs {
		assert.FileExists(t, l)
		names = append(names, filepath.Base(l))
	}
	assert.Contains(t, names, "libc.so.6")
	assert.Regexp(t, `ld-linux`, names, "the loader too")
}

func TestImage(t *testing.T) {
	b, err := imageTar(t.Context())
	require.NoError(t, err)
	seen := map[string]byte{}
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		seen[h.Name] = h.Typeflag
	}
	assert.Equal(t, byte(tar.TypeReg), seen["bin/busybox"])
	assert.Equal(t, byte(tar.TypeSymlink), seen["bin/sh"])
	assert.NotContains(t, seen, "data/", "Docker would mount volumes twice")
}

// A pid file whose number belongs to somebody else now stops nobody.
func TestPidOfAStranger(t *testing.T) {
	old := runDir
	defer func() { runDir = old }()
	runDir = t.TempDir()
	s := &site{}
	write := func(text string) { require.NoError(t, os.WriteFile(s.pidFile("mooringd"), []byte(text), 0o600)) }
	for _, text := range []string{"", "1", "-1", "0", "x", strconv.Itoa(os.Getppid())} {
		write(text)
		assert.Zero(t, s.pid("mooringd"), text)
	}
	cmd := exec.CommandContext(t.Context(), "sleep", "60")
	require.NoError(t, cmd.Start())
	write(strconv.Itoa(cmd.Process.Pid))
	assert.Zero(t, s.pid("mooringd"), "not one of the demo's")
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())

	cmd = exec.CommandContext(t.Context(), "tail", "-f", "/dev/null", s.pidFile("mooringd"))
	require.NoError(t, cmd.Start())
	write(strconv.Itoa(cmd.Process.Pid))
	require.Eventually(t, func() bool { return s.pid("mooringd") == cmd.Process.Pid }, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	assert.Zero(t, s.pid("mooringd"), "it has ended")
}

// Passwords are generated, differ, and are root's alone.
func TestInviteAll(t *testing.T) {
	old := homeDir
	defer func() { homeDir = old }()
	homeDir = t.TempDir()
	require.NoError(t, inviteAll())
	seen := map[string]bool{}
	for _, p := range people {
		password, err := p.password()
		require.NoError(t, err)
		assert.GreaterOrEqual(t, len(password), 12, "what the service asks for")
		seen[password] = true
		st, err := os.Stat(p.passwordFile())
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), st.Mode().Perm())
	}
	assert.Len(t, seen, len(people))
	st, err := os.Stat(peopleDir())
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())
}

// The portal moves when somebody else has its port.
func TestFreeDoor(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	taken := l.Addr().String()
	door, err := freeDoor(t.Context(), l.Addr().(*net.TCPAddr).Port)
	require.NoError(t, err)
	assert.NotEqual(t, taken, door)
	assert.True(t, strings.HasPrefix(door, "127.0.0.1:"), door)
}
