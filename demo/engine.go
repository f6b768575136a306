package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// theirSocket is where a machine's own Docker engine listens.
const theirSocket = "/var/run/docker.sock"

// engine is a Docker engine that the demo may use.
type engine struct {
	socket string
	own    bool
}

// plugins are the demo's two plugins: for which VM each speaks.
var plugins = []struct{ alias, vm string }{{"vsphere", "Photon1"}, {"vsphere-test", "Photon4"}}

func (s *site) ownEngine() engine { return engine{socket: s.socket("docker"), own: true} }

// docker runs the client quietly and returns what it printed.
func (e engine) docker(ctx context.Context, args ...string) (string, error) {
	return e.dockerWith(ctx, nil, args...)
}

func (e engine) dockerWith(ctx context.Context, stdin []byte, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "docker", args...)
	cmd.Env = e.env()
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.SysProcAttr = diesWithUs()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("docker %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errOut.String()))
	}
	return strings.TrimSpace(out.String()), err
}

// env is the environment of clients: this engine and no other.
func (e engine) env() []string {
	env := slices.DeleteFunc(os.Environ(), func(w string) bool {
		return strings.HasPrefix(w, "DOCKER_")
	})
	return append(env, "DOCKER_HOST=unix://"+e.socket)
}

func (e engine) answers(ctx context.Context) bool {
	if _, err := os.Stat(e.socket); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := e.docker(ctx, "version", "--format", "{{.Server.Version}}")
	return err == nil
}

// theirs is the machine's own engine, if it answers and the demo can have its
// plugin names there. why says why not, "" when there is none. What an earlier
// demo had there is gone by now.
func (s *site) theirs(ctx context.Context) (e engine, ok bool, why string) {
	e = engine{socket: theirSocket}
	if !e.answers(ctx) {
		return e, false, ""
	}
	for _, p := range plugins {
		if _, err := e.docker(ctx, "plugin", "inspect", p.alias); err == nil {
			return e, false, fmt.Sprintf("the engine at %s has a plugin %s already, which the demo leaves alone", theirSocket, p.alias)
		}
	}
	return e, true, ""
}

// claim notes that plugins with the demo's names in the machine's own engine
// are the demo's: there are none yet.
func (s *site) claim() error { return os.WriteFile(s.claimed(), nil, 0o644) }

func (s *site) claimed() string { return filepath.Join(homeDir, "uses-their-engine") }

// startEngine starts the demo's own engine and waits until it answers. It
// makes no bridge and no firewall rule: its containers have no network.
func (s *site) startEngine(ctx context.Context, show func([]string)) (engine, error) {
	e := s.ownEngine()
	if s.pid("dockerd") != 0 && e.answers(ctx) {
		return e, nil
	}
	if err := s.end(ctx, "dockerd", 20*time.Second); err != nil {
		return e, err
	}
	conf := filepath.Join(homeDir, "dockerd.json") // the machine's own is for its own engine
	if err := os.WriteFile(conf, []byte("{}\n"), 0o644); err != nil {
		return e, err
	}
	args := []string{
		"dockerd", "--host", "unix://" + e.socket, "--data-root", s.dataRoot(), "--exec-root", filepath.Join(runDir, "engine"),
		"--pidfile", filepath.Join(runDir, "engine.pid"), "--config-file", conf, "--cgroup-parent", cgroup,
		"--exec-opt", "native.cgroupdriver=cgroupfs", "--bridge=none", "--iptables=false", "--ip6tables=false",
	}
	if show != nil {
		show(args)
	}
	// Pid files of an engine that was killed: it would wait for their owners.
	for _, f := range []string{"engine.pid", "engine/containerd/containerd.pid"} {
		var pid int
		b, _ := os.ReadFile(filepath.Join(runDir, f))
		if _, err := fmt.Sscan(string(b), &pid); err != nil || !running(pid) {
			_ = os.Remove(filepath.Join(runDir, f))
		}
	}
	if err := s.start(ctx, "dockerd", args...); err != nil {
		return e, err
	}
	err := eventually(ctx, 60*time.Second, func() error {
		if e.answers(ctx) {
			return nil
		}
		return errors.New("the Docker engine does not answer: see " + s.log("dockerd"))
	})
	return e, err
}

// clean removes what the demo has in an engine that is its own or claimed:
// containers, volumes, plugins and the image. Nothing else there is touched.
// All of it is tried.
func (e engine) clean(ctx context.Context) error {
	var errs []error
	each := func(what string, ids string, err error, remove ...string) {
		errs = append(errs, err)
		for _, id := range strings.Fields(ids) {
			if _, err := e.docker(ctx, append(remove, id)...); err != nil {
				errs = append(errs, fmt.Errorf("removing %s: %w", what, err))
			}
		}
	}
	if id, err := e.docker(ctx, "image", "inspect", "--format", "{{.Id}}", image); err == nil {
		ids, err := e.docker(ctx, "ps", "--all", "--quiet", "--filter", "ancestor="+id)
		each("a container", ids, err, "rm", "--force", "--volumes")
	}
	for _, p := range plugins {
		enabled, err := e.docker(ctx, "plugin", "inspect", "--format", "{{.Enabled}}", p.alias)
		if err != nil {
			continue // not there
		}
		if enabled == "true" {
			names, err := e.docker(ctx, "volume", "ls", "--quiet", "--filter", "driver="+p.alias+":latest")
			each("a volume", names, err, "volume", "rm", "--force")
			_, err = e.docker(ctx, "plugin", "disable", "--force", p.alias)
			errs = append(errs, err)
		}
		_, err = e.docker(ctx, "plugin", "rm", "--force", p.alias)
		errs = append(errs, err)
	}
	if ids, err := e.docker(ctx, "images", "--quiet", "--no-trunc", image); err == nil {
		each("the image", ids, nil, "rmi", "--force")
	}
	return errors.Join(errs...)
}
