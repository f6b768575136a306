package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/wire"
)

// loopFinding judges whether the kernel has a free loop device, which is what
// the local hypervisor attaches disks with.
func loopFinding(n int, err error) wire.Finding {
	const check = "loop devices"
	if err != nil {
		return wire.Finding{Level: levelError, Check: check, Detail: "no disk can be attached: " + err.Error(), Remedy: "load the kernel's loop module, and let mooringd use /dev/loop-control and /dev/loop*"}
	}
	return wire.Finding{Level: levelOK, Check: check, Detail: fmt.Sprintf("available, the next free one is loop%d", n)}
}

func freeLoop() (int, error) {
	ctl, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer ctl.Close()
	n, err := unix.IoctlRetInt(int(ctl.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return 0, os.NewSyscallError("LOOP_CTL_GET_FREE", err)
	}
	return n, nil
}

// checkSockets sees that every channel is still where guests look for it,
// with the rights it was made with.
func (s *system) checkSockets(context.Context) ([]wire.Finding, error) {
	var found []wire.Finding
	n := 0
	for _, d := range s.d.openDoors() {
		if d.key.network != "unix" {
			continue
		}
		n++
		f := wire.Finding{Level: levelError, Check: "socket of " + d.name, Remedy: "restart mooringd, it makes its sockets anew"}
		st, err := os.Lstat(d.key.address)
		switch {
		case err != nil:
			f.Detail = "it is gone: " + err.Error()
		case st.Mode().Type() != os.ModeSocket:
			f.Detail = d.key.address + " is not a socket any more"
		case st.Mode().Perm() != d.key.mode:
			f.Level, f.Detail = levelWarning, fmt.Sprintf("%s has mode %04o instead of %04o", d.key.address, st.Mode().Perm(), d.key.mode)
		default:
			continue
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		found = append(found, wire.Finding{Level: levelOK, Check: "sockets", Detail: fmt.Sprintf("%d, all in place", n)})
	}
	return found, nil
}

// checkClock compares the time with the catalog's last word and asks the
// kernel whether anything keeps the clock right.
func (s *system) checkClock(ctx context.Context) ([]wire.Finding, error) {
	f := wire.Finding{Level: levelOK, Check: "clock", Detail: "synchronised"}
	var last time.Time
	err := s.d.store.View(ctx, func(tx volume.Tx) error {
		lines, err := tx.Audit("", 1)
		if len(lines) > 0 {
			last = lines[0].Time
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var t unix.Timex
	_, err = unix.Adjtimex(&t)
	switch {
	case time.Until(last) > time.Minute:
		f.Level, f.Detail = levelError, fmt.Sprintf("it is %s, but the audit log was last written at %s", time.Now().UTC().Format(time.RFC3339), last.Format(time.RFC3339))
		f.Remedy = "set the clock: the trash is emptied and leases end by it"
	case err == nil && t.Status&unix.STA_UNSYNC != 0:
		f.Level, f.Detail = levelWarning, "the kernel's clock is not synchronised"
		f.Remedy = "run a time service, such as systemd-timesyncd or chrony"
	case err != nil:
		f.Detail = "plausible; whether it is synchronised cannot be asked here"
	}
	return []wire.Finding{f}, nil
}
