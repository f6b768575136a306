package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// usage is what one step cost.
type usage struct {
	wall, cpu time.Duration
	peak      int64 // resident memory in bytes
	stages    []stage
}

// stage is a step of a job, as its record has it.
type stage struct {
	name string
	took time.Duration
}

// run runs a program to its end and measures it.
func run(b *testing.B, dir string, env []string, args ...string) (usage, string) {
	b.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var said bytes.Buffer
	var complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complaint
	start := time.Now()
	require.NoError(b, cmd.Start())
	// The kernel's maxrss of a child begins with what its parent had, so the
	// peak is asked for while it lives.
	ended, peak := make(chan struct{}), make(chan int64)
	go func() { // ends with the process
		most := int64(0)
		for t := time.NewTicker(5 * time.Millisecond); ; {
			select {
			case <-ended:
				t.Stop()
				peak <- most
				return
			case <-t.C:
				most = max(most, highWater(cmd.Process.Pid))
			}
		}
	}()
	err := cmd.Wait()
	u := usage{wall: time.Since(start)}
	close(ended)
	u.peak = <-peak
	require.NoError(b, err, "%s\n%s%s", strings.Join(args, " "), said.String(), complaint.String())
	u.cpu = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return u, said.String()
}

// watch measures what a daemon did while f ran. f returns what the program
// that gave the order cost: its time counts, its memory does not.
func watch(b *testing.B, pid int, f func() usage) usage {
	b.Helper()
	require.NoError(b, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)) // the peak begins anew
	before := cpuOf(b, pid)
	u := f()
	u.cpu += cpuOf(b, pid) - before
	u.peak = highWater(pid)
	return u
}

// highWater is the peak of the resident memory of a process, 0 if it is gone.
func highWater(pid int) int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: nothing to read
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// cpuOf is the processor time of a process and of its children that ended.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	const tick = 10 * time.Millisecond // USER_HZ is 100 for all of Linux
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	require.NoError(b, err)
	f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var sum time.Duration
	for _, field := range f[11:15] { // utime, stime, cutime, cstime
		n, err := strconv.ParseInt(field, 10, 64)
		require.NoError(b, err)
		sum += time.Duration(n) * tick
	}
	return sum
}

// allocated is how much room a file takes.
func allocated(b *testing.B, path string) int64 {
	b.Helper()
	var st syscall.Stat_t
	require.NoError(b, syscall.Stat(path, &st))
	return st.Blocks * 512
}
