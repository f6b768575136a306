package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// tlsDoor is where services listen to VMs with certificates in tests that say
// so themselves.
const tlsDoor = harness.SwitchAddr + ":1020"

// tlsRig is a service with a TLS door on the guests' network, and a guest
// whose plugin has no other channel.
func tlsRig(t *testing.T, name string, guests []*plain) *rig {
	t.Helper()
	for _, g := range guests {
		g.settings = []string{"MOORING_HOST=tls://" + tlsDoor, "MOORING_ENROLL=/srv/enroll"}
		forget := func() { require.NoError(t, os.RemoveAll(g.invitation())) }
		forget()
		t.Cleanup(forget)
	}
	return newRig(t, name, lab.Folder(t, own(name)), guests, lab.Bin, func(c *harness.Config) {
		c.Guest = map[string]any{"listen": tlsDoor}
	})
}

// certificate is what the administrator sees of a guest's certificate.
func (r *rig) certificate(t *testing.T, g *plain) string {
	t.Helper()
	vms, err := r.admin.VMs(t.Context())
	require.NoError(t, err)
	for _, vm := range vms {
		if vm.Name == g.Name {
			return vm.Certificate
		}
	}
	return ""
}

// reaches waits until the guest's plugin is let in.
func (r *rig) reaches(t *testing.T, g *plain) {
	t.Helper()
	require.NoError(t, harness.Eventually(30*time.Second, func() error {
		if res := g.Docker(t.Context(), "volume", "create", "-d", harness.Driver, "-o", "size=32mb", "probe"); res.Code != 0 {
			return fmt.Errorf("%s", res)
		}
		return nil
	}))
	remove(t, g.Guest, "probe")
}

// invitation is where the plugin looks for a code when it is told so.
func (p *plain) invitation() string { return filepath.Join(p.Disk(), "enroll") }

func (p *plain) identity() string {
	return filepath.Join(p.Disk(), rootName, ".state", "identity.json")
}

// A guest enrols with a code, works over TLS through restarts of both sides
// and a reboot, is revoked, and comes back.
func TestAGuestOverTLS(t *testing.T) {
	g := plains(t, "p1")[0]
	r := tlsRig(t, "tls", []*plain{g})
	tryCreate(t, g.Guest, "early").Fails(t, "this VM is not enrolled at the host service", "mooring vm enroll", "/srv/enroll")

	in := invite(t, r.Daemon, g.Name, g.invitation())
	r.reaches(t, g)
	assert.True(t, strings.HasPrefix(r.certificate(t, g), "until "))
	st, err := os.Stat(g.identity())
	require.NoError(t, err)
	assert.EqualValues(t, 0o600, st.Mode().Perm())
	create(t, g.Guest, "db", "size=32mb")
	keep(t, g.Guest, "box", "db")
	running(t, g.Guest, "box")
	for _, file := range []string{r.LogFile(), filepath.Join(g.Disk(), "..", "plain-plugin.log")} {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		assert.NotContains(t, string(text), in.Code, "the code is in no log")
	}

	// The service restarts under the running container, then the plugin.
	r.Kill(t)
	r.Start(t)
	g.restart(t)
	running(t, g.Guest, "box")
	drop(t, g.Guest, "box")
	r.detached(t, "db")

	before, err := os.ReadFile(g.identity())
	require.NoError(t, err)
	g.reboot(t)
	require.NoError(t, harness.Eventually(20*time.Second, func() error {
		after, err := os.ReadFile(g.identity())
		if err == nil && string(after) == string(before) {
			err = errors.New("the certificate was not renewed at the boot")
		}
		return err
	}))
	assert.NotEqual(t, "0", sh(t, g.Guest, "db", "wc -l </vol/log").OK(t).Stdout)
	r.detached(t, "db")

	// Set back to before its last renewal, it is refused.
	g.Stop(t)
	require.NoError(t, os.WriteFile(g.identity(), before, 0o600))
	g.start(t)
	tryCreate(t, g.Guest, "late").Fails(t, "copied or reverted", "mooring vm enroll p1")
	assert.Equal(t, "refused: copied or reverted", r.certificate(t, g))
	res := r.Mooring(t.Context(), "doctor")
	assert.Equal(t, 1, res.Code)
	assert.Contains(t, res.Stdout, "certificate of VM p1")
	invite(t, r.Daemon, g.Name, g.invitation())
	r.reaches(t, g)

	r.Mooring(t.Context(), "vm", "revoke", "p1").OK(t)
	tryCreate(t, g.Guest, "late").Fails(t, "the certificate of this VM was revoked: enrol it again with `mooring vm enroll p1`")
	assert.Equal(t, "revoked", r.certificate(t, g))
	invite(t, r.Daemon, g.Name, g.invitation())
	r.reaches(t, g)
	remove(t, g.Guest, "db")
}

// The managed plugin enrols with the commands that mooring prints.
func TestTheManagedPluginOverTLS(t *testing.T) {
	g := plains(t, "p3")[0]
	g.managed = true
	r := newRig(t, "tls-managed", lab.Folder(t, own("tls-managed")), []*plain{g}, lab.Bin, func(c *harness.Config) {
		c.Guest = map[string]any{"listen": tlsDoor}
	})
	g.Docker(t.Context(), "plugin", "disable", harness.Driver).OK(t)
	text := r.Mooring(t.Context(), "vm", "enroll", g.Name).OK(t).Stdout
	_, commands, found := strings.Cut(text, "disabled:\n")
	require.True(t, found, text)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(filepath.Join(g.ChannelDir(), "enroll"))) })
	// In the guest, whose engine has its socket elsewhere.
	commands = strings.ReplaceAll(commands, "docker ", "docker -H unix:///srv/docker.sock ")
	g.Shell(t.Context(), commands).OK(t)
	r.reaches(t, g)
	create(t, g.Guest, "db", "size=32mb")
	sh(t, g.Guest, "db", "echo hello >/vol/file").OK(t)
	shown := g.Docker(t.Context(), "plugin", "inspect", harness.Driver).OK(t).Stdout
	code := strings.TrimSpace(strings.Split(text, "\n")[2])
	assert.Contains(t, shown, r.GuestURL())
	assert.NotContains(t, shown, code)
	assert.NotContains(t, shown, "PRIVATE")

	g.KillPlugin(t)
	require.Equal(t, "hello", sh(t, g.Guest, "db", "cat /vol/file").OK(t).Stdout)
	r.detached(t, "db")
	remove(t, g.Guest, "db")
}
