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
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

const crashEnv = "MOORING_TEST_CRASH"

// crashWork is what the process that is killed works on.
type crashWork struct {
	Datastores []Datastore
	VMs        []VM
	Settle     time.Duration
	VM         volspec.VMID
	Disk       hypervisor.Ref
	Copy       hypervisor.Ref
	Snapshot   volspec.SnapshotID
	Attach     bool   // only attach the disk, and end
	Replace    bool   // only build the disk, or build it anew if it is there
	At         string // the crash point to die at; "": at any moment
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
	l, err := New(Options{Datastores: c.Datastores, VMs: c.VMs, Settle: c.Settle})
	if err != nil {
		panic(err)
	}
	if c.Attach {
		if _, err := l.Attach(context.Background(), c.VM, c.Disk, false); err != nil {
			panic(err)
		}
		return true
	}
	if c.At != "" {
		crashpoint.Set(func(point string) {
			if point == c.At {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until the signal arrives
			}
		})
	}
	fmt.Println("begun")
	if c.Replace {
		var keep volspec.SnapshotID
		if _, err := l.Stat(context.Background(), c.Disk); err == nil {
			keep = "kept"
		}
		panic(l.Build(context.Background(), c.Disk, crashSize, volspec.Thin, keep, fillCrash("again")))
	}
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
		func() error { return l.Build(ctx, c.Copy, crashSize, volspec.EagerZeroedThick, "", fillCrash("built")) },
		func() error {
			return l.Build(ctx, c.Copy, crashSize, volspec.EagerZeroedThick, "kept", fillCrash("again"))
		},
		func() error { return l.SnapshotFrozen(ctx, c.Copy, "frozen") },
		func() error { return l.DeleteSnapshot(ctx, c.Copy, "kept") },
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

// fillCrash writes a word at both ends of a disk.
func fillCrash(word string) func(context.Context, image.Target) error {
	return func(_ context.Context, t image.Target) error {
		_, err := t.WriteAt([]byte(word), t.Size()-int64(len(word)))
		if err == nil {
			_, err = t.WriteAt([]byte(word), 0)
		}
		return err
	}
}

// The process is killed at any moment. What the next one finds is whole or
// not there, and repeating the work completes it.
func TestKilledAtAnyMoment(t *testing.T) {
	for _, store := range []string{"ext4", "xfs"} {
		t.Run(store, func(t *testing.T) {
			w := newWorld(t, mounted(t, store, 500))
			c := crashWork{Datastores: w.o.Datastores, VMs: w.o.VMs, Settle: w.o.Settle, VM: w.a.id, Disk: newRef(), Copy: newRef(), Snapshot: "s1"}
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
	if c.At == "" {
		time.Sleep(after)
		require.NoError(t, cmd.Process.Kill())
	}
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
		c.checkBuilt(t, w)
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

// checkBuilt: a disk that Build made or replaced is the old one or the new
// one, at both ends, and so is what it keeps.
func (c crashWork) checkBuilt(t *testing.T, w *world) {
	t.Helper()
	b, err := os.ReadFile(w.path(c.Copy))
	require.NoError(t, err)
	head, tail := string(b[:5]), string(b[len(b)-5:])
	assert.Contains(t, []string{"\x00\x00\x00\x00\x00", "built", "again"}, head)
	assert.Equal(t, head, tail, "half of it is there")
	ids, err := w.Snapshots(t.Context(), c.Copy)
	require.NoError(t, err)
	for _, id := range ids {
		want := map[volspec.SnapshotID]string{"kept": "built", "frozen": "again"}[id]
		assert.Equal(t, want, string(w.content(t, c.Copy, id)[:5]), id)
		assert.Equal(t, "again", head, "a snapshot that is listed is of a Build that was done")
	}
}

// At each step of Build: the next process finds the old or the new disk, and
// DeleteSnapshot, Delete and Build itself go on from there.
func TestKilledWhileReplacing(t *testing.T) {
	w := newWorld(t, mounted(t, "xfs", 500))
	for _, point := range []string{"local.build.img", "local.replace.filled", "local.replace.linked", "local.replace.renamed"} {
		for _, next := range []string{"build", "other id", "delete snapshot", "snapshot", "delete"} {
			t.Run(point+", then "+next, func(t *testing.T) {
				c := crashWork{Datastores: w.o.Datastores, VMs: w.o.VMs, Settle: w.o.Settle, Disk: newRef(), At: point, Replace: true}
				w.killedWhileReplacing(t, c, next)
				require.NoError(t, w.Delete(t.Context(), c.Disk))
				assert.Empty(t, w.left(t, c.Disk))
			})
		}
	}
}

func (w *world) killedWhileReplacing(t *testing.T, c crashWork, next string) {
	ctx := t.Context()
	fresh := c.At == "local.build.img"
	keep := volspec.SnapshotID("kept")
	if fresh {
		keep = ""
	} else {
		require.NoError(t, w.Build(ctx, c.Disk, crashSize, volspec.ZeroedThick, "", fillCrash("built")))
	}
	c.kill(t, 0)
	ids, err := w.Snapshots(ctx, c.Disk)
	if fresh {
		requireKind(t, errkind.NotFound, err)
	} else {
		require.NoError(t, err)
	}
	done := c.At == "local.replace.renamed"
	assert.Equal(t, done, len(ids) == 1, "listed when it was done")
	if !done {
		_, err = w.OpenSnapshot(ctx, c.Disk, "kept")
		requireKind(t, errkind.NotFound, err)
	}
	head := map[bool]string{true: "again", false: "built"}[done]
	if !fresh {
		b, err := os.ReadFile(w.path(c.Disk))
		require.NoError(t, err)
		assert.Equal(t, head, string(b[:5]))
	}
	again := func(keep volspec.SnapshotID) error {
		return w.Build(ctx, c.Disk, crashSize, volspec.Thin, keep, fillCrash("third"))
	}
	switch next {
	case "build":
		if err = again(keep); done {
			requireKind(t, errkind.Exists, err)
			return
		}
		require.NoError(t, err)
	case "other id":
		if fresh {
			requireKind(t, errkind.NotFound, again("other"))
			return
		}
		require.NoError(t, again("other"))
		keep = "other"
	case "delete snapshot":
		require.NoError(t, w.DeleteSnapshot(ctx, c.Disk, "kept"))
		if !fresh {
			assert.Equal(t, []string{imgName(c.Disk)}, w.left(t, c.Disk))
			require.NoError(t, again("kept"))
			keep = "kept"
		}
	case "snapshot":
		if fresh {
			return
		}
		require.NoError(t, w.Snapshot(ctx, c.Disk, "kept"))
		w.overwrite(t, c.Disk, "later")
		want := map[bool]string{true: "built", false: head}[done]
		assert.Equal(t, want, string(w.content(t, c.Disk, "kept")[:5]), "it is no second name of the disk")
		return
	case "delete":
		return
	}
	if keep != "" {
		assert.Equal(t, head, string(w.content(t, c.Disk, keep)[:5]))
	}
}

func (w *world) overwrite(t *testing.T, r hypervisor.Ref, word string) {
	f, err := os.OpenFile(w.path(r), os.O_RDWR, 0)
	require.NoError(t, err)
	_, err = f.WriteAt([]byte(word), 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}
