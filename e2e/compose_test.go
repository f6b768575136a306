package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// docker-compose makes a volume with options, uses it from two services,
// keeps it over down, and removes it with down -v.
func TestCompose(t *testing.T) {
	s := newSite(t)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "docker-compose.yml"), []byte(`
version: "3.7"
services:
  writer:
    image: `+harness.Image+`
    network_mode: none
    command: sh -c "echo from compose >/vol/f && sleep 1000"
    stop_grace_period: 1s
    volumes: ["data:/vol"]
  reader:
    image: `+harness.Image+`
    network_mode: none
    user: "1001"
    command: sh -c "until cat /in/f; do sleep 0.2; done; sleep 1000"
    stop_grace_period: 1s
    volumes: ["data:/in:ro"]
volumes:
  data:
    driver: vsphere:latest
    driver_opts: {size: 64mb, fstype: ext4, uid: "1001"}
`), 0o644))
	compose := func(args ...string) harness.Result {
		t.Helper()
		return lab.Run(t, append([]string{"docker-compose", "-H", "unix://" + s.vm1.DockerSocket(), "-p", "app", "--project-directory", dir, "-f", filepath.Join(dir, "docker-compose.yml")}, args...)...).OK(t)
	}
	compose("up", "-d")
	compose("up", "-d") // finds its volume again
	s.attachedTo(t, "app_data", "vm1")
	require.EqualValues(t, 64<<20, s.volume(t, "app_data").SizeBytes)
	require.Equal(t, "from compose", s.vm1.Docker(t.Context(), "exec", "app_reader_1", "cat", "/in/f").OK(t).Stdout)
	compose("restart", "writer")
	compose("down")
	s.attachedTo(t, "app_data", "")
	require.Equal(t, "from compose", sh(t, s.vm2, "app_data", "cat /vol/f").OK(t).Stdout)
	s.attachedTo(t, "app_data", "")
	compose("up", "-d")
	compose("down", "-v")
	require.Empty(t, s.volumes(t))
}
