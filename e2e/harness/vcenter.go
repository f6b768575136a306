package harness

import (
	"context"
	"errors"
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

	lab    *Lab
	dir    string // of what the harness keeps about it
	stores []*Datastore
}

// VCenter starts the one called name with these datastores, until End or the
// end of the lab. They must be its own: Folder and Filesystem make such by
// names of the form VCENTER/DATASTORE.
func (l *Lab) VCenter(t testing.TB, name string, stores ...*Datastore) *VCenter {
	t.Helper()
	require.NoError(t, l.ensureNetwork(lasting(t)))
	v := &VCenter{lab: l, dir: filepath.Join(l.Dir, name), stores: stores}
	require.NoError(t, os.MkdirAll(v.dir, 0o755))
	for _, ds := range stores {
		require.Equal(t, v.store(), filepath.Dir(ds.Path), "datastore %s is of another vCenter", ds.Name)
		ds.vc = v
	}
	v.start(t)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vcenters = append(l.vcenters, v)
	return v
}

func (v *VCenter) start(t testing.TB) {
	t.Helper()
	ctx := lasting(t)
	sim := filepath.Join(v.lab.Dir, "bin", "mooring-simvc")
	if _, err := os.Stat(sim); err != nil {
		require.NoError(t, v.lab.do(ctx, "env", "CGO_ENABLED=0", "go", "-C", v.lab.Bin.Root, "build", "-o", sim, "./simvc/cmd/mooring-simvc"))
	}
	script := fmt.Sprintf("#!/bin/sh\nexport %s=%s\nexec %s %s \"$@\"\n", envLab, v.lab.Dir, strings.Join(v.lab.sw.enter(), " "), sim)
	program := filepath.Join(v.dir, "simvc.sh")
	require.NoError(t, os.WriteFile(program, []byte(script), 0o755))
	o := control.Options{Dir: v.store(), Hosts: 2, Capacity: 8 << 30}
	for _, ds := range v.stores {
		o.Datastores = append(o.Datastores, ds.Name)
	}
	var err error
	v.Sim, err = control.Start(ctx, program, o)
	require.NoError(t, err)
}

func (v *VCenter) store() string { return filepath.Join(v.lab.Dir, "ds", filepath.Base(v.dir)) }

// End stops the vCenter; its guests are nobody's VMs from then on. Again: nil.
func (v *VCenter) End() error {
	v.lab.mu.Lock()
	for _, g := range v.lab.guests {
		if g.vc == v {
			g.vc = nil
		}
	}
	v.lab.mu.Unlock()
	return v.Stop()
}

// Reset takes the vCenter down with all it has, its datastores' content too,
// and starts a new one in its place. Its guests must be off.
func (v *VCenter) Reset(t testing.TB) {
	t.Helper()
	require.NoError(t, v.End())
	errs := []error{os.RemoveAll(filepath.Join(v.store(), "state"))}
	for _, ds := range v.stores {
		errs = append(errs, ds.Wipe())
	}
	require.NoError(t, errors.Join(errs...))
	v.start(t)
}

// Admit makes a guest the VM of that name, which lies on a datastore and is on
// when the guest is. From then on their power goes together. A VM that is
// there already stays what it was.
func (v *VCenter) Admit(t testing.TB, g *Guest, name string, ds *Datastore) {
	t.Helper()
	ctx := lasting(t)
	if _, err := v.VM(ctx, name); err != nil {
		_, err := v.AddVM(ctx, name, "", ds.Name)
		require.NoError(t, err)
		require.NoError(t, v.Plug(ctx, name, g.DevDir()))
	}
	g.vc, g.vm = v, name
	require.NoError(t, v.Power(ctx, name, g.Powered()))
}

// Configure makes the service use this vCenter, on the lab's network, with a
// door for VMs of its own unless it has one.
func (v *VCenter) Configure(t testing.TB, d *Daemon) {
	t.Helper()
	password := filepath.Join(v.dir, "password")
	require.NoError(t, os.WriteFile(password, []byte(v.Password+"\n"), 0o600))
	d.OnSwitch = true
	d.Config.Hypervisor = "vsphere"
	d.Config.Datastores, d.Config.VMs = nil, nil
	d.Config.VSphere = map[string]any{"url": v.URL, "user": v.User, "password_file": password, "thumbprint": v.Thumbprint}
	if d.Config.Guest == nil {
		d.Config.Guest = map[string]any{"listen": fmt.Sprintf("%s:%d", SwitchAddr, 1020+d.index)}
	}
}

// Disks are the disks of volumes that are attached to a guest.
func (v *VCenter) Disks(ctx context.Context, g *Guest) ([]control.Disk, error) {
	vm, err := v.VM(ctx, g.vm)
	var out []control.Disk
	for _, d := range vm.Disks {
		if strings.Contains(d.File, "] mooring/") {
			out = append(out, d)
		}
	}
	return out, err
}
