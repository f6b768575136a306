package bench

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/docker/go-plugins-helpers/volume"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// emptyPlugin is the name of a driver that only remembers names.
const emptyPlugin = "empty"

type empty struct {
	mu    sync.Mutex
	names map[string]bool
}

func (e *empty) Create(r *volume.CreateRequest) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.names[r.Name] = true
	return nil
}

func (e *empty) Remove(r *volume.RemoveRequest) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.names, r.Name)
	return nil
}

func (e *empty) Get(r *volume.GetRequest) (*volume.GetResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.names[r.Name] {
		return nil, fmt.Errorf("no such volume")
	}
	return &volume.GetResponse{Volume: &volume.Volume{Name: r.Name}}, nil
}

func (e *empty) List() (*volume.ListResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := &volume.ListResponse{}
	for n := range e.names {
		out.Volumes = append(out.Volumes, &volume.Volume{Name: n})
	}
	return out, nil
}

func (e *empty) Path(*volume.PathRequest) (*volume.PathResponse, error) {
	return &volume.PathResponse{}, nil
}
func (e *empty) Mount(*volume.MountRequest) (*volume.MountResponse, error) {
	return &volume.MountResponse{}, nil
}
func (e *empty) Unmount(*volume.UnmountRequest) error { return nil }
func (e *empty) Capabilities() *volume.CapabilitiesResponse {
	return &volume.CapabilitiesResponse{Capabilities: volume.Capability{Scope: "global"}}
}

// serveEmptyPlugin listens where the guest's engine looks for plugins.
func serveEmptyPlugin(b *testing.B, g *harness.Guest) {
	pid, err := os.ReadFile(g.InitPIDFile())
	require.NoError(b, err)
	dir := filepath.Join("/proc", strings.TrimSpace(string(pid)), "root/run/docker/plugins")
	require.NoError(b, os.MkdirAll(dir, 0o755))
	l, err := net.Listen("unix", filepath.Join(dir, emptyPlugin+".sock"))
	require.NoError(b, err)
	b.Cleanup(func() { _ = l.Close() })
	go func() { _ = volume.NewHandler(&empty{names: map[string]bool{}}).Serve(l) }() // ends with the listener
}
