package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// powers remembers which process each pid file meant when it was first seen,
// so that a process that got the pid later is not taken for it.
type powers struct {
	mu   sync.Mutex // guards seen
	seen map[string]meant
}

type meant struct {
	file  written
	start uint64 // of the process, in clock ticks after boot; 0: it was dead
}

// written tells one writing of a pid file from the next.
type written struct {
	pid     int
	inode   uint64
	changed time.Time
}

// of is a VM's power and, while it is on, its boot id.
func (p *powers) of(v VM) (hypervisor.Power, string) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return hypervisor.Unknown, ""
	}
	host := strings.TrimSpace(string(boot))
	if v.InitPIDFile == "" {
		return hypervisor.On, host
	}
	w, err := readPIDFile(v.InitPIDFile)
	if errors.Is(err, fs.ErrNotExist) {
		return hypervisor.Off, ""
	}
	if err != nil {
		return hypervisor.Unknown, ""
	}
	start, err := processStart(w.pid)
	if err != nil {
		return hypervisor.Unknown, ""
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen == nil {
		p.seen = map[string]meant{}
	}
	m := p.seen[v.InitPIDFile]
	if m.file != w {
		m = meant{w, start}
		p.seen[v.InitPIDFile] = m
	}
	if start == 0 || start != m.start {
		return hypervisor.Off, ""
	}
	return hypervisor.On, fmt.Sprintf("%d-%d-%.8s", w.pid, start, host)
}

func readPIDFile(file string) (w written, err error) {
	st, err := os.Stat(file)
	if err != nil {
		return w, err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return w, err
	}
	w.changed = st.ModTime()
	if s, ok := st.Sys().(*syscall.Stat_t); ok {
		w.inode = s.Ino
	}
	w.pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
	if err == nil && w.pid <= 0 {
		err = fmt.Errorf("%s holds no pid", file)
	}
	return w, err
}

// processStart is when a process started, 0 when there is none or only its
// remains.
func processStart(pid int) (uint64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return 0, nil
		}
		return 0, fmt.Errorf("process %d is there but hidden from this service", pid)
	}
	if err != nil {
		return 0, err
	}
	// pid (name) state ppid ...: the name may hold anything, the last ) ends it
	_, rest, _ := strings.Cut(string(b[max(0, strings.LastIndexByte(string(b), ')')):]), ") ")
	f := strings.Fields(rest)
	if len(f) < 20 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f))
	}
	if f[0] == "Z" || f[0] == "X" {
		return 0, nil
	}
	return strconv.ParseUint(f[19], 10, 64)
}

// Watch implements hypervisor.Watcher, by looking often.
func (l *Local) Watch(ctx context.Context, events chan<- hypervisor.Event) error {
	last := map[volspec.VMID]hypervisor.VM{}
	tick := time.NewTicker(l.conf.Load().poll)
	defer tick.Stop()
	for {
		vms, err := l.VMs(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		for _, now := range vms {
			before, known := last[now.ID]
			if now.Power == hypervisor.Unknown {
				continue
			}
			last[now.ID] = now
			if !known {
				continue
			}
			for _, kind := range changes(before, now) {
				select {
				case events <- hypervisor.Event{Time: time.Now(), VM: now.ID, Kind: kind}:
				case <-ctx.Done():
					return nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func changes(before, now hypervisor.VM) (kinds []string) {
	if before.Power == hypervisor.On && (now.Power == hypervisor.Off || now.BootID != before.BootID) {
		kinds = append(kinds, "power-off")
	}
	if now.Power == hypervisor.On && (before.Power == hypervisor.Off || now.BootID != before.BootID) {
		kinds = append(kinds, "power-on")
	}
	return kinds
}
