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
		switch {
		case os.Getenv("IMAGEFS_TEST_VIEW") != "":
			err = childView(dir, img)
		case os.Getenv("IMAGEFS_TEST_DRILL") != "":
			err = childDrill(dir, img)
		default:
			err = childFiles(dir, img)
		}
	}
	fmt.Println(err)
	return true
}

// childFiles opens the image, reads all there is, and closes it, in several
// threads: at any moment some wait for metadata, some for data, some mount.
func childFiles(dir string, img *fileImage) error {
	fail := make(chan error)
	for i := range 4 {
		go func() {
			for {
				fs, err := Open(context.Background(), img, Options{Dir: dir})
				if err != nil {
					fail <- err
					return
				}
				if i == 0 {
					fmt.Println("ready")
				}
				if _, err := fs.Tar(context.Background(), io.Discard, nil, TarOptions{}); err != nil {
					fail <- err
					return
				}
				if err := fs.Close(context.Background()); err != nil {
					fail <- err
					return
				}
			}
		}()
	}
	return <-fail
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

// A killed process does not hang in the kernel, waiting for itself, and what
// it leaves a sweep can remove at once.
func TestKilledWhileFilesAreRead(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		for i := range 400 {
			require.NoError(t, os.MkdirAll(filepath.Join(d.at, fmt.Sprint("dir", i%20)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(d.at, fmt.Sprint("dir", i%20), fmt.Sprint("file", i)), pattern(20_000, byte(i)), 0o644))
		}
		run(t, "sync", "--file-system", d.at)
		d.write("big", pattern(4<<20, 7))
		img := d.crash()
		for n := range 4 {
			dir := filepath.Join(t.TempDir(), "imagefs")
			cmd := startChild(t, img, dir)
			time.Sleep(time.Duration(n*13) * time.Millisecond)
			require.NoError(t, cmd.Process.Kill())
			died := make(chan struct{})
			go func() { defer close(died); _ = cmd.Wait() }()
			select {
			case <-died:
			case <-time.After(20 * time.Second):
				require.Fail(t, "the killed process hangs in the kernel")
			}
			require.NoError(t, Sweep(t.Context(), dir))
			requireNothing(t, dir)
			require.NoError(t, Sweep(t.Context(), dir), "again")
		}
	})
}
