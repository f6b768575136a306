package ledger_test

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/ledger"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func open(t require.TestingT, dir string) *ledger.Ledger {
	l, err := ledger.Open(dir)
	require.NoError(t, err)
	return l
}

func TestCountsPerVolumeAndID(t *testing.T) {
	l := open(t, t.TempDir())
	require.NoError(t, l.Add("a", "m", false, t0))
	require.NoError(t, l.Add("a", "m", false, t0))
	require.NoError(t, l.Add("b", "m", false, t0))
	assert.Equal(t, []volspec.VolumeID{"a", "b"}, l.UsedBy("m"))
	known, err := l.Done("a", "m", t0)
	require.NoError(t, err)
	assert.True(t, known)
	v, _ := l.Volume("a")
	assert.Equal(t, 1, v.Count())
	known, err = l.Done("a", "m", t0)
	require.NoError(t, err)
	assert.True(t, known)
	known, err = l.Done("a", "m", t0)
	require.NoError(t, err)
	assert.False(t, known)
	known, err = l.Done("never", "m", t0)
	require.NoError(t, err)
	assert.False(t, known)
	_, known = l.Volume("never")
	assert.False(t, known, "asking makes no entry")
}

// A use that changed since it was judged stale is not dropped.
func TestDropOnlyWhatWasSeen(t *testing.T) {
	l := open(t, t.TempDir())
	require.NoError(t, l.Add("a", "m", false, t0))
	require.NoError(t, l.Drop("a", "m", t0.Add(time.Second)))
	v, _ := l.Volume("a")
	assert.Equal(t, 1, v.Count())
	require.NoError(t, l.Drop("a", "m", t0))
	v, _ = l.Volume("a")
	assert.Zero(t, v.Count())
}

// Whatever was answered is there after a restart.
func TestSurvivesRestart(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "l")
		require.NoError(rt, err)
		l := open(rt, dir)
		ids := rapid.SampledFrom([]volspec.VolumeID{"a", "b"})
		mounts := rapid.SampledFrom([]string{"m", "n"})
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			id, mount := ids.Draw(rt, "id"), mounts.Draw(rt, "mount")
			switch rapid.IntRange(0, 4).Draw(rt, "op") {
			case 0, 1:
				require.NoError(rt, l.Add(id, mount, false, t0))
			case 2:
				_, err := l.Done(id, mount, t0)
				require.NoError(rt, err)
			case 3:
				require.NoError(rt, l.SetAttached(id, ledger.Attached{Name: "v@ds", Serial: "s", Epoch: 3, Size: 5, FSNote: "n"}))
			case 4:
				require.NoError(rt, l.Forget(id))
			}
		}
		want, got := l.All(), open(rt, dir).All()
		require.Len(rt, got, len(want))
		for id, v := range want {
			assert.Equal(rt, v.Attached, got[id].Attached)
			assert.Equal(rt, v.Count(), got[id].Count())
		}
	})
}

func TestDamagedFileIsPutAside(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "cut off": `{"version":1,"volumes":{"a":{`, "no version": `{"volumes":{}}`, "something else": "\x00\x01",
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "ledger.json")
		require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		l, err := ledger.Open(dir)
		require.True(t, errkind.Is(err, errkind.Corrupt), "%s: %v", name, err)
		require.NotNil(t, l)
		kept, err := os.ReadFile(path + ".damaged")
		require.NoError(t, err)
		assert.Equal(t, content, string(kept))
		require.NoError(t, l.Add("a", "m", false, t0))
		v, ok := open(t, dir).Volume("a")
		assert.True(t, ok)
		assert.Equal(t, 1, v.Count())
	}
}

func TestNonsenseInTheFile(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ledger.json"),
		[]byte(`{"version":2,"new":true,"volumes":{"a":null,"b":{"uses":{"m":{"count":-3},"n":{"count":2}}}}}`), 0o600))
	l := open(t, dir)
	assert.Len(t, l.All(), 1)
	v, _ := l.Volume("b")
	assert.Equal(t, 2, v.Count())
}

// What cannot be written holds in memory and is written with the next change.
func TestUnwritableFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	require.NoError(t, os.Mkdir(dir, 0o700))
	l := open(t, dir)
	require.NoError(t, os.Remove(dir))
	err := l.Add("a", "m", false, t0)
	require.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	v, _ := l.Volume("a")
	assert.Equal(t, 1, v.Count())
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, l.Flush())
	v, _ = open(t, dir).Volume("a")
	assert.Equal(t, 1, v.Count())
}

func TestConcurrentUse(t *testing.T) {
	dir := t.TempDir()
	l := open(t, dir)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			assert.NoError(t, l.Add("a", "m", false, t0))
			l.All()
			_, err := l.Done("a", "m", t0)
			assert.NoError(t, err)
			assert.NoError(t, l.Add("a", "n", false, t0))
		})
	}
	wg.Wait()
	v, _ := open(t, dir).Volume("a")
	assert.Equal(t, 20, v.Count())
}
