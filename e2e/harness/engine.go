package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Image is the test image: busybox with an empty /data and, in /seed, one
// file. Its registry does not exist, so that no engine waits for one.
const Image = "127.0.0.1:1/mooring/busybox:e2e"

// dockerCLI is the client to test with: the distribution's, where there is one.
func dockerCLI() string {
	const debian = "/usr/bin/docker"
	if _, err := os.Stat(debian); err == nil {
		return debian
	}
	path, err := exec.LookPath("docker")
	if err != nil {
		return debian
	}
	return path
}

// DockerSocket is the engine's socket seen from outside the guest.
func (g *Guest) DockerSocket() string { return filepath.Join(g.Disk(), "docker.sock") }

// DockerArgs is the command line that runs args on the guest's engine.
func (g *Guest) DockerArgs(args ...string) []string {
	return append([]string{dockerCLI(), "-H", "unix://" + g.DockerSocket()}, args...)
}

// Docker runs the docker command against the guest's engine.
func (g *Guest) Docker(ctx context.Context, args ...string) Result {
	return g.lab.run(ctx, nil, g.DockerArgs(args...)...)
}

// StartEngine starts dockerd and waits until it answers. flags replace those
// of the last start, when there are any.
func (g *Guest) StartEngine(t testing.TB, flags ...string) {
	t.Helper()
	if len(flags) > 0 {
		g.flags = flags
	}
	require.NoError(t, g.startEngine(lasting(t)))
	if g.Docker(lasting(t), "image", "inspect", Image).Code != 0 {
		g.Docker(lasting(t), "import", "-c", `CMD ["/bin/sh"]`, "-c", "ENV PATH=/bin", g.lab.image, Image).OK(t)
	}
}

// SetEngineFlags sets the flags of the next start, none for the defaults.
func (g *Guest) SetEngineFlags(flags ...string) { g.flags = flags }

func (g *Guest) startEngine(ctx context.Context) error {
	args := append(g.enter(), "dockerd", "--host", "unix:///srv/docker.sock", "--host", "unix:///run/docker.sock", "--data-root", "/srv/data",
		"--pidfile", "/run/docker.pid", "--cgroup-parent", "/"+filepath.Base(g.lab.Dir)+"/"+g.Name,
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--insecure-registry", "10.99.0.0/24")
	p, err := g.lab.start(g.engineLog(), 0, nil, append(args, g.flags...)...)
	if err != nil {
		return err
	}
	g.engine = p
	err = Eventually(3*time.Minute, func() error { // also while other labs keep the machine busy
		if !p.alive() {
			return nil
		}
		return g.ping(ctx)
	})
	if err == nil && !p.alive() {
		err = fmt.Errorf("dockerd has ended: %w", p.err)
	}
	if err != nil {
		return fmt.Errorf("starting the engine of %s: %w\n%s", g.Name, err, tail(p.log, 20, nil))
	}
	return nil
}

func (g *Guest) engineLog() string { return filepath.Join(g.dir, "dockerd.log") }

// ping asks the engine whether it is ready.
func (g *Guest) ping(ctx context.Context) error {
	return get(ctx, g.DockerSocket(), "/_ping")
}

// get asks for a path over a unix socket and wants 200.
func get(ctx context.Context, socket, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	status, _, err := request(ctx, socket, http.MethodGet, path, nil)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%s answers %d", path, status)
	}
	return err
}

// request sends one request with a JSON body over a unix socket.
func request(ctx context.Context, socket, method, path string, body any) (status int, answer string, err error) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	var payload io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, "", err
		}
		payload = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://local"+path, payload)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), err
}

// API asks the guest's engine without the docker command, for tests that ask
// often. The result's code is 0 for a success.
func (g *Guest) API(ctx context.Context, method, path string, body any) Result {
	ctx, cancel := context.WithTimeout(ctx, runLimit)
	defer cancel()
	start := time.Now()
	status, answer, err := request(ctx, g.DockerSocket(), method, path, body)
	r := Result{Args: []string{method, path}, Stdout: answer, Took: time.Since(start)}
	switch {
	case err != nil:
		r.Code, r.Stderr = -1, err.Error()
	case status >= 400:
		r.Code, r.Stderr = status, answer
	}
	return r
}

// StopEngine ends dockerd as a service manager would.
func (g *Guest) StopEngine(t testing.TB) {
	t.Helper()
	require.NoError(t, g.signalEngine(lasting(t), syscall.SIGTERM))
}

// KillEngine kills dockerd without a word; containers and plugins live on.
func (g *Guest) KillEngine(t testing.TB) {
	t.Helper()
	require.NoError(t, g.signalEngine(lasting(t), syscall.SIGKILL))
}

// signalEngine reaches dockerd by its pid inside the guest: the process the
// harness started is the nsenter that waits for it.
func (g *Guest) signalEngine(ctx context.Context, sig syscall.Signal) error {
	if !g.engine.alive() {
		return nil
	}
	r := g.Shell(ctx, fmt.Sprintf("kill -%d $(cat /run/docker.pid)", sig))
	if r.Code != 0 {
		return fmt.Errorf("ending the engine of %s: %s", g.Name, r)
	}
	return g.engine.wait(45 * time.Second)
}

// EngineRuns reports whether dockerd is alive.
func (g *Guest) EngineRuns() bool { return g.engine.alive() }
