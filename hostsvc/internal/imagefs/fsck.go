package imagefs

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// check is a program that looks at a filesystem and changes nothing.
type check struct {
	name string
	args []string
	deb  string // the Debian package that has it
	path string
}

var checks = map[string]check{
	volspec.Ext4:  {name: "e2fsck", args: []string{"-f", "-n"}, deb: "e2fsprogs"},
	volspec.XFS:   {name: "xfs_repair", args: []string{"-n", "-f"}, deb: "xfsprogs"},
	volspec.Btrfs: {name: "btrfs", args: []string{"check", "--readonly"}, deb: "btrfs-progs"},
}

var toolDirs = []string{"/usr/sbin", "/usr/bin", "/sbin", "/bin"}

// checker is the program for a filesystem. Not installed: unsupported.
func checker(fstype string) (c check, err error) {
	c = checks[fstype]
	c.path, err = findTool(c.name, c.deb)
	return c, err
}

// findTool is the path of a program that a Debian package has.
func findTool(name, deb string) (string, error) {
	for _, dir := range toolDirs {
		p := filepath.Join(dir, name)
		if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return p, nil
		}
	}
	return "", errkind.New(errkind.Unsupported, "the program %s is missing: install the Debian package %s", name, deb)
}

func toolEnv() []string { return []string{"PATH=" + strings.Join(toolDirs, ":"), "LC_ALL=C"} }

// run checks the filesystem in a file. Errors in it: corrupt, with the end of
// what the program said.
func (c check) run(ctx context.Context, file string) error {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, c.path, append(append([]string{}, c.args...), file)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = toolEnv()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a signal to the service is not for its tools
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if err == nil {
		return nil
	}
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0 {
		return errkind.Wrap(errkind.Unavailable, err, "%s did not come to its end", c.name)
	}
	return errkind.Wrap(errkind.Corrupt, err, "%s found errors in the filesystem: %s", c.name, tail(out.String(), 600))
}

// tail is the end of what a program said, on one line.
func tail(s string, n int) string {
	s = strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if len(s) > n {
		s = "…" + strings.ToValidUTF8(s[len(s)-n:], "")
	}
	return s
}
