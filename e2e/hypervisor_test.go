package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// onVSphere tells which hypervisor the tests that do not say so themselves run
// on: the local one, or with MOORING_E2E_HYPERVISOR=vsphere a simulated
// vCenter, whose VMs reach the service over TLS.
var onVSphere bool

func chooseHypervisor() error {
	switch h := os.Getenv("MOORING_E2E_HYPERVISOR"); h {
	case "", "local":
	case "vsphere":
		onVSphere = true
	default:
		return fmt.Errorf("MOORING_E2E_HYPERVISOR is %q: set it to local or vsphere", h)
	}
	return nil
}

// localOnly leaves out, on others, a test that is about the local hypervisor,
// and says why.
func localOnly(t *testing.T, why string) {
	t.Helper()
	if onVSphere {
		t.Skip("only on the local hypervisor: " + why)
	}
}

// at is the name of a datastore for the vCenter of that name, if there is one.
func at(vcenter, datastore string) string {
	if onVSphere {
		return vcenter + "/" + datastore
	}
	return datastore
}

// managed is a datastore for backups in use: of the local hypervisor one that
// shares blocks, as every one of vSphere does.
func managed(t *testing.T, name, size string) *harness.Datastore {
	t.Helper()
	if onVSphere {
		return lab.Folder(t, own(name))
	}
	return lab.Managed(t, name, size)
}

// own is at for the one datastore of a rig, see findVCenter.
func own(name string) string { return at(name+"-vcenter", name) }

// vcenter starts the vCenter of an installation and has its service use it.
// Guests are VMs on the first datastore.
func vcenter(t *testing.T, name string, d *harness.Daemon, stores []*harness.Datastore, guests ...*harness.Guest) *harness.VCenter {
	t.Helper()
	vc := lab.VCenter(t, name, stores...)
	for _, g := range guests {
		vc.Admit(t, g, g.Name, stores[0])
	}
	vc.Configure(t, d)
	return vc
}

// invite makes a code for a guest and puts it into a file, where its plugin
// looks.
func invite(t *testing.T, d *harness.Daemon, vm, file string) wire.Invitation {
	t.Helper()
	var in wire.Invitation
	text := d.Mooring(cleanup(), "vm", "enroll", vm, "-o", "json").OK(t).Stdout
	require.NoError(t, json.Unmarshal([]byte(text), &in))
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return in
}

// enrolled waits until a VM that had no certificate has one.
func enrolled(t *testing.T, d *harness.Daemon, name string) {
	t.Helper()
	require.NoError(t, harness.Eventually(2*time.Minute, func() error {
		var vms []wire.VM
		r := d.Mooring(cleanup(), "vm", "ls", "-o", "json")
		if err := json.Unmarshal([]byte(r.Stdout), &vms); err != nil {
			return fmt.Errorf("%w: %s", err, r)
		}
		for _, vm := range vms {
			if vm.Name == name && strings.HasPrefix(vm.Certificate, "until ") {
				return nil
			}
		}
		return fmt.Errorf("VM %s has no certificate: %s", name, r)
	}))
}

// channel invites a guest of the site, where VMs need that, and returns what
// its plugin must know to reach the service. Certificates that the VM had end.
func (s *site) channel(t *testing.T, g *harness.Guest) []string {
	t.Helper()
	if s.vc == nil {
		return nil
	}
	s.Mooring(cleanup(), "vm", "revoke", "--yes", g.Name) // refused when it never had any
	invite(t, s.Daemon, g.Name, s.invitation(g))
	return []string{"MOORING_HOST=" + s.GuestURL()}
}

// reaches waits until the guest's plugin has used what channel gave it.
func (s *site) reaches(t *testing.T, g *harness.Guest) {
	t.Helper()
	if s.vc != nil {
		enrolled(t, s.Daemon, g.Name)
	}
}

// invitation is where a guest's plugin looks for a code by default.
func (s *site) invitation(g *harness.Guest) string { return filepath.Join(g.ChannelDir(), "enroll") }

// install gives a guest the managed plugin, unless it has it.
func (s *site) install(t *testing.T, g *harness.Guest) {
	t.Helper()
	if g.PluginEnabled(cleanup()) {
		return
	}
	g.InstallPlugin(t, slices.Concat(pluginSettings, s.channel(t, g))...)
	s.reaches(t, g)
}

// forgetVM takes a VM that is off from the hypervisor until the end of the
// test: from the local one's configuration, or from vCenter.
func (s *site) forgetVM(t *testing.T, name string) {
	t.Helper()
	if s.vc != nil {
		require.NoError(t, s.vc.RemoveVM(t.Context(), name))
		t.Cleanup(func() { s.vc.Admit(t, lab.NewGuest(t, name), name, s.ds1) })
		return
	}
	vms := s.Config.VMs
	restart := func(now []harness.ConfigVM) {
		s.Config.VMs = now
		s.Stop(t)
		s.Start(t)
	}
	restart(slices.DeleteFunc(slices.Clone(vms), func(vm harness.ConfigVM) bool { return vm.Name == name }))
	t.Cleanup(func() { restart(vms) })
}

// enrollAgain lets guests in whose certificates the service has lost, where it
// has any.
func (s *site) enrollAgain(t *testing.T, guests ...*harness.Guest) {
	t.Helper()
	for _, g := range guests {
		s.channel(t, g)
		s.reaches(t, g)
	}
}

// findVCenter has the rig use the vCenter of its datastore, which it starts if
// there is none yet, with the rig's guests as VMs.
func (r *rig) findVCenter(t *testing.T, guests []*harness.Guest) {
	t.Helper()
	if r.vc = r.ds.VCenter(); r.vc == nil {
		r.vc = lab.VCenter(t, r.ds.Name+"-vcenter", r.ds)
		t.Cleanup(func() { require.NoError(t, r.vc.End()) })
	}
	for _, g := range guests {
		r.vc.Admit(t, g, g.Name, r.ds)
	}
	r.vc.Configure(t, r.Daemon)
}

// channel invites a guest of the rig and returns what its plugin must know to
// reach the service.
func (r *rig) channel(t *testing.T, g *plain) []string {
	t.Helper()
	file, seen := g.invitation(), "/srv/enroll"
	if g.managed { // it sees nothing but /run
		file, seen = filepath.Join(g.ChannelDir(), "enroll"), "/run/mooring/enroll"
	}
	invite(t, r.Daemon, g.Name, file)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(file)) })
	return []string{"MOORING_HOST=" + r.GuestURL(), "MOORING_ENROLL=" + seen}
}
