package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/cli"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var update = flag.Bool("update", false, "write the golden files anew")

// system is the service's own state, which these tests do not look at.
type system struct{}

func (system) Status(context.Context) (wire.Status, error) {
	return wire.Status{Version: "test", Ready: true, Hypervisor: "memory"}, nil
}
func (system) Doctor(context.Context) ([]wire.Finding, error) { return nil, nil }
func (system) Ready(context.Context) error                    { return nil }

// stack is the service without its process: the real interface, use cases and
// SQLite catalog over a hypervisor in memory. It returns the admin socket.
func stack(t *testing.T) string {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	world := memory.New(memory.Options{
		Datastores: []hypervisor.Datastore{
			{Name: "datastore1", Type: "ext4", Path: "/srv/1", Capacity: 100 * volspec.GiB},
			{Name: "datastore3", Type: "xfs", Path: "/srv/3", Capacity: 100 * volspec.GiB},
		},
		VMs: photons(),
	})
	db, err := catalog.Open(ctx, catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	var volumes *volume.Service
	tenants := tenancy.New(tenancy.Options{
		Store: db.Tenancy(), Machines: world, Datastores: world,
		RemoveVolumes: func(ctx context.Context, c volspec.Caller, g volspec.VMGroupID) error {
			return volumes.RemoveAll(ctx, c, g)
		},
	})
	volumes = volume.New(volume.Options{
		Store: db.Volumes(), Hypervisor: world, Check: tenancy.Check, Resolve: tenancy.Resolve, RestoreGroup: tenants.RestoreGroup,
		Instance: "test", Installation: "test", TrashKeep: 24 * time.Hour, AttachWait: time.Second, Reconcile: time.Hour,
	})
	require.NoError(t, volumes.IdentifyDatastores(ctx))
	require.NoError(t, tenants.EnsureDefault(ctx, true))

	path := filepath.Join(t.TempDir(), "admin.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	authority, err := enroll.OpenAuthority(t.TempDir(), "test")
	require.NoError(t, err)
	guests := enroll.New(enroll.Options{Store: db.Enrolment(), Machines: world, Authority: authority, URL: func() string { return "" }})
	server := api.New(api.Options{Volumes: volumes, Tenants: tenants, Enrolment: guests, System: system{}, Audit: audit.New(db.AuditLog()), Version: "test"})
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l, api.AdminPeers(-1)) }()
	t.Cleanup(func() {
		stop()
		assert.NoError(t, <-served)
		assert.NoError(t, volumes.Close(context.WithoutCancel(ctx)))
		assert.NoError(t, db.Close())
	})
	return "unix://" + path
}

func photons() (vms []hypervisor.VM) {
	for i := range 6 {
		vms = append(vms, hypervisor.VM{
			ID:   volspec.VMID(fmt.Sprintf("00000000-0000-4000-8000-%012d", i+1)),
			Name: fmt.Sprintf("Photon%d", i+1), Datastore: "datastore1",
		})
	}
	return vms
}

// play runs the command lines of a script against a socket and returns the
// script with the answers of today: "# mooring ..." lines are commands, "!"
// begins what went to standard error, "=" an exit code other than 0.
func play(t *testing.T, socket, script string) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(script) {
		command, ok := strings.CutPrefix(line, "# mooring ")
		if !ok {
			continue
		}
		var out, errs bytes.Buffer
		code := cli.Run(t.Context(), strings.Fields(command), cli.Options{
			In: strings.NewReader(""), Out: &out, Err: &errs, Connect: connect, Config: configuration{},
			Getenv: func(key string) string { return map[string]string{"MOORING_SOCKET": socket}[key] },
		})
		all.WriteString(line + out.String())
		for l := range strings.Lines(errs.String()) {
			all.WriteString("! " + l)
		}
		if code != 0 {
			fmt.Fprintf(&all, "= %d\n", code)
		}
	}
	return all.String()
}

var changing = []struct {
	pattern *regexp.Regexp
	mask    string
}{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"},
	{regexp.MustCompile(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} 20[0-9]{2}`), "Ddd Mmm dd hh:mm:ss yyyy"},
	{regexp.MustCompile(`20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`), "yyyy-mm-ddThh:mm:ssZ"},
}

func masked(s string) string {
	for _, c := range changing {
		s = c.pattern.ReplaceAllString(s, c.mask)
	}
	return s
}

// TestGuideOnTheRealStack plays the tenancy guide's session, the script that
// package cli plays too, against the real service.
func TestGuideOnTheRealStack(t *testing.T) {
	script, err := os.ReadFile("../../internal/cli/testdata/guide.txt")
	require.NoError(t, err)
	require.Equal(t, masked(string(script)), masked(play(t, stack(t), string(script))))
}

// TestStoryOnTheRealStack goes through every verb once, with its refusals.
// testdata/story.txt is the script and what it has to answer.
func TestStoryOnTheRealStack(t *testing.T) {
	const path = "testdata/story.txt"
	script, err := os.ReadFile(path)
	require.NoError(t, err)
	got := masked(play(t, stack(t), string(script)))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
		return
	}
	require.Equal(t, string(script), got, "-update accepts the new text")
}
