package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// Sim is a running simulator.
type Sim struct {
	URL        string // https://127.0.0.1:port/sdk
	User       string
	Password   string
	Thumbprint string // SHA-256 of its certificate, AA:BB:...
	CAFile     string
	Dir        string
	*Client

	binary string
	args   []string
	own    bool // Dir is ours to remove
	cmd    *exec.Cmd
	done   chan struct{}
	err    error
}

// ready is what the program prints once it serves.
type ready struct {
	URL, User, Password, Thumbprint, CAFile, Dir, Socket string
}

var build struct {
	sync.Once
	path string
	err  error
}

// Build compiles mooring-simvc, once per process, and returns the path of the
// program. The caller may remove its directory at the end.
func Build(ctx context.Context) (string, error) {
	build.Do(func() {
		dir, err := os.MkdirTemp("", "simvc-bin")
		if err != nil {
			build.err = err
			return
		}
		path := filepath.Join(dir, "mooring-simvc")
		cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "mooring.dev/mooring/simvc/cmd/mooring-simvc")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			build.err = fmt.Errorf("simvc: building the program: %w: %s", err, out)
			_ = os.RemoveAll(dir)
			return
		}
		build.path = path
	})
	return build.path, build.err
}

// Start runs a simulator and returns when it answers. It ends with Stop, with
// Kill, or with this process.
func Start(ctx context.Context, binary string, o Options) (*Sim, error) {
	s := &Sim{binary: binary, own: o.Dir == ""}
	if s.own {
		dir, err := os.MkdirTemp("", "simvc")
		if err != nil {
			return nil, err
		}
		o.Dir = dir
	}
	s.Dir = o.Dir
	s.args = o.args()
	if err := s.run(ctx); err != nil {
		if s.own {
			_ = os.RemoveAll(s.Dir)
		}
		return nil, err
	}
	return s, nil
}

func (o Options) args() []string {
	a := []string{"-dir", o.Dir, "-with-parent"}
	if o.Hosts > 0 {
		a = append(a, "-hosts", strconv.Itoa(o.Hosts))
	}
	if len(o.Datastores) > 0 {
		a = append(a, "-datastores", strings.Join(o.Datastores, ","))
	}
	if o.Capacity > 0 {
		a = append(a, "-capacity", strconv.FormatInt(o.Capacity, 10))
	}
	if o.ESX {
		a = append(a, "-esx")
	}
	if o.PinSnapshots {
		a = append(a, "-pin-snapshots")
	}
	if o.User != "" {
		a = append(a, "-user", o.User)
	}
	if o.Password != "" {
		a = append(a, "-password", o.Password)
	}
	return append(a, "-vms", strconv.Itoa(o.VMs))
}

func (s *Sim) run(ctx context.Context) error {
	// The program outlives ctx, which is only for the start.
	cmd := exec.Command(s.binary, s.args...) //nolint:noctx // ends with Stop or with its parent
	stdin, err := cmd.StdinPipe()            // its end tells the program that we are gone
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	logs, err := os.OpenFile(filepath.Join(s.Dir, "simvc.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		return err
	}
	line := make(chan []byte, 1)
	s.cmd, s.done = cmd, make(chan struct{})
	done := s.done
	go func() {
		r := bufio.NewReader(out)
		b, _ := r.ReadBytes('\n')
		line <- b
		_, _ = io.Copy(io.Discard, r)
		s.err = cmd.Wait()
		_ = stdin.Close()
		close(done)
	}()
	select {
	case b := <-line:
		var r ready
		if err := json.Unmarshal(b, &r); err != nil {
			<-done
			return fmt.Errorf("simvc: the program ended at its start: %s", s.Log())
		}
		s.URL, s.User, s.Password, s.Thumbprint, s.CAFile = r.URL, r.User, r.Password, r.Thumbprint, r.CAFile
		if s.Client == nil {
			s.Client = Connect(r.Socket)
		}
		return nil
	case <-ctx.Done():
		return errors.Join(ctx.Err(), s.Kill())
	}
}

// Log is the end of what the simulator wrote about itself.
func (s *Sim) Log() string {
	b, _ := os.ReadFile(filepath.Join(s.Dir, "simvc.log"))
	return string(b[max(0, len(b)-2000):])
}

// Stop ends the simulator and removes its directory if Start made it. Again: nil.
func (s *Sim) Stop() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		<-s.done
		s.cmd = nil
	}
	// One that was killed, or broke, has left its devices plugged.
	if _, err := os.Stat(filepath.Join(s.Dir, "state", "plugs.json")); err == nil {
		cmd := exec.Command(s.binary, "-dir", s.Dir, "-unplug") //nolint:noctx // it is done at once
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("simvc: freeing devices: %w: %s", err, out)
		}
	}
	if s.own {
		return os.RemoveAll(s.Dir)
	}
	return nil
}

// Kill ends the simulator at once, as a crash does; its directory stays, and
// Restart goes on from there.
func (s *Sim) Kill() error {
	if s.cmd == nil {
		return nil
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.done
	s.cmd = nil
	return nil
}

// Restart kills the simulator if it runs and starts it again on the same port,
// with the same certificate, machines, disks, snapshots and tracking. Sessions
// and tasks are gone.
func (s *Sim) Restart(ctx context.Context) error {
	if err := s.Kill(); err != nil {
		return err
	}
	return s.run(ctx)
}
