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
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start runs a daemon that outlives this process. Its pid is in a file before
// it runs: see become.
func (s *site) start(ctx context.Context, name string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	out, err := os.OpenFile(s.log(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), self, append([]string{"exec", s.pidFile(name)}, args...)...)
	cmd.Env = append(os.Environ(), mark)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { _ = cmd.Wait() }() // reaps it if it ends before this process
	return nil
}

// diesWithUs ends a command when this process is killed.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// become writes this process's pid and turns into another program. That way
// no daemon ever runs without its pid file, whoever is killed when.
func become(pidFile string, args []string) int {
	path, err := exec.LookPath(args[0])
	if err == nil {
		err = os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644)
	}
	if err == nil {
		err = unix.Exec(path, args, os.Environ())
	}
	fmt.Fprintf(os.Stderr, "demo: starting %s: %v\n", args[0], err)
	return 1
}

// pid is that of a living daemon of the demo, 0 when there is none. A number
// that was given to another process meanwhile does not count: a daemon of the
// demo has its folders on its command line.
func (s *site) pid(name string) int {
	b, err := os.ReadFile(s.pidFile(name))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || pid <= 1 {
		return 0
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err == nil && (bytes.Contains(line, []byte(homeDir+"/")) || bytes.Contains(line, []byte(runDir+"/"))) {
		return pid
	}
	return 0
}

// end stops a daemon: SIGTERM, and SIGKILL when it takes longer than patience.
func (s *site) end(ctx context.Context, name string, patience time.Duration) error {
	for _, sig := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		pid := s.pid(name)
		if pid == 0 {
			return nil
		}
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("ending %s (pid %d): %w", name, pid, err)
		}
		err := eventually(ctx, patience, func() error {
			if s.pid(name) == pid && running(pid) {
				return fmt.Errorf("%s (pid %d) does not end", name, pid)
			}
			return nil
		})
		if err == nil {
			return nil
		}
		patience = 10 * time.Second
	}
	return fmt.Errorf("%s could not be ended", name)
}

// running tells a living process from one that only waits to be reaped.
func running(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// marked finds the processes that descend from a daemon of the demo: by their
// environment, or by the control group of its own engine's containers.
func marked() []int {
	entries, _ := os.ReadDir("/proc")
	var out []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || !running(pid) {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		groups, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cgroup"))
		ours := slices.ContainsFunc(strings.Split(string(env), "\x00"), func(w string) bool {
			return w == mark || strings.HasPrefix(w, "MOORING_HOST=unix://"+runDir+"/")
		})
		if ours || bytes.Contains(groups, []byte(":"+cgroup+"/")) {
			out = append(out, pid)
		}
	}
	return out
}

// eventually repeats try until it succeeds; its last error if it does not.
func eventually(ctx context.Context, patience time.Duration, try func() error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
