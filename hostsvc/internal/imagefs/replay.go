package imagefs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// replay has the kernel replay a filesystem's journal, which is what mounting
// it on a device that can be written to does, also when it is mounted
// read-only: then it changes nothing else. Another process does it, in a mount
// namespace that ends with it. That mount writes, and what waits for a write
// cannot be killed; so it must not be us, who have to serve it.
func (s *stack) replay(ctx context.Context, fstype string) error {
	if err := s.plug(true); err != nil {
		return err
	}
	err := errors.Join(mountOnce(ctx, s.loop.name, fstype, s.dir), s.unmount(ctx))
	if full := s.over.Err(); err != nil && full != nil {
		return fail(full, "replaying the journal of the %s filesystem", fstype)
	}
	return s.explain(err, "replaying the journal of the %s filesystem", fstype)
}

// mountOnce mounts a device and unmounts it.
func mountOnce(ctx context.Context, name, fstype, at string) error {
	path, err := findTool("mount", "mount")
	if err != nil {
		return err
	}
	options := append([]string{"ro", "nodev", "nosuid", "noexec"}, mountOptions[fstype]...)
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, "-n", "-i", "-t", fstype, "-o", strings.Join(options, ","), filepath.Join("/dev", name), at)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &out, toolEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Unshareflags: unix.CLONE_NEWNS}
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
