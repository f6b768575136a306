package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// world is the running demo: a host service, an engine with two plugins.
type world struct {
	site   *site
	engine engine
}

// exports are what a shell needs to talk to this world.
func (w *world) exports() []string {
	return []string{
		"export PATH=" + filepath.Join(w.site.root, "bin") + ":$PATH",
		"export MOORING_SOCKET=unix://" + w.site.socket("admin"),
		"export XDG_CONFIG_HOME=" + peopleDir(),
		"export DOCKER_HOST=unix://" + w.engine.socket,
	}
}

// build starts everything the story needs.
func build(ctx context.Context, t *terminal, s *site) (*world, error) {
	t.title("The parts")
	for _, dir := range []string{homeDir, runDir, s.datastore("datastore1"), s.datastore("datastore3")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
	}
	e, err := s.chooseEngine(ctx, t)
	if err != nil {
		return nil, err
	}
	w := &world{site: s, engine: e}
	if s.door, err = freeDoor(ctx, portalPort); err != nil {
		return nil, err
	}
	if err := errors.Join(inviteAll(), s.describe(ctx, t)); err != nil {
		return nil, err
	}
	if err := s.startService(ctx, t.command); err != nil {
		return nil, err
	}
	tarball, err := imageTar(ctx)
	if err == nil {
		_, err = e.dockerWith(ctx, tarball, "import", "--change", `CMD ["/bin/sh"]`, "--change", "ENV PATH=/bin", "-", image)
	}
	if err != nil {
		return nil, fmt.Errorf("making the containers' image: %w", err)
	}
	for _, p := range plugins {
		if err := s.copyPlugin(p.alias, p.vm); err != nil {
			return nil, fmt.Errorf("copying the plugin's folder: %w", err)
		}
	}
	t.say("The plugin, twice: %s speaks for %s of the developers, %s for %s\nof the testers. On real hosts each VM has the one called %s.",
		plugins[0].alias, plugins[0].vm, plugins[1].alias, plugins[1].vm, plugins[0].alias)
	steps, err := w.installPlugins(ctx)
	if err != nil {
		return nil, err
	}
	return w, play(ctx, t, w, steps)
}

// describe says who runs the machines, and writes the configuration.
func (s *site) describe(ctx context.Context, t *terminal) error {
	if s.hypervisor == onLocal {
		t.say("The host service: two datastores (folders), six virtual machines that here are\nthis machine, each with a socket of its own, made from config/samples/demo.toml.")
		return s.configure()
	}
	t.say("A simulated vCenter with two datastores and six virtual machines. Its disks hold\nreal bytes: what is attached to a machine appears in that machine's /dev.")
	a, err := s.startVCenter(ctx, t.command)
	if err != nil {
		return err
	}
	t.say("The host service. Machines come to it over TLS, with certificates.")
	text, err := s.vsphereConfig(ctx, a)
	if err != nil {
		return err
	}
	return s.writeConfig(text)
}

// chooseEngine takes the machine's own engine, else starts another one.
func (s *site) chooseEngine(ctx context.Context, t *terminal) (engine, error) {
	e, ok, why := s.theirs(ctx)
	if ok {
		t.say("The Docker engine of this machine is used, at %s.", theirSocket)
		return e, s.claim()
	}
	if why == "" {
		why = "none answers at " + theirSocket
	}
	t.say("A Docker engine for the demo alone is started: %s.", why)
	return s.startEngine(ctx, t.command)
}

// channel is how a VM's plugin reaches the service, in its settings.
func (w *world) channel(ctx context.Context, vm string) ([]string, error) {
	if w.site.hypervisor == onVSphere {
		return w.invite(ctx, vm)
	}
	return []string{"MOORING_HOST=unix://" + w.site.guest(vm)}, nil
}

// installPlugins are the steps that give the engine the two plugins.
func (w *world) installPlugins(ctx context.Context) ([]chapter, error) {
	var steps []step
	for _, p := range plugins {
		settings, err := w.channel(ctx, p.vm)
		if err != nil {
			return nil, err
		}
		set := append([]string{"docker", "plugin", "set", p.alias}, settings...)
		if w.engine.own {
			set = append(set, "MOORING_ENGINE=unix://"+w.engine.socket)
		}
		steps = append(steps,
			step{run: []string{"docker", "plugin", "create", p.alias, w.site.plugin(p.alias)}, want: []string{p.alias}},
			step{run: set},
			step{run: []string{"docker", "plugin", "enable", "--timeout", "0", p.alias}, want: []string{p.alias}},
		)
	}
	return []chapter{{steps: steps}}, nil
}

// copyPlugin makes a copy of the plugin's folder that differs in one file: an
// engine does not take the same filesystem twice. Where the VM is not this
// machine, it has a /dev of its own.
func (s *site) copyPlugin(alias, vm string) error {
	dir := s.plugin(alias)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(s.root, "dist/plugin"))); err != nil {
		return err
	}
	if s.hypervisor == onVSphere {
		file := filepath.Join(dir, "config.json")
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		own := bytes.Replace(b, []byte(`"source": "/dev"`), fmt.Appendf(nil, `"source": %q`, s.dev(vm)), 1)
		if bytes.Equal(own, b) {
			return fmt.Errorf("%s does not say where the plugin finds its disks", file)
		}
		if err := os.WriteFile(file, own, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "rootfs/etc/demo"), []byte(alias+"\n"), 0o644)
}

// configure writes the sample configuration with the demo's folders.
func (s *site) configure() error {
	sample, err := os.ReadFile(filepath.Join(s.root, "config/samples/demo.toml"))
	if err != nil {
		return err
	}
	return s.writeConfig(strings.ReplaceAll(string(sample), `"/var/lib/mooring/`, `"`+homeDir+`/`))
}

// writeConfig writes a configuration, and in a drop-in what is the demo's own.
func (s *site) writeConfig(text string) error {
	dropIn := fmt.Sprintf(`# What the demo changes in the sample: it lies beside a real installation.
state_dir = %q
run_dir = %q

[admin]
group = "" # root alone

[metrics]
listen = "" # no port that a real installation might want

[https]
listen = %q # the portal, on this machine alone
`, filepath.Join(homeDir, "state"), runDir, s.door)
	if err := os.MkdirAll(s.config()+".d", 0o755); err != nil {
		return err
	}
	return errors.Join(os.WriteFile(s.config(), []byte(text), 0o644),
		os.WriteFile(filepath.Join(s.config()+".d", "10-demo.toml"), []byte(dropIn), 0o644))
}

// startService starts mooringd, if it does not run, and waits until it is
// ready.
func (s *site) startService(ctx context.Context, show func([]string)) error {
	args := []string{s.bin("mooringd"), "--config", s.config()}
	if s.pid("mooringd") == 0 {
		if show != nil {
			show([]string{"mooringd", "--config", s.config()})
		}
		if err := s.start(ctx, "mooringd", args...); err != nil {
			return err
		}
	}
	err := eventually(ctx, 20*time.Second, func() error {
		code, _, err := ask(ctx, s.socket("admin"), "/readyz")
		if err == nil && code != 200 {
			err = fmt.Errorf("/readyz answers %d", code)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("mooringd does not get ready: %w; the end of its log:\n%s", err, tail(s.log("mooringd"), 10))
	}
	return nil
}

// tail is the end of a log.
func tail(path string, lines int) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
