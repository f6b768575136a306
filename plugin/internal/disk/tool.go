package disk

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// Tools get only this much of what they said into an error.
const tailLen = 600

// Stopping a tool asks it first: e2fsck then leaves a consistent filesystem.
const toolGrace = 1500 * time.Millisecond

var toolDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// tool runs one filesystem program and returns its exit code. The error is
// nil for code 0 and for the codes in ok. A program that is not there is
// unsupported; one that was stopped because ctx ended is unavailable;
// any other failure is of kind internal, with the end of what it said.
func tool(ctx context.Context, ok []int, name string, args ...string) (int, error) {
	return toolWith(ctx, nil, ok, name, args...)
}

// toolWith is tool for a program that has held open from its first moment to
// its last, also when it outlives this process.
func toolWith(ctx context.Context, held []*os.File, ok []int, name string, args ...string) (int, error) {
	path := toolPath(name)
	if path == "" {
		return -1, errkind.New(errkind.Unsupported, "the program %s is missing here: install it, or use a filesystem that this plugin has tools for", name)
	}
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = &out, &out, held
	cmd.Env = []string{"PATH=" + strings.Join(toolDirs, ":"), "LC_ALL=C"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to the plugin is not for its tools
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = toolGrace
	start := time.Now()
	err := cmd.Run()
	code := cmd.ProcessState.ExitCode() // -1 when it did not start or was killed
	log.G(ctx).WithField(log.Op, name).WithField(log.Dur, time.Since(start).Milliseconds()).
		WithField("args", args).WithField("exit", code).Debug("filesystem tool ended")
	switch {
	case ctx.Err() != nil:
		return code, errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "%s was stopped before its end", name)
	case err == nil:
		return code, nil
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && slices.Contains(ok, code) {
		return code, nil
	}
	return code, errkind.Wrap(errkind.Internal, err, "%s: %s", name, tail(out.String()))
}

func tail(s string) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if len(s) > tailLen {
		s = "…" + strings.ToValidUTF8(s[len(s)-tailLen:], "")
	}
	return s
}

func toolPath(name string) string {
	for _, d := range toolDirs {
		p := filepath.Join(d, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p
		}
	}
	return ""
}
