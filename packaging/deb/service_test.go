package deb_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// manager does for one unit what systemd would: the maintainer scripts of the
// package tell it to start, stop and restart, and wait until it has.
type manager struct {
	root string
	log  *os.File

	mu      sync.Mutex
	service *exec.Cmd // nil: not running
	errs    []error
}

// manage stands in for systemd in root, for as long as the test runs.
func manage(t *testing.T, root string) *manager {
	t.Helper()
	for _, dir := range []string{"proc", "sys", "run/systemd/system"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	m := &manager{root: root}
	var err error
	m.log, err = os.Create(root + "/journal")
	require.NoError(t, err)
	// Opened for both, neither side waits for the other to open its end.
	pipe := func(name string) *os.File {
		require.NoError(t, syscall.Mkfifo(root+name, 0o600))
		f, err := os.OpenFile(root+name, os.O_RDWR, 0)
		require.NoError(t, err)
		return f
	}
	asked, answered := pipe("/asked"), pipe("/answered")
	script(t, root+"/usr/bin/deb-systemd-invoke", `echo "$1" >/asked; read answer </answered; [ "$answer" = done ]`)
	var serving sync.WaitGroup
	serving.Go(func() {
		for lines := bufio.NewScanner(asked); lines.Scan(); {
			fmt.Fprintln(answered, m.do(lines.Text()))
		}
	})
	t.Cleanup(func() {
		asked.Close()
		serving.Wait()
		answered.Close()
		assert.Equal(t, "done", m.do("stop"))
		m.log.Close()
		if t.Failed() {
			t.Log(m.journal(t))
		}
	})
	return m
}

func (m *manager) do(what string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	if what != "start" && m.service != nil {
		err = m.stop()
	}
	if what != "stop" && err == nil {
		err = m.start()
	}
	if err != nil {
		m.errs = append(m.errs, fmt.Errorf("%s: %w", what, err))
		return "failed"
	}
	return "done"
}

// setting is a value of the installed unit.
func (m *manager) setting(name string) string {
	unit, _ := os.ReadFile(m.root + "/lib/systemd/system/mooringd.service")
	if found := regexp.MustCompile(`(?m)^` + name + `=(.+)$`).FindSubmatch(unit); found != nil {
		return string(found[1])
	}
	return ""
}

// start makes the unit's folders, runs its check and its program, and waits
// for the word that it is ready.
func (m *manager) start() error {
	for kind, parent := range map[string]string{"Runtime": "/run/", "State": "/var/lib/", "Configuration": "/etc/"} {
		mode, err := strconv.ParseUint("0"+m.setting(kind+"DirectoryMode"), 8, 32)
		if err != nil {
			return err
		}
		dir := m.root + parent + m.setting(kind+"Directory")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if mode != 0 {
			if err := os.Chmod(dir, os.FileMode(mode)); err != nil {
				return err
			}
		}
	}
	if out, err := m.program(m.setting("ExecStartPre")).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	const notify = "/run/systemd/notify"
	_ = os.Remove(m.root + notify)
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.root + notify, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer l.Close()
	service := m.program(m.setting("ExecStart"))
	service.Env = append(service.Env, "NOTIFY_SOCKET="+notify)
	service.Stdout, service.Stderr = m.log, m.log
	if err := service.Start(); err != nil {
		return err
	}
	m.service = service
	if err := l.SetReadDeadline(time.Now().Add(2 * time.Minute)); err != nil {
		return err
	}
	word := make([]byte, 100)
	n, err := l.Read(word)
	if err == nil && string(word[:n]) != "READY=1" {
		err = fmt.Errorf("it says %s", word[:n])
	}
	return err
}

// stop is what systemd does: a signal, and no patience beyond the unit's.
func (m *manager) stop() error {
	patience, err := time.ParseDuration(m.setting("TimeoutStopSec"))
	if err != nil { // the unit was removed
		patience = time.Minute
	}
	kill := time.AfterFunc(patience, func() { _ = m.service.Process.Kill() })
	defer kill.Stop()
	if err := m.service.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err = m.service.Wait()
	m.service = nil
	return err
}

// program is a command line in the root folder, with the devices and the
// kernel's file systems of this machine for as long as it runs.
func (m *manager) program(line string) *exec.Cmd {
	cmd := exec.Command("unshare", append([]string{"--mount", "--propagation=private", "sh", "-c",
		`mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount --rbind /sys "$0/sys" && exec chroot "$0" "$@"`,
		m.root}, strings.Fields(line)...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin:/usr/sbin:/sbin"}
	return cmd
}

// pid is that of the running service, 0 of none.
func (m *manager) pid(t *testing.T) int {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Empty(t, m.errs)
	if m.service == nil {
		return 0
	}
	return m.service.Process.Pid
}

func (m *manager) journal(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(m.root + "/journal")
	require.NoError(t, err)
	return string(b)
}

// From the package to a command over HTTPS: the service as installed runs as
// its unit says; users and tenants outlive an upgrade, a removal and a purge.
func TestTheInstalledServiceServes(t *testing.T) {
	debs, err := packages()
	require.NoError(t, err)
	root := newRoot(t)
	m := manage(t, root)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	require.NoError(t, os.MkdirAll(root+"/etc/mooring/mooring.toml.d", 0o755))
	require.NoError(t, os.WriteFile(root+"/etc/mooring/mooring.toml.d/https.toml", []byte("[https]\nlisten = '"+address+"'\n"), 0o644))

	dpkg(t, root, "-i", debs["mooring"])
	first := m.pid(t)
	require.NotZero(t, first, "an installation starts the service")
	st, err := os.Stat(root + "/var/lib/mooring")
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm())
	assert.FileExists(t, root+"/var/lib/mooring/catalog.db")

	// mooring runs in the root folder too, as root with a home of its own.
	command := func(program string, args ...string) (string, error) {
		cmd := exec.Command("chroot", append([]string{root, "/usr/bin/" + program}, args...)...)
		cmd.Env = []string{"HOME=/root", "PATH=/usr/bin:/bin"}
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%s %v: %w: %s", program, args, err, errs.String())
		}
		return string(out), err
	}
	must := func(program string, args ...string) string {
		t.Helper()
		out, err := command(program, args...)
		require.NoError(t, err)
		return out
	}
	require.NoError(t, os.WriteFile(root+"/password", []byte("correct horse battery\n"), 0o600))
	must("mooringd", "init", "--user=root", "--password-file=/password")
	login := []string{"--server", "https://" + address, "login", "--user=root", "--password-file=/password"}
	_, err = command("mooring", login...)
	require.ErrorContains(t, err, "sha256:", "the authority is not known to this machine")
	must("mooring", append(login, "--ca-file=/var/lib/mooring/https-ca.crt")...)
	assert.Contains(t, must("mooring", "whoami"), "root (master-admin) at https://"+address)
	must("mooring", "vmgroup", "create", "--name=Dev", "--default-datastore=local")
	served := func(t *testing.T) {
		t.Helper()
		assert.Contains(t, must("mooring", "vmgroup", "ls", "-o", "name"), "Dev")
	}
	served(t)

	for _, s := range []struct {
		name string
		away string // what dpkg is asked before the installation
	}{
		{name: "upgrade"},
		{name: "removal", away: "--remove"},
		{name: "purge", away: "--purge"},
	} {
		before := m.pid(t)
		if s.away != "" {
			dpkg(t, root, s.away, "mooring")
			assert.Zero(t, m.pid(t), "after a %s nothing runs", s.name)
			assert.NoFileExists(t, root+"/usr/bin/mooringd")
			_, err := net.DialTimeout("tcp", address, time.Second)
			require.Error(t, err, "after a %s nothing listens", s.name)
		}
		dpkg(t, root, "-i", debs["mooring"])
		assert.NotZero(t, m.pid(t), s.name)
		assert.NotEqual(t, before, m.pid(t), "%s: another process runs", s.name)
		served(t)
	}
	assert.Equal(t, 3, strings.Count(m.journal(t), "mooringd has stopped"), "none was killed")
}
