package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type process struct {
	cmd    *exec.Cmd
	socket string
	root   string
	client *http.Client
	ready  time.Duration // from start to the first answer
}

func start(t *testing.T, dir string, change ...func(*exec.Cmd)) *process {
	t.Helper()
	p := &process{socket: filepath.Join(dir, "p.sock"), root: filepath.Join(dir, "mnt")}
	p.cmd = exec.Command(binary, "--socket="+p.socket, "--mount-root="+p.root, "--host=unix://"+dir+"/host.sock", "--engine=unix://"+dir+"/engine.sock")
	p.cmd.Stdout, p.cmd.Stderr = os.Stderr, os.Stderr
	for _, c := range change {
		c(p.cmd)
	}
	p.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", p.socket)
	}}}
	begin := time.Now()
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	for {
		if _, err := p.call("Plugin.Activate", `{}`); err == nil {
			break
		}
		require.Less(t, time.Since(begin), 10*time.Second)
		time.Sleep(time.Millisecond)
	}
	p.ready = time.Since(begin)
	return p
}

func (p *process) call(name, body string) (string, error) {
	resp, err := p.client.Post("http://d/"+name, "", strings.NewReader(body))
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var v json.RawMessage
	err = json.NewDecoder(resp.Body).Decode(&v)
	return string(v), err
}

// With neither host service nor engine the plugin is there at once, answers
// what it can, and goes when asked.
func TestProcessAlone(t *testing.T) {
	dir := t.TempDir()
	p := start(t, dir)
	again := p.ready
	a, err := p.call("VolumeDriver.Capabilities", `{}`)
	require.NoError(t, err)
	assert.JSONEq(t, `{"Capabilities":{"Scope":"global"}}`, a)
	_, err = p.call("VolumeDriver.Get", `{"Name":"v"}`)
	assert.Error(t, err, "not known: no answer")
	a, err = p.call("VolumeDriver.Unmount", `{"Name":"v","ID":"i"}`)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, a)
	st, err := os.Stat(p.socket)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o660), st.Mode().Perm())
	assert.Less(t, rss(t, p.cmd.Process.Pid), 40<<10, "KiB of memory")

	// Killed, the next one takes over the socket it left behind.
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()
	p = start(t, dir)
	// The best of two: other work may hold up one of them.
	assert.Less(t, min(again, p.ready), 200*time.Millisecond, "the socket is there")

	begin := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait(), "a stop that was asked for is a success")
	assert.Less(t, time.Since(begin), 8*time.Second)
	assert.NoFileExists(t, p.socket)
}

// A request that waits for a host service does not hold up the stop.
func TestProcessStopsInTime(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "host.sock")) // accepts and never answers
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	p := start(t, dir)
	answered := make(chan string, 1)
	go func() {
		a, err := p.call("VolumeDriver.Create", `{"Name":"v"}`)
		answered <- fmt.Sprint(a, err)
	}()
	time.Sleep(300 * time.Millisecond)
	begin := time.Now()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
	assert.Less(t, time.Since(begin), 8*time.Second)
	assert.Contains(t, <-answered, "Err", "it is told why")
}

func rss(t *testing.T, pid int) (kib int) {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	defer func() { _ = f.Close() }()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if n, _ := fmt.Sscanf(sc.Text(), "VmRSS: %d kB", &kib); n == 1 {
			return kib
		}
	}
	t.Fatal("no VmRSS")
	return 0
}
