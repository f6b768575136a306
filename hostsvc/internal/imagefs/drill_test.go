package imagefs

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// results are the steps and what became of them.
func results(r DrillReport) map[string]string {
	m := map[string]string{}
	for _, s := range r.Steps {
		m[s.Name] = s.Result
	}
	return m
}

var green = map[string]string{
	StepPrepare: StepOK, StepRestore: StepOK, StepCompare: StepOK, StepJournal: StepOK,
	StepCheck: StepOK, StepMount: StepOK, StepRead: StepOK, StepClean: StepOK,
}

// red is green but for a step that failed and those after it, without the last.
func red(step string) map[string]string {
	m, failed := map[string]string{}, false
	for _, s := range []string{StepPrepare, StepRestore, StepCompare, StepJournal, StepCheck, StepMount, StepRead} {
		switch {
		case failed:
			m[s] = StepSkipped
		case s == step:
			m[s], failed = StepFailed, true
		default:
			m[s] = StepOK
		}
	}
	m[StepClean] = StepOK
	return m
}

func TestDrill(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		for _, dirty := range []bool{false, true} {
			d := newDisk(t, fstype)
			d.write("a/b/file", pattern(3<<20, 1))
			require.NoError(t, os.Symlink("c", filepath.Join(d.at, "link")))
			run(t, "sync", "--file-system", d.at)
			d.write("c", pattern(1000, 2))
			path := d.crash()
			if !dirty {
				path = d.clean()
			}
			before, dir := hashOf(t, path), filepath.Join(t.TempDir(), "drill")
			img := openImage(t, path)
			var mu sync.Mutex
			var seen []string
			var most int64
			r, err := Drill(t.Context(), img, DrillOptions{Dir: dir, Name: "d", Report: func(p DrillProgress) {
				mu.Lock()
				defer mu.Unlock()
				if len(seen) == 0 || seen[len(seen)-1] != p.Step {
					seen = append(seen, p.Step)
				}
				if files, _ := filepath.Glob(filepath.Join(dir, drillPrefix+"*")); len(files) == 1 && p.Step == StepCompare {
					most = max(most, allocated(t, files[0]))
				}
			}})
			require.NoError(t, err, "%+v", r.Steps)
			assert.Equal(t, green, results(r))
			assert.Equal(t, []string{StepPrepare, StepRestore, StepCompare, StepJournal, StepCheck, StepMount, StepRead, StepClean}, seen)
			assert.Equal(t, fstype, r.Filesystem)
			assert.Equal(t, dirty, r.Replayed)
			assert.EqualValues(t, 2, r.Files)
			assert.GreaterOrEqual(t, r.Dirs, int64(3))
			assert.EqualValues(t, 1, r.Others)
			assert.InDelta(t, 3<<20+1000, r.Read, 16<<10)
			assert.Equal(t, r.Restored, r.Compared)
			assert.Greater(t, r.Restored, int64(3<<20))
			assert.LessOrEqual(t, most, allocated(t, path)+1<<20, "the scratch file is larger than the image")
			assert.Positive(t, most)
			assert.Equal(t, before, hashOf(t, path))
			assert.Zero(t, img.closed.Load())
			assert.LessOrEqual(t, img.reads.Load(), r.Restored+1<<20, "the image is read once")
			requireNothing(t, dir)
		}
	})
}

func allocated(t *testing.T, path string) int64 {
	st, err := os.Stat(path)
	require.NoError(t, err)
	return entryOf("", st).Blocks * 512
}

func TestDrillOfAnUnformattedVolume(t *testing.T) {
	path := filepath.Join(t.TempDir(), "img")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, 64<<20))
	r, err := Drill(t.Context(), openImage(t, path), DrillOptions{Dir: t.TempDir()})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{
		StepPrepare: StepOK, StepRestore: StepOK, StepCompare: StepOK, StepJournal: StepSkipped,
		StepCheck: StepSkipped, StepMount: StepSkipped, StepRead: StepSkipped, StepClean: StepOK,
	}, results(r))
	assert.Empty(t, r.Filesystem)
}

func TestDrillNamesTheStepThatFailed(t *testing.T) {
	d := newDisk(t, "ext4")
	d.write("file", pattern(8<<20, 1))
	path := d.clean()
	fails := func(t *testing.T, kind errkind.Kind, step string, img image.Image, o DrillOptions) DrillReport {
		t.Helper()
		if o.Dir == "" {
			o.Dir = filepath.Join(t.TempDir(), "drill")
		}
		r, err := Drill(t.Context(), img, o)
		requireKind(t, kind, err)
		assert.ErrorContains(t, err, `"`+step+`"`)
		assert.Equal(t, red(step), results(r))
		assert.Equal(t, step, r.Failed())
		requireNothing(t, o.Dir)
		return r
	}
	t.Run("no room", func(t *testing.T) {
		fails(t, errkind.Quota, StepPrepare, openImage(t, path), DrillOptions{Reserve: 1 << 60})
	})
	t.Run("no tool", func(t *testing.T) {
		dirs := toolDirs
		toolDirs = []string{t.TempDir()}
		defer func() { toolDirs = dirs }()
		r := fails(t, errkind.Unsupported, StepPrepare, openImage(t, path), DrillOptions{})
		assert.Contains(t, r.Steps[0].Detail, "install the Debian package e2fsprogs")
	})
	t.Run("no filesystem any more", func(t *testing.T) {
		bad := filepath.Join(t.TempDir(), "bad")
		require.NoError(t, os.WriteFile(bad, pattern(1<<20, 1), 0o600))
		fails(t, errkind.Invalid, StepPrepare, openImage(t, bad), DrillOptions{})
	})
	t.Run("damaged block", func(t *testing.T) {
		img := openImage(t, path)
		bad := lastData(t, img)
		img.damage(bad)
		r := fails(t, errkind.Corrupt, StepRestore, img, DrillOptions{Streams: 1})
		require.NotEmpty(t, r.Lost)
		assert.LessOrEqual(t, r.Lost[0].Offset, bad.Offset)
		assert.GreaterOrEqual(t, r.Lost[0].End(), bad.End())
	})
	t.Run("scratch that forgets", func(t *testing.T) {
		var once sync.Once
		o := DrillOptions{Dir: t.TempDir()}
		flip := func(p DrillProgress) {
			if p.Step != StepCompare {
				return
			}
			once.Do(func() {
				files, err := filepath.Glob(filepath.Join(o.Dir, drillPrefix+"*"))
				require.NoError(t, err)
				require.Len(t, files, 1)
				f, err := os.OpenFile(files[0], os.O_RDWR, 0)
				require.NoError(t, err)
				defer f.Close()
				_, err = f.WriteAt([]byte{0xA5, 0x5A}, 1080)
				require.NoError(t, err)
			})
		}
		o.Report = flip
		fails(t, errkind.Corrupt, StepCompare, openImage(t, path), o)
	})
	t.Run("damaged filesystem", func(t *testing.T) {
		bad := filepath.Join(t.TempDir(), "bad")
		run(t, "cp", "--sparse=always", path, bad)
		run(t, "debugfs", "-w", "-R", "set_inode_field /file links_count 7", bad)
		r := fails(t, errkind.Corrupt, StepCheck, openImage(t, bad), DrillOptions{})
		assert.Contains(t, r.Steps[4].Detail, "e2fsck")
	})
	t.Run("stopped", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		dir := filepath.Join(t.TempDir(), "drill")
		r, err := Drill(ctx, openImage(t, path), DrillOptions{Dir: dir, Report: func(p DrillProgress) {
			if p.Step == StepMount {
				cancel()
			}
		}})
		requireKind(t, errkind.Unavailable, err)
		assert.Equal(t, StepOK, results(r)[StepClean])
		requireNothing(t, dir)
	})
}

// lastData is a piece in the middle of the largest extent.
func lastData(t *testing.T, img *fileImage) (e image.Extent) {
	for x, err := range img.Data(t.Context()) {
		require.NoError(t, err)
		if x.Length > e.Length {
			e = x
		}
	}
	return image.Extent{Offset: e.Offset + e.Length/2&^4095, Length: 4096}
}

func TestSweepRemovesScratchFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"drill-1.img", "scratch-2", "somebody-else"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	require.NoError(t, Sweep(t.Context(), dir))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	assert.Equal(t, "somebody-else", entries[0].Name())
}

// A loop device that somebody keeps open is let go when it can be.
func TestSweepRemovesLoopDevices(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(t.TempDir(), "img")
	require.NoError(t, os.WriteFile(path, make([]byte, 1<<20), 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	mine, err := bind(f, true, labelOf(dir, "left"))
	require.NoError(t, err)
	other, err := bind(f, true, labelOf(dir+"2", "other's"))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	requireKind(t, errkind.Unavailable, Sweep(ctx, dir))
	require.NoError(t, mine.file.Close())
	require.NoError(t, Sweep(t.Context(), dir))
	left, err := ourLoops(dir)
	require.NoError(t, err)
	assert.Empty(t, left)
	left, err = ourLoops(dir + "2")
	require.NoError(t, err)
	assert.Len(t, left, 1, "of another folder")
	require.NoError(t, other.release(t.Context()))
}
