package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const crashEnv = "MOORING_TEST_CRASH"

// crashWork is what the process that is killed works on.
type crashWork struct {
	Options  Options
	VM       volspec.VMID
	Disk     hypervisor.Ref
	Copy     hypervisor.Ref
	Snapshot volspec.SnapshotID
	Attach   bool // only attach the disk, and end
}

const crashSize = 8 * volspec.MiB

var record = bytes.Repeat([]byte("record "), 1000)

// crashChild does in a process of its own the work of crashWork again and
// again until it is killed. In the test's own process: false.
func crashChild() bool {
	spec := os.Getenv(crashEnv)
	if spec == "" {
		return false
	}
	var c crashWork
	if err := json.Unmarshal([]byte(spec), &c); err != nil {
		panic(err)
	}
	l, err := New(c.Options)
	if err != nil {
		panic(err)
	}
	if c.Attach {
		if _, err := l.Attach(context.Background(), c.VM, c.Disk, false); err != nil {
			panic(err)
		}
		return true
	}
	fmt.Println("begun")
	for {
		if err := c.once(context.Background(), l); err != nil {
			panic(err)
		}
	}
}

// once uses every method that changes something.
func (c crashWork) once(ctx context.Context, l *Local) error {
	attach := func() error { _, err := l.Attach(ctx, c.VM, c.Disk, false); return err }
	for _, do := range []func() error{
		func() error { return l.PutMeta(ctx, c.Disk, record) },
		func() error { return l.Create(ctx, c.Disk, crashSize, volspec.EagerZeroedThick) },
		func() error { return l.PutMeta(ctx, c.Disk, bytes.ToUpper(record)) },
		attach,
		func() error { return l.Detach(ctx, c.VM, c.Disk) },
		func() error { return l.Snapshot(ctx, c.Disk, c.Snapshot) },
		func() error { return l.Clone(ctx, c.Disk, c.Snapshot, c.Copy, volspec.EagerZeroedThick) },
		attach,
		func() error { return l.Fence(ctx, c.VM, c.Disk) },
		func() error { return l.Delete(ctx, c.Copy) },
		attach,
		func() error { return l.Grow(ctx, c.Disk, 2*crashSize) },
		func() error { return l.Detach(ctx, c.VM, c.Disk) },
		func() error { return l.DeleteSnapshot(ctx, c.Disk, c.Snapshot) },
		func() error { return l.Delete(ctx, c.Disk) },
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

// The process is killed at any moment. What the next one finds is whole or
// not there, and repeating the work completes it.
func TestKilledAtAnyMoment(t *testing.T) {
	for _, store := range []string{"ext4", "xfs"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, mounted(t, store, 500))
			c := crashWork{Options: w.o, VM: w.a.id, Disk: newRef(), Copy: newRef(), Snapshot: "s1"}
			c.Copy.Group = c.Disk.Group
			for range 25 {
				c.kill(t, time.Duration(rand.IntN(int(300*time.Millisecond))))
				c.check(t, w)
			}
		})
	}
}

// kill lets another process begin the work and kills it after a while.
func (c crashWork) kill(t *testing.T, after time.Duration) {
	t.Helper()
	spec, err := json.Marshal(c)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+string(spec))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = io.ReadFull(out, make([]byte, 6))
	require.NoError(t, err)
	time.Sleep(after)
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.NotContains(t, stderr.String(), "panic", "the work itself failed")
}

func (c crashWork) check(t *testing.T, w *world) {
	t.Helper()
	ctx := t.Context()
	l := w.open(t)
	found, err := l.Stat(ctx, c.Disk)
	if err == nil {
		assert.Contains(t, []volspec.Size{crashSize, 2 * crashSize}, found.Size)
		assert.GreaterOrEqual(t, w.written(t, c.Disk), int64(crashSize), "as the format says")
		if found.Meta != nil {
			assert.True(t, bytes.Equal(found.Meta, record) || bytes.Equal(found.Meta, bytes.ToUpper(record)), "the record is whole")
		}
	} else {
		requireKind(t, errkind.NotFound, err)
	}
	copied, err := l.Stat(ctx, c.Copy)
	if err == nil {
		assert.Equal(t, crashSize, copied.Size)
		assert.EqualValues(t, crashSize, w.written(t, c.Copy))
	} else {
		requireKind(t, errkind.NotFound, err)
	}
	for d, err := range l.List(ctx, "one") {
		require.NoError(t, err)
		assert.Contains(t, []hypervisor.Ref{c.Disk, c.Copy}, d.Ref)
	}
	all, err := l.Attached(ctx)
	require.NoError(t, err)
	require.LessOrEqual(t, len(all), 1)

	// repeating what was begun
	require.NoError(t, l.Detach(ctx, c.VM, c.Disk))
	require.NoError(t, l.Delete(ctx, c.Disk))
	require.NoError(t, l.Delete(ctx, c.Copy))
	assert.Empty(t, w.left(t, c.Disk))
	assert.Empty(t, w.loopsOf(t, c.Disk))
	nodes, err := os.ReadDir(filepath.Join(w.a.DevDir, "mooring"))
	if err == nil {
		assert.Empty(t, nodes)
	}
	require.NoError(t, c.once(ctx, l))
	assert.Empty(t, w.left(t, c.Disk))
}
