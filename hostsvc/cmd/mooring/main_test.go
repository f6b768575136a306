package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/version"
	"mooring.dev/mooring/pkg/wire"
)

// TestMain lets the test binary be the command itself.
func TestMain(m *testing.M) {
	if os.Getenv("MOORING_TEST_RUN") != "" {
		os.Exit(run())
	}
	os.Exit(m.Run())
}

// service answers on a unix socket and returns the socket's address.
func service(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	srv := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l)
	}()
	t.Cleanup(func() {
		_ = srv.Close()
		<-done
	})
	return "unix://" + path
}

// mooring is the command as a process.
func mooring(t *testing.T, socket string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "MOORING_TEST_RUN=1", "MOORING_SOCKET="+socket)
	cmd.Stdout, cmd.Stderr = &out, &errs
	return cmd, &out, &errs
}

func TestAnswersOverTheSocket(t *testing.T) {
	socket := service(t, func(w http.ResponseWriter, r *http.Request) {
		require.Equal(t, "/api/v1/vmgroups/Dev/volumes/a%20%23b@fast", r.URL.EscapedPath())
		require.Equal(t, "mooring/"+version.String(), r.UserAgent())
		_ = json.NewEncoder(w).Encode(wire.Volume{VMGroup: "Dev", Name: "a #b@fast"})
	})
	cmd, out, errs := mooring(t, socket, "volume", "inspect", "Dev/a #b@fast", "-o", "name")
	require.NoError(t, cmd.Run(), errs.String())
	require.Equal(t, "Dev/a #b@fast\n", out.String())
	require.Empty(t, errs.String())
}

func TestProblemBecomesSentenceAndExitCode(t *testing.T) {
	socket := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(errkind.Quota.HTTPStatus())
		_ = json.NewEncoder(w).Encode(wire.Problem{Status: 507, Kind: "quota", Detail: "The total volume size exceeds the usage quota", Request: "7f3a91c2"})
	})
	cmd, out, errs := mooring(t, socket, "volume", "create", "Dev/db", "--size=2gb")
	require.Error(t, cmd.Run())
	require.Equal(t, 7, cmd.ProcessState.ExitCode())
	require.Empty(t, out.String())
	require.Equal(t, "Error: The total volume size exceeds the usage quota\n", errs.String())
}

func TestWithoutService(t *testing.T) {
	socket := "unix://" + filepath.Join(t.TempDir(), "none.sock")
	cmd, out, errs := mooring(t, socket, "vmgroup", "ls")
	require.Error(t, cmd.Run())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.Empty(t, out.String())
	require.Contains(t, errs.String(), "Error: the host service at "+socket+" does not answer: is mooringd running?")
}

func TestSignalEndsTheCall(t *testing.T) {
	asked := make(chan struct{})
	socket := service(t, func(_ http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	cmd, _, errs := mooring(t, socket, "status")
	require.NoError(t, cmd.Start())
	<-asked
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.Error(t, cmd.Wait())
	require.Equal(t, 130, cmd.ProcessState.ExitCode())
	require.Contains(t, errs.String(), "Error: interrupted")
}

func TestConfigCommandsReadFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mooring.toml")
	require.NoError(t, os.WriteFile(file, []byte("[log]\nlevel = \"debug\"\n"), 0o600))
	cmd, out, errs := mooring(t, "", "config", "show", "--config", file)
	require.NoError(t, cmd.Run(), errs.String())
	require.Contains(t, out.String(), "level = \"debug\"\n")

	require.NoError(t, os.WriteFile(file, []byte("[log]\nlevels = \"debug\"\n"), 0o600))
	cmd, _, errs = mooring(t, "", "config", "check", "--config", file)
	require.Error(t, cmd.Run())
	require.Equal(t, 2, cmd.ProcessState.ExitCode())
	require.Contains(t, errs.String(), file+":2")
	require.Contains(t, errs.String(), "levels")

	cmd, out, errs = mooring(t, "", "config", "show", "--defaults")
	require.NoError(t, cmd.Run(), errs.String())
	require.Contains(t, out.String(), "socket = \"/run/mooring/admin.sock\"\n")
}
