package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// demoName keeps this test away from a demo that a person plays.
const demoName = "mooring-demo-e2e"

func makeDemo(t *testing.T, target string, variables ...string) harness.Result {
	t.Helper()
	return lab.Run(t, append([]string{"env", "MOORING_DEMO_NAME=" + demoName, "make", "-C", lab.Bin.Root, target}, variables...)...)
}

// The demo checks its own answers; here it is killed in the middle, played
// again to its end, and cleared away without a trace.
func TestDemo(t *testing.T) {
	t.Cleanup(func() { _ = makeDemo(t, "demo-down") }) // when the test failed half-way
	makeDemo(t, "demo-down").OK(t)
	killedDemo(t)

	r := makeDemo(t, "demo").OK(t)
	for _, text := range []string{
		"$ mooring vmgroup create --name=Product1Dev\nvmgroup 'Product1Dev' is created.  Do not forget to run",
		"$ mooring vmgroup rm --name=_DEFAULT\nvmgroup rm succeeded",
		"VolumeDriver.Create: Volume size exceeds the max volume size limit: 2 GiB asked, 1 GiB allowed",
		"VolumeDriver.Create: No create privilege",
		"cat /data/whose\nthe work of Dev\n",
		"cat /data/whose\nthe work of Test\n",
		"Your service is not configured: a repository",
		"The portal: https://127.0.0.1:",
		"every answer checked",
	} {
		assert.Contains(t, r.Stdout, text)
	}
	assert.NotContains(t, r.Stdout, "\x1b", "no colours outside a terminal")

	demoGone(t)
}

// The same story on a simulated vCenter.
func TestVSphereDemo(t *testing.T) {
	t.Cleanup(func() { _ = makeDemo(t, "demo-down") })
	r := makeDemo(t, "demo", "HYPERVISOR=vsphere").OK(t)
	for _, text := range []string{"Hypervisor: vsphere", "cat /data/whose\nthe work of Dev\n", "every answer checked"} {
		assert.Contains(t, r.Stdout, text)
	}
	demoGone(t)
}

// demoGone clears the demo away; nothing of it may be left.
func demoGone(t *testing.T) {
	t.Helper()
	gone := makeDemo(t, "demo-down").OK(t)
	assert.Contains(t, gone.Stdout, "is gone")
	for _, dir := range []string{"/var/lib/", "/run/", "/sys/fs/cgroup/"} {
		left, err := filepath.Glob(dir + demoName + "*")
		require.NoError(t, err)
		assert.Empty(t, left)
	}
	for _, list := range [][]string{{"losetup", "--list", "--output", "BACK-FILE"}, {"cat", "/proc/self/mountinfo"}, {"ps", "-eww", "-o", "args="}} {
		for _, line := range lab.Run(t, list...).OK(t).Lines() {
			assert.NotContains(t, line, "/"+demoName+"/")
		}
	}
	assert.Contains(t, makeDemo(t, "demo-down").OK(t).Stdout, "nothing of the demo")
}

// killedDemo plays the demo until its first container and kills it.
func killedDemo(t *testing.T) {
	t.Helper()
	lab.Run(t, "make", "-C", lab.Bin.Root, "build", "plugin", "bin/mooring-demo").OK(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(lab.Bin.Root, "bin/mooring-demo"), "up")
	cmd.Env = append(os.Environ(), "MOORING_DEMO_NAME="+demoName)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines, found := bufio.NewScanner(out), false
	for !found && lines.Scan() {
		found = strings.HasPrefix(lines.Text(), "$ docker run")
	}
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait(), "it was killed")
	require.True(t, found, "the demo did not get to its first container")
}
