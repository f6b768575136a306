package harness

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a killed run left is found and removed; a living run is left alone.
func TestDeadLabsAreCleaned(t *testing.T) {
	require.Zero(t, os.Geteuid(), "mounts and loop devices need root")
	base := t.TempDir()
	folder := func(name string) *Lab {
		l := &Lab{Dir: filepath.Join(base, prefix+name)}
		require.NoError(t, os.Mkdir(l.Dir, 0o755))
		return l
	}
	dead, living := folder("dead"), folder("living")
	lock, err := lockLab(living.Dir)
	require.NoError(t, err)
	defer lock.Close()

	p, err := dead.start(filepath.Join(dead.Dir, "log"), unix.CLONE_NEWPID|unix.CLONE_NEWNS, nil, "sleep", "1000")
	require.NoError(t, err)
	ds := dead.Filesystem(t, "ds", "ext4", 16)
	dev := filepath.Join(dead.Dir, "dev")
	require.NoError(t, os.Mkdir(dev, 0o755))
	require.NoError(t, unix.Mount("tmpfs", dev, "tmpfs", 0, ""))
	disk := filepath.Join(ds.Path, "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
	require.NoError(t, dead.do(t.Context(), "losetup", "-f", disk))
	require.Len(t, dead.Leaks(), 1)

	require.NoError(t, cleanDeadLabs(base))
	require.NoError(t, p.wait(5*time.Second))
	require.NoDirExists(t, dead.Dir)
	require.Empty(t, mountsBelow(dead.Dir))
	require.Empty(t, loopsBelow(dead.Dir))
	require.DirExists(t, living.Dir)
}
