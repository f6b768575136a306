package bench

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// startPlugin runs the plugin as a plain process until it answers and returns
// how long that took and its resident memory in KiB.
func startPlugin(b *testing.B, dir string) (time.Duration, int64) {
	socket := filepath.Join(dir, "plugin.sock")
	cmd := exec.Command(lab.Bin.Plugin)
	cmd.Env = append(os.Environ(), "MOORING_SOCKET="+socket, "MOORING_MOUNT_ROOT="+filepath.Join(dir, "mnt"),
		"MOORING_HOST=unix://"+filepath.Join(dir, "nobody.sock"), "MOORING_ENGINE=unix://"+filepath.Join(dir, "no-engine.sock"))
	start := time.Now()
	require.NoError(b, cmd.Start())
	defer func() {
		require.NoError(b, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
	}()
	waitAnswer(b, socket)
	took := time.Since(start)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	require.NoError(b, err)
	var rss int64
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err = fmt.Sscan(rest, &rss)
			require.NoError(b, err)
		}
	}
	return took, rss
}
