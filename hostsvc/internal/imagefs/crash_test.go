package imagefs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// child is what this test program does as the process that is killed: it opens
// the image and reads its first file again and again.
func child() bool {
	path, dir := os.Getenv("IMAGEFS_TEST_IMAGE"), os.Getenv("IMAGEFS_TEST_DIR")
	if path == "" {
		return false
	}
	st, err := os.Stat(path)
	var f *os.File
	if err == nil {
		f, err = os.Open(path)
	}
	if err == nil {
		img := &fileImage{f: f, size: st.Size()}
		if os.Getenv("IMAGEFS_TEST_VIEW") != "" {
			err = childView(dir, img)
		} else {
			err = childFiles(dir, img)
		}
	}
	fmt.Println(err)
	return true
}

func childFiles(dir string, img *fileImage) error {
	fs, err := Open(context.Background(), img, Options{Dir: dir})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	for {
		h, _, err := fs.OpenFile(context.Background(), "big")
		if err != nil {
			return err
		}
		if _, err := io.Copy(io.Discard, h); err != nil {
			return err
		}
		h.Close()
	}
}

// startChild returns when the child is at work.
func startChild(t *testing.T, img, dir string, env ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), "IMAGEFS_TEST_IMAGE="+img, "IMAGEFS_TEST_DIR="+dir), env...)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return cmd
}

// A killed process leaves nothing behind, even without a sweep.
func TestKilledWhileFilesAreRead(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		d.write("big", pattern(8<<20, 7))
		img, dir := d.crash(), filepath.Join(t.TempDir(), "imagefs")
		cmd := startChild(t, img, dir)
		left, err := ourLoops(dir)
		require.NoError(t, err)
		require.NotEmpty(t, left)
		require.NoError(t, cmd.Process.Kill())
		died := make(chan struct{})
		go func() { defer close(died); _ = cmd.Wait() }()
		select {
		case <-died:
		case <-time.After(20 * time.Second):
			require.Fail(t, "the killed process hangs in the kernel")
		}
		assert.Eventually(t, func() bool { left, err := ourLoops(dir); return err == nil && len(left) == 0 }, 10*time.Second, 10*time.Millisecond)
		requireNothing(t, dir)
		require.NoError(t, Sweep(t.Context(), dir))
		require.NoError(t, Sweep(t.Context(), dir), "again")
	})
}
