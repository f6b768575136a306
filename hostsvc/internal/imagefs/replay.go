package imagefs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// replay has the kernel replay a filesystem's journal, which is what mounting
// it on a device that can be written to does, also when it is mounted
// read-only: then it changes nothing else. Another process does it. That mount
// writes, and what waits for a write cannot be killed; so it must not be us, who
// have to serve it, and who have locks.
func (s *stack) replay(ctx context.Context, fstype string) error {
	if err := s.plug(true); err != nil {
		return err
	}
	err := errors.Join(mountOnce(ctx, s.loop.name, fstype), s.unmount(ctx))
	if full := s.over.Err(); err != nil && full != nil {
		return fail(full, "replaying the journal of the %s filesystem", fstype)
	}
	return s.explain(err, "replaying the journal of the %s filesystem", fstype)
}

// helperName is what this program is called when it is the other process.
const helperName = "mooring-replay"

// The other process is this program, whichever that is: it mounts the device
// of its first argument as the type of its second, unmounts it and ends,
// before main.
func init() {
	if os.Args[0] != helperName || len(os.Args) != 3 {
		return
	}
	tree, err := mount(os.Args[1], os.Args[2], true)
	if err == nil {
		err = tree.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// mountOnce mounts a device and unmounts it, in the other process.
func mountOnce(ctx context.Context, name, fstype string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName, filepath.Join("/dev", name), fstype}
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, toolEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	if fstype == volspec.XFS {
		stop := impatient(name)
		defer stop()
	}
	if err := cmd.Run(); err != nil {
		kind := errkind.Corrupt
		if ctx.Err() != nil {
			kind = errkind.Unavailable
		}
		return errkind.Wrap(kind, err, "%s", tail(out.String(), 300))
	}
	return nil
}

// impatient makes xfs give up when a write fails while it mounts; by itself it
// would try again for ever. The switch appears in the middle of the mount.
func impatient(name string) (stop func()) {
	ended := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !giveUp(name) {
			select {
			case <-ended:
				return
			case <-tick.C:
			}
		}
	})
	return func() {
		close(ended)
		wait.Wait()
	}
}

// giveUp tells an xfs filesystem that is mounted, or being mounted, not to
// repeat what fails. It reports whether there is one.
func giveUp(name string) bool {
	files, _ := filepath.Glob(filepath.Join("/sys/fs/xfs", name, "error/metadata/*/max_retries"))
	done := 0
	for _, f := range files {
		if os.WriteFile(f, []byte("0"), 0) == nil {
			done++
		}
	}
	return done >= 4 // EIO, ENOSPC, ENODEV and the rest
}
