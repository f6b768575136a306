package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Binaries are the programs under test, built once for a run from the tree
// the tests belong to.
type Binaries struct {
	Mooringd string // the host service
	Mooring  string // the command line
	Plugin   string // the Docker plugin
	Root     string // the source tree's root
}

// CrashBinaries returns the programs built with crash points: they end
// themselves at the point that MOORING_CRASH_AT names and append those they
// pass to the file MOORING_CRASH_LOG. See pkg/crashpoint.
func (l *Lab) CrashBinaries(t testing.TB) Binaries {
	t.Helper()
	b, err := build(lasting(t), filepath.Join(l.Dir, "bin-crash"), "-tags=crashpoints")
	require.NoError(t, err)
	return b
}

// Scribe returns the program that writes synced lines to a volume, see package
// scribe.
func (l *Lab) Scribe(t testing.TB) string {
	t.Helper()
	return l.program(t, "scribe")
}

// program builds one of the harness's own, once.
func (l *Lab) program(t testing.TB, name string) string {
	t.Helper()
	out := filepath.Join(l.Dir, name)
	if _, err := os.Stat(out); err != nil {
		cmd := exec.CommandContext(lasting(t), "go", "build", "-o", out, "./e2e/harness/"+name)
		cmd.Dir, cmd.Env = l.Bin.Root, append(os.Environ(), "CGO_ENABLED=0")
		said, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", said)
	}
	return out
}

// Peer is a program of others that "make peers" builds.
func (l *Lab) Peer(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(l.Bin.Root, ".cache", "bin", name)
	_, err := os.Stat(path)
	require.NoError(t, err, "%s is missing: run make peers", name)
	return path
}

// build compiles the programs statically into dir.
func build(ctx context.Context, dir string, flags ...string) (Binaries, error) {
	root, err := moduleRoot()
	if err != nil {
		return Binaries{}, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Binaries{}, err
	}
	args := append([]string{"build", "-o", dir + "/"}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./hostsvc/cmd/mooringd", "./hostsvc/cmd/mooring", "./plugin/cmd/mooring-plugin")...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return Binaries{}, fmt.Errorf("building the programs under test: %w\n%s", err, out)
	}
	return Binaries{
		Mooringd: filepath.Join(dir, "mooringd"), Mooring: filepath.Join(dir, "mooring"),
		Plugin: filepath.Join(dir, "mooring-plugin"), Root: root,
	}, nil
}

// moduleRoot is the nearest folder upwards that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("no go.mod above the tests: run them from the source tree")
		}
		dir = up
	}
}
