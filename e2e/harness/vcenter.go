package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/simvc/control"
)

// VCenter is a simulated vCenter on the lab's network, with real bytes in its
// disks. Guests are its VMs: a disk that is attached to one appears in its
// /dev.
type VCenter struct {
	*control.Sim

	lab *Lab
	dir string
}

// VCenter starts one with these datastores, for the length of the test.
func (l *Lab) VCenter(t testing.TB, name string, datastores ...string) *VCenter {
	t.Helper()
	ctx := lasting(t)
	require.NoError(t, l.ensureNetwork(ctx))
	v := &VCenter{lab: l, dir: filepath.Join(l.Dir, name)}
	require.NoError(t, os.MkdirAll(v.store(), 0o755))
	sim := filepath.Join(l.Dir, "bin", "mooring-simvc")
	if _, err := os.Stat(sim); err != nil {
		require.NoError(t, l.do(ctx, "env", "CGO_ENABLED=0", "go", "-C", l.Bin.Root, "build", "-o", sim, "./simvc/cmd/mooring-simvc"))
	}
	script := fmt.Sprintf("#!/bin/sh\nexport %s=%s\nexec %s %s \"$@\"\n", envLab, l.Dir, strings.Join(l.sw.enter(), " "), sim)
	program := filepath.Join(v.dir, "simvc.sh")
	require.NoError(t, os.WriteFile(program, []byte(script), 0o755))
	var err error
	v.Sim, err = control.Start(ctx, program, control.Options{Dir: v.store(), Datastores: datastores, Hosts: 2, Capacity: 8 << 30})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("--- %s\n%s", name, v.Log())
		}
		require.NoError(t, v.Stop())
	})
	return v
}

func (v *VCenter) store() string { return filepath.Join(v.dir, "store") }

// Admit makes a guest a VM that lies on a datastore, and switches it on.
func (v *VCenter) Admit(t testing.TB, g *Guest, datastore string) {
	t.Helper()
	ctx := lasting(t)
	_, err := v.AddVM(ctx, g.Name, "", datastore)
	require.NoError(t, err)
	require.NoError(t, v.Plug(ctx, g.Name, g.DevDir()))
}

// PowerOff switches a guest off, and its VM with it.
func (v *VCenter) PowerOff(t testing.TB, g *Guest) {
	t.Helper()
	g.PowerOff(t)
	require.NoError(t, v.Power(lasting(t), g.Name, false))
}

// PowerOn boots a guest, and its VM with it.
func (v *VCenter) PowerOn(t testing.TB, g *Guest) {
	t.Helper()
	require.NoError(t, v.Power(lasting(t), g.Name, true))
	g.PowerOn(t)
}

// Configure makes the service use this vCenter, on the lab's network.
func (v *VCenter) Configure(t testing.TB, d *Daemon) {
	t.Helper()
	password := filepath.Join(v.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte(v.Password+"\n"), 0o600))
	d.OnSwitch = true
	d.Config.Hypervisor = "vsphere"
	d.Config.Datastores, d.Config.VMs = nil, nil
	d.Config.VSphere = map[string]any{"url": v.URL, "user": v.User, "password_file": password, "thumbprint": v.Thumbprint}
	d.Config.Guest = map[string]any{"listen": SwitchAddr + ":1020"}
}

// Disks are the disks of volumes that are attached to a guest.
func (v *VCenter) Disks(ctx context.Context, g *Guest) ([]control.Disk, error) {
	vm, err := v.VM(ctx, g.Name)
	var out []control.Disk
	for _, d := range vm.Disks {
		if strings.Contains(d.File, "] mooring/") {
			out = append(out, d)
		}
	}
	return out, err
}
