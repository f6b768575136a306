package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/simvc/control"
)

// hypervisorVariable says who runs the story's virtual machines.
const hypervisorVariable = "MOORING_DEMO_HYPERVISOR"

// The hypervisors that the story can be told on.
const (
	onLocal   = "local"
	onVSphere = "vsphere"
)

// chosen is the hypervisor of this run.
func chosen() (string, error) {
	h := cmp.Or(os.Getenv(hypervisorVariable), onLocal)
	if h != onLocal && h != onVSphere {
		return "", fmt.Errorf("%s is %q: it must be %s or %s", hypervisorVariable, h, onLocal, onVSphere)
	}
	return h, nil
}

// machines are the story's Docker hosts.
var machines = []string{"Photon1", "Photon2", "Photon3", "Photon4", "Photon5", "Photon6"}

// vcenter is the folder of the simulated vCenter.
func (s *site) vcenter() string { return filepath.Join(homeDir, "vcenter") }

// invitation is the file with a VM's one-time code.
func (s *site) invitation(vm string) string { return filepath.Join(runDir, "enroll", vm) }

// access is what the simulator says of itself when it serves.
type access struct{ URL, User, Password, Thumbprint, Socket string }

// dev is what a machine of the simulator has as its /dev.
func (s *site) dev(vm string) string { return filepath.Join(runDir, "dev", vm) }

// makeDev makes a machine's /dev, on a filesystem that may have devices, with
// what programs expect in it.
func (s *site) makeDev(vm string) error {
	dir := s.dev(vm)
	if slices.Contains(mountsBelow(), dir) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mounting the /dev of %s: %w", vm, err)
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		node := filepath.Join(dir, name)
		if err := unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return fmt.Errorf("making %s: %w", node, err)
		}
		if err := os.Chmod(node, 0o666); err != nil {
			return err
		}
	}
	return nil
}

// startVCenter starts the simulator, if it does not run, with the story's
// machines.
func (s *site) startVCenter(ctx context.Context, show func([]string)) (access, error) {
	if s.pid("mooring-simvc") == 0 {
		if err := os.MkdirAll(s.vcenter(), 0o700); err != nil {
			return access{}, err
		}
		args := []string{s.bin("mooring-simvc"), "-dir", s.vcenter(), "-datastores", "datastore1,datastore3", "-capacity", "53687091200"}
		if show != nil {
			show(append([]string{"mooring-simvc"}, args[1:]...))
		}
		if err := os.Remove(s.log("mooring-simvc")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return access{}, err
		}
		if err := s.start(ctx, "mooring-simvc", args...); err != nil {
			return access{}, err
		}
	}
	var a access
	err := eventually(ctx, 30*time.Second, func() error {
		b, err := os.ReadFile(s.log("mooring-simvc"))
		line, _, whole := bytes.Cut(b, []byte("\n"))
		if err == nil && !whole {
			err = errors.New("it has not said yet where it listens")
		}
		if err == nil {
			err = json.Unmarshal(line, &a)
		}
		return err
	})
	if err != nil {
		return a, fmt.Errorf("the simulated vCenter does not answer: %w; the end of its log:\n%s", err, tail(s.log("mooring-simvc"), 10))
	}
	return a, s.populate(ctx, control.Connect(a.Socket))
}

// populate makes the machines that are not there yet.
func (s *site) populate(ctx context.Context, c *control.Client) error {
	have, err := c.VMs(ctx)
	if err != nil {
		return err
	}
	for _, name := range machines {
		if slices.ContainsFunc(have, func(vm control.VM) bool { return vm.Name == name }) {
			continue
		}
		if _, err := c.AddVM(ctx, name, "", "datastore1"); err != nil {
			return err
		}
	}
	for _, p := range plugins {
		if err := errors.Join(s.makeDev(p.vm), c.Plug(ctx, p.vm, s.dev(p.vm))); err != nil {
			return err
		}
	}
	return nil
}

// vsphereConfig is the part of the configuration that names this vCenter. VMs
// come in over TLS, at a port that is free now.
func (s *site) vsphereConfig(ctx context.Context, a access) (string, error) {
	password := filepath.Join(homeDir, "vsphere.password")
	if err := os.WriteFile(password, []byte(a.Password+"\n"), 0o600); err != nil {
		return "", err
	}
	door, err := freeDoor(ctx, 0)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`hypervisor = %q

[vsphere]
url = %q
user = %q
password_file = %q
thumbprint = %q

[guest]
listen = %q
`, onVSphere, a.URL, a.User, password, a.Thumbprint, door), nil
}

// invite gets the code with which a VM's plugin enrols, and the settings that
// use it.
func (w *world) invite(ctx context.Context, vm string) ([]string, error) {
	text, err := w.mooring(ctx, "vm", "enroll", vm, "-o", "json")
	if err != nil {
		return nil, err
	}
	var in struct {
		URL string `json:"url"`
	}
	if err := json.Unmarshal([]byte(text), &in); err != nil {
		return nil, fmt.Errorf("reading the code of %s: %w", vm, err)
	}
	file := w.site.invitation(vm)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	return []string{"MOORING_HOST=" + in.URL, "MOORING_ENROLL=" + file}, os.WriteFile(file, []byte(text), 0o600)
}

// told is the story as it goes on a hypervisor.
func told(chapters []chapter, hypervisor string) []chapter {
	for i, c := range chapters {
		chapters[i].steps = slices.DeleteFunc(c.steps, func(s step) bool { return s.only != "" && s.only != hypervisor })
	}
	return slices.DeleteFunc(chapters, func(c chapter) bool { return len(c.steps) == 0 })
}
