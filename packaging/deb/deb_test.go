// Package deb_test builds the Debian packages and installs them into a root
// of its own, where busybox is the only system and nothing is systemd.
package deb_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return string(out)
}

// packages are the two files by name, built once.
var packages = sync.OnceValues(func() (map[string]string, error) {
	dir, err := os.MkdirTemp("", "mooring-deb-test-*")
	if err != nil {
		return nil, err
	}
	remove = func() { _ = os.RemoveAll(dir) }
	if out, err := exec.Command("./build.sh", dir, "v1.2-3-gabc").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build.sh: %w\n%s", err, out)
	}
	found := map[string]string{}
	for _, name := range []string{"mooring", "mooring-plugin"} {
		files, err := filepath.Glob(dir + "/" + name + "_1.2+3+gabc_*.deb")
		if err != nil || len(files) != 1 {
			return nil, fmt.Errorf("%s: %v %w", name, files, err)
		}
		found[name] = files[0]
	}
	return found, nil
})

var remove = func() {}

func TestMain(m *testing.M) {
	m.Run() // the exit code is kept in m
	remove()
}

// newRoot makes a root folder with busybox and a package database. groupadd
// and systemctl in it only write down that they were called.
func newRoot(t *testing.T) string {
	t.Helper()
	require.Zero(t, os.Geteuid(), "this test installs packages into a folder with chroot: run it as root")
	root := t.TempDir()
	for _, dir := range []string{"bin", "etc", "tmp", "dev", "run", "usr/bin", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	for _, file := range []string{"var/lib/dpkg/status", "var/lib/dpkg/available", "etc/passwd", "etc/group"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, file), nil, 0o644))
	}
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err, "install busybox-static")
	run(t, "cp", busybox, root+"/bin/busybox")
	run(t, "chroot", root, "/bin/busybox", "--install", "-s", "/bin")
	script(t, root+"/usr/bin/getent", `grep "^$2:" "/etc/$1"`)
	script(t, root+"/usr/bin/groupadd", `echo "$2:x:999:" >>/etc/group`)
	script(t, root+"/usr/bin/systemctl", `echo "systemctl $*" >>/called`)
	script(t, root+"/usr/bin/deb-systemd-invoke", `echo "deb-systemd-invoke $*" >>/called`)
	script(t, root+"/usr/bin/deb-systemd-helper", `echo "deb-systemd-helper $*" >>/helper`)
	return root
}

func script(t *testing.T, path, body string) {
	t.Helper()
	_ = os.Remove(path)
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755))
}

func dpkg(t *testing.T, root string, args ...string) string {
	t.Helper()
	cmd := exec.Command("dpkg", append([]string{"--root=" + root, "--force-depends", "--force-bad-path"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH=/usr/bin:/bin:/usr/sbin:/sbin")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "dpkg %v\n%s", args, out)
	return string(out)
}

func TestPackages(t *testing.T) {
	debs, err := packages()
	require.NoError(t, err)
	root := newRoot(t)
	at := func(path string) string { return filepath.Join(root, path) }
	words := dpkg(t, root, "-i", debs["mooring"], debs["mooring-plugin"])
	assert.Contains(t, words, "first administrator: mooringd init")

	for path, mode := range map[string]os.FileMode{
		"usr/bin/mooringd": 0o755, "usr/bin/mooring": 0o755, "usr/bin/mooring-plugin": 0o755, "usr/sbin/mooring-plugin-load": 0o755,
		"lib/systemd/system/mooringd.service": 0o644, "lib/systemd/system/mooring-plugin.service": 0o644,
		"usr/lib/sysusers.d/mooring.conf": 0o644, "etc/mooring/mooring.toml": 0o644, "etc/default/mooring-plugin": 0o644,
		"usr/share/man/man8/mooringd.8.gz": 0o644, "usr/share/man/man1/mooring.1.gz": 0o644, "usr/share/man/man8/mooring-plugin-load.8.gz": 0o644,
		"usr/share/bash-completion/completions/mooring": 0o644, "usr/share/zsh/vendor-completions/_mooring": 0o644,
		"usr/lib/mooring/plugin/config.json": 0o644, "usr/lib/mooring/plugin/rootfs/bin/mooring-plugin": 0o755,
		"usr/share/doc/mooring/examples/single-host.toml": 0o644,
	} {
		st, err := os.Stat(at(path))
		if assert.NoError(t, err) {
			assert.Equal(t, mode, st.Mode().Perm(), path)
			assert.NotZero(t, st.Size(), path)
		}
	}
	assert.Contains(t, run(t, "chroot", root, "/usr/bin/mooringd", "--version"), "v1.2-3-gabc")
	assert.Contains(t, run(t, "chroot", root, "/usr/bin/mooring", "version"), "v1.2-3-gabc")
	assert.Contains(t, run(t, "chroot", root, "/usr/bin/mooring-plugin", "--version"), "v1.2-3-gabc")

	// The packaged configuration is valid as installed: its group was made, its
	// datastore is there.
	run(t, "chroot", root, "/usr/bin/mooringd", "--check")
	made := run(t, "chroot", root, "/usr/bin/mooringd", "init")
	assert.Contains(t, made, "User admin is the first administrator.")
	assert.Contains(t, made, "not shown again")
	show := run(t, "chroot", root, "/usr/bin/mooring", "config", "show")
	paths := regexp.MustCompile(`(?m)^path = "(/.*volumes.*)"$`).FindAllStringSubmatch(show, -1)
	require.NotEmpty(t, paths, show)
	assert.Regexp(t, `(?s)\[https\]\nlisten = ":8443"`, show, "the portal is there")
	for _, m := range paths {
		assert.DirExists(t, at(m[1]))
	}
	assert.NoFileExists(t, at("called"), "something was started without systemd")

	// Configuration and volumes are the user's.
	require.NoError(t, os.WriteFile(at("etc/mooring/mooring.toml"), []byte("# mine\n"), 0o644))
	require.NoError(t, os.WriteFile(at("var/lib/mooring/volumes/data"), []byte("data"), 0o600))
	assert.NotContains(t, dpkg(t, root, "--force-confold", "-i", debs["mooring"]), "mooringd init", "it was installed before")
	b, err := os.ReadFile(at("etc/mooring/mooring.toml"))
	require.NoError(t, err)
	assert.Equal(t, "# mine\n", string(b))
	dpkg(t, root, "--purge", "mooring", "mooring-plugin")
	assert.NoDirExists(t, at("etc/mooring"))
	assert.NoFileExists(t, at("usr/bin/mooringd"))
	assert.NoDirExists(t, at("usr/lib/mooring"))
	assert.FileExists(t, at("var/lib/mooring/volumes/data"))
}

// Where systemd runs, an installation enables and starts the service, an
// upgrade restarts it, a removal stops it.
func TestPackagesUnderSystemd(t *testing.T) {
	debs, err := packages()
	require.NoError(t, err)
	root := newRoot(t)
	require.NoError(t, os.MkdirAll(root+"/run/systemd/system", 0o755))
	calls := func() string {
		b, err := os.ReadFile(root + "/called")
		require.NoError(t, err)
		require.NoError(t, os.Remove(root+"/called"))
		return string(b)
	}
	dpkg(t, root, "-i", debs["mooring"])
	assert.Equal(t, "systemctl --system daemon-reload\ndeb-systemd-invoke start mooringd.service\n", calls())
	helper, err := os.ReadFile(root + "/helper")
	require.NoError(t, err)
	assert.Contains(t, string(helper), "enable mooringd.service")
	dpkg(t, root, "-i", debs["mooring"])
	assert.Equal(t, "systemctl --system daemon-reload\ndeb-systemd-invoke restart mooringd.service\n", calls())
	dpkg(t, root, "--remove", "mooring")
	assert.Equal(t, "deb-systemd-invoke stop mooringd.service\nsystemctl --system daemon-reload\n", calls())
}

// What systemd itself can say of the units: nothing but that the programs are
// not installed on this machine.
func TestUnits(t *testing.T) {
	for _, unit := range []string{"mooringd", "mooring-plugin"} {
		out, _ := exec.Command("systemd-analyze", "verify", "--man=no", "../systemd/"+unit+".service").CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if !strings.Contains(line, "is not executable: No such file or directory") {
				t.Error(strings.TrimSpace(line))
			}
		}
	}
}
