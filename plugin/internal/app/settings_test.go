package app_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/plugin/internal/app"
)

func none(string) (string, bool) { return "", false }

func TestDefaultsAreInTheBinary(t *testing.T) {
	s, version, err := app.Parse(nil, none, os.Stderr)
	require.NoError(t, err)
	assert.False(t, version)
	assert.Equal(t, app.Settings{
		Host: "unix:///run/mooring/guest/self.sock", Enroll: "/run/mooring/enroll", LogLevel: "info", LogFormat: "auto", SocketGID: "root", Timeout: "25s",
		Engine: "unix:///run/docker.sock", Reconcile: "1m", MountRoot: "/mnt/vsphere", Socket: "/run/docker/plugins/vsphere.sock",
	}, s)
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := func(k string) (string, bool) {
		v, ok := map[string]string{"MOORING_HOST": "unix:///a", "MOORING_TIMEOUT": "9s", "MOORING_ENGINE": ""}[k]
		return v, ok
	}
	s, _, err := app.Parse([]string{"--host=unix:///b"}, env, os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, "unix:///b", s.Host)
	assert.Equal(t, "9s", s.Timeout)
	assert.Equal(t, "unix:///run/docker.sock", s.Engine, "empty is not set")
	_, version, err := app.Parse([]string{"--version"}, none, os.Stderr)
	require.NoError(t, err)
	assert.True(t, version)
	var out bytes.Buffer
	_, _, err = app.Parse([]string{"--help"}, none, &out)
	assert.ErrorIs(t, err, flag.ErrHelp)
	assert.Contains(t, out.String(), "MOORING_MOUNT_ROOT")
	_, _, err = app.Parse([]string{"stray"}, none, &out)
	assert.Error(t, err)
}

// All problems at once, before anything is touched.
func TestBadSettings(t *testing.T) {
	err := app.Run(t.Context(), app.Settings{
		Host: "http://x", Engine: "docker.sock", SocketGID: "no such group", Timeout: "1ns", Reconcile: "soon", Socket: "/nowhere/at/all",
	}, "test")
	for _, name := range []string{"MOORING_HOST", "MOORING_ENGINE", "VDVS_SOCKET_GID", "MOORING_TIMEOUT", "MOORING_RECONCILE"} {
		assert.ErrorContains(t, err, name)
	}
	assert.NoDirExists(t, "/nowhere")
	err = app.Run(t.Context(), app.Settings{Host: "tls://host:1020", Engine: "tls://host:2376", Enroll: "relative", CA: "sha256:x"}, "test")
	for _, name := range []string{"MOORING_ENGINE", "MOORING_ENROLL", "MOORING_CA"} {
		assert.ErrorContains(t, err, name)
	}
	assert.NotContains(t, err.Error(), "MOORING_HOST")
}

// The manifest and the table of settings say the same.
func TestManifest(t *testing.T) {
	data, err := os.ReadFile("../../../packaging/plugin/config.json")
	require.NoError(t, err)
	type env struct {
		Name, Description, Value string
		Settable                 []string
	}
	var manifest struct {
		Env             []env
		PropagatedMount string
		Interface       struct {
			Types  []string
			Socket string
		}
		Network struct{ Type string }
		Linux   struct{ Capabilities []string }
		Mounts  []struct{ Source string }
	}
	require.NoError(t, json.Unmarshal(data, &manifest))
	var want []env
	for _, s := range app.Table() {
		if s.Managed {
			want = append(want, env{s.Env, s.Description, s.Default, []string{"value"}})
		}
	}
	assert.Equal(t, want, manifest.Env)
	s, _, err := app.Parse(nil, none, os.Stderr)
	require.NoError(t, err)
	assert.Equal(t, s.MountRoot, manifest.PropagatedMount)
	assert.Equal(t, s.Socket, "/run/docker/plugins/"+manifest.Interface.Socket)
	assert.Equal(t, "host", manifest.Network.Type, "the boot id is the network namespace's")
	// Least privileges: whoever adds one explains it in packaging/plugin/README.md.
	assert.Equal(t, []string{"CAP_SYS_ADMIN", "CAP_LINUX_IMMUTABLE"}, manifest.Linux.Capabilities)
	for _, m := range manifest.Mounts {
		assert.Contains(t, []string{"/dev", "/run"}, m.Source, "a folder missing on the host stops the plugin from being enabled")
	}
}

func TestBootIDIsStable(t *testing.T) {
	a, err := app.BootID()
	require.NoError(t, err)
	b, err := app.BootID()
	require.NoError(t, err)
	assert.Equal(t, a, b)
	assert.Greater(t, len(a), 36, "has the part that differs between namespaces")
}
