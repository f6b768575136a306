package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// invitationKey is where a VM finds its invitation.
const invitationKey = "guestinfo.mooring.enroll"

// VMs of a vmgroup get their certificates without anybody carrying a code:
// one through VMware's tools, one through a file that the VM writes itself as
// on any cloud. The code is gone from the VM afterwards. A VM of no vmgroup
// is invited to nothing.
func TestVSphereEnrolment(t *testing.T) {
	all := plains(t, "h1", "h2", "h3")
	g, h, stranger := all[0], all[1], all[2]
	g.binary, h.binary = lab.Bin.Plugin, lab.Bin.Plugin
	ds := lab.Folder(t, "enrol-vcenter/enrol")
	stores := []*harness.Datastore{ds}
	d := lab.Daemon(t, "enrol", stores, nil, func(c *harness.Config) {
		c.DefaultVMGroup = false
		c.Guest = map[string]any{"listen": tlsDoor, "auto_enroll": true}
	})
	vc := vcenter(t, "enrol-vcenter", d, stores, g.Guest, h.Guest, stranger.Guest)
	t.Cleanup(func() { require.NoError(t, vc.End()) })
	d.Start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lab.Logs(60))
		}
		require.NoError(t, d.End())
		for _, p := range all {
			if p.PlainPlugin != nil {
				p.Stop(t)
			}
			p.settings = nil
			require.NoError(t, errors.Join(os.RemoveAll(filepath.Join(p.Disk(), rootName)), os.RemoveAll(p.invitation())))
		}
	})
	placed := func(p *plain) string {
		t.Helper()
		info, err := vc.GuestInfo(cleanup(), p.Name)
		require.NoError(t, err)
		return info[invitationKey]
	}

	g.settings = []string{"MOORING_HOST=" + d.GuestURL(), "MOORING_ENROLL=guestinfo", "PATH=" + vc.Tools(t, g.Guest) + ":" + os.Getenv("PATH")}
	g.start(t)
	tryCreate(t, g.Guest, "early", "size=16mb").Fails(t, "this VM is not enrolled at the host service")
	require.Empty(t, placed(g), "it is in no vmgroup yet")

	d.Mooring(t.Context(), "vmgroup", "create", "--name="+team, "--vm-list=h1,h2").OK(t)
	d.Mooring(t.Context(), "vmgroup", "access", "add", "--name="+team, "--datastore=enrol", "--allow-create", "--default-datastore").OK(t)
	enrolled(t, d, "h1")
	create(t, g.Guest, "db", "size=32mb")
	sh(t, g.Guest, "db", write).OK(t)

	// h2 has no such plugin: its boot script writes what the tools say.
	script := fmt.Sprintf("umask 077 && %s/vmware-rpctool 'info-get %s' > /srv/enroll", vc.Tools(t, h.Guest), invitationKey)
	require.NoError(t, harness.Eventually(2*time.Minute, func() error {
		if r := h.Shell(t.Context(), script); r.Code != 0 {
			return fmt.Errorf("%s", r)
		}
		return nil
	}))
	h.settings = []string{"MOORING_HOST=" + d.GuestURL(), "MOORING_ENROLL=/srv/enroll"}
	h.start(t)
	enrolled(t, d, "h2")
	becomesAttached(t, d, team, "db@enrol", "")
	sh(t, h.Guest, "db", read).OK(t)
	becomesAttached(t, d, team, "db@enrol", "")

	for _, p := range []*plain{g, h} {
		require.NoError(t, harness.Eventually(2*time.Minute, func() error {
			if text := placed(p); text != "" {
				return fmt.Errorf("VM %s still shows its used code", p.Name)
			}
			return nil
		}))
	}
	assert.Empty(t, placed(stranger))
	remove(t, g.Guest, "db")
}
