package portal

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// site is an installation with a portal.
type site struct {
	*harness.Daemon
	browser *harness.Browser
	url     string
	ds      *harness.Datastore
	admin   *hostclient.Admin // on the machine itself
}

// newSite starts one with these VMs, which nobody uses but the test.
func newSite(t *testing.T, name string, vms ...string) *site {
	t.Helper()
	s := &site{ds: lab.Managed(t, name, "2gb")}
	s.Daemon = lab.Daemon(t, name, []*harness.Datastore{s.ds}, nil, func(c *harness.Config) {
		address := freeAddress(t)
		s.url = "https://" + address
		c.HTTPS = map[string]any{"listen": address, "names": []string{"127.0.0.1"}}
		c.DefaultVMGroup = false
		for _, vm := range vms {
			c.VMs = append(c.VMs, harness.ConfigVM{Name: vm, Datastore: s.ds.Name, Dev: s.dev(t, vm), Socket: s.socket(vm)})
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(lab.Logs(60))
		}
		require.NoError(t, s.End())
		if left := s.Outside(); len(left) > 0 {
			t.Errorf("mooringd left in the kernel: %v", left)
		}
	})
	s.Start(t)
	s.admin = hostclient.NewAdmin("unix://"+s.Config.Admin.Socket, hostclient.Options{Patience: 10 * time.Second})
	s.browser = lab.Browser(t, filepath.Join(s.Config.StateDir, "https-ca.crt"))
	return s
}

// freeAddress is one on the loopback that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

func (s *site) folder(vm string) string { return filepath.Join(lab.Dir, "vms", s.ds.Name, vm) }

func (s *site) socket(vm string) string { return filepath.Join(s.folder(vm), "self.sock") }

// dev makes the folder in which a VM's disks appear.
func (s *site) dev(t *testing.T, vm string) string {
	t.Helper()
	dir := filepath.Join(s.folder(vm), "dev")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	return dir
}

// code is the one-time code of the first visit, which the service has logged.
func (s *site) code(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.LogFile())
	require.NoError(t, err)
	found := regexp.MustCompile(`code="?([a-z0-9]{5}(?:-[a-z0-9]{5}){3})`).FindSubmatch(b)
	require.NotNil(t, found, "the log has the one-time code:\n%s", b)
	return string(found[1])
}

// fill makes a volume as a guest would: attached to vm, with a filesystem that
// has these files.
func (s *site) fill(t *testing.T, vm, volume string, files map[string][]byte) {
	t.Helper()
	guest := hostclient.New("unix://"+s.socket(vm), hostclient.Options{Patience: 10 * time.Second})
	defer guest.Close()
	_, err := guest.Create(t.Context(), wire.CreateVolume{Name: volume, Options: map[string]string{"size": "64mb"}})
	require.NoError(t, err)
	a, err := guest.Attach(t.Context(), volume, wire.Attach{BootID: uuid.NewString()})
	require.NoError(t, err)
	require.NoError(t, guest.SetFormat(t.Context(), volume, wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatting}))
	content := t.TempDir()
	for name, b := range files {
		path := filepath.Join(content, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
	lab.Run(t, "mkfs.ext4", "-q", "-F", "-U", a.FSUUID, "-d", content, filepath.Join(s.folder(vm), "dev", "mooring", a.Serial)).OK(t)
	require.NoError(t, guest.SetFormat(t.Context(), volume, wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatted}))
	require.NoError(t, guest.Detach(t.Context(), volume, wire.Detach{Epoch: a.Epoch}))
}

// tab opens a window for one person.
func (s *site) tab(t *testing.T) *harness.Tab {
	t.Helper()
	return s.browser.Tab(t, s.url)
}

// logIn logs a user in, in a window of his own.
func (s *site) logIn(t *testing.T, tenant, user, password string) *harness.Tab {
	t.Helper()
	p := s.tab(t)
	logIn(p, tenant, user, password)
	return p
}

func logIn(p *harness.Tab, tenant, user, password string) {
	if tenant == "" {
		p.Open("/login")
	} else {
		p.Open("/t/" + tenant)
	}
	p.Fill("User", user)
	p.Fill("Password", password)
	p.Press("Log in")
}

// picture numbers the pictures of a story.
type picture struct {
	story string
	n     int
}

func (x *picture) of(p *harness.Tab, what string) {
	x.n++
	p.Look(fmt.Sprintf("%s-%02d-%s", x.story, x.n, what))
}
