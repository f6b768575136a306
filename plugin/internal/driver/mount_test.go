package driver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestShortAndFullNameShareOneMount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		a, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		b, err := p.Mount(t.Context(), "v@ds1", "m2")
		require.NoError(t, err)
		assert.Equal(t, a, b)
		assert.Equal(t, "/mnt/vsphere/"+string(v.ID), a)
		require.NoError(t, p.Unmount(t.Context(), "v", "m1"))
		assert.Len(t, w.mounts, 1, "the other name still uses it")
		require.NoError(t, p.Unmount(t.Context(), "v@ds1", "m2"))
		assert.Empty(t, w.mounts)
		assert.False(t, v.attached)
		assert.Equal(t, 1, v.disk.mkfs)
		w.sane(t)
	})
}

// A running container and docker cp share one ID: Mount and Unmount come once
// per use.
func TestOneIDIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		for range 2 {
			_, err := p.Mount(t.Context(), "v", "same")
			require.NoError(t, err)
		}
		require.NoError(t, p.Unmount(t.Context(), "v", "same"))
		assert.True(t, v.attached)
		assert.Len(t, w.mounts, 1)
		require.NoError(t, p.Unmount(t.Context(), "v", "same"))
		assert.False(t, v.attached)
		require.NoError(t, p.Unmount(t.Context(), "v", "same"), "once too often is harmless")
		require.NoError(t, p.Unmount(t.Context(), "v", "never seen"))
		require.NoError(t, p.Unmount(t.Context(), "unknown", "never seen"))
		w.sane(t)
	})
}

func TestReadOnlyVolumeIsFormattedWritable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{Access: volspec.ReadOnly})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		assert.Equal(t, 1, v.disk.mkfs)
		assert.True(t, v.attachedRO, "what is mounted is attached read-only")
		assert.EqualValues(t, 2, v.Epoch)
		w.sane(t)
	})
}

// After disable -f the containers keep the filesystem where the plugin does
// not see it.
func TestHiddenMountIsSharedAndNeverDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		v := w.add("v@ds1", volspec.Spec{})
		path, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		w.containers["c1"] = &simContainer{volume: "v", id: "c1", disk: v.disk}
		p = p.restart(t, true)
		delete(w.mounts, path) // the engine unmounted the plugin's side
		again, err := p.Mount(t.Context(), "v", "m2")
		require.NoError(t, err)
		assert.Equal(t, path, again)
		assert.EqualValues(t, 1, v.Epoch, "one attachment throughout")

		require.NoError(t, p.Unmount(t.Context(), "v", "m2"))
		require.NoError(t, p.Unmount(t.Context(), "v", "m1"))
		assert.True(t, v.attached, "the hidden mount keeps the disk")
		delete(w.containers, "c1")
		p.passed(t)
		assert.False(t, v.attached, "given back when it is free")
		p.stop()
		w.sane(t)
	})
}

func TestBlankDiskInUseIsNotFormatted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		w.containers["x"] = &simContainer{volume: "v", id: "x", disk: v.disk}
		_, err := p.Mount(t.Context(), "v", "m1")
		assert.True(t, errkind.Is(err, errkind.InUse), "%v", err)
		assert.Zero(t, v.disk.mkfs)
	})
}

// The disk answers an error, a short read, nothing, then data, at each of the
// two looks before mkfs: it is never formatted, and the host service is never
// led to replace a disk with data.
func TestNeverFormatsWhatMightHoldData(t *testing.T) {
	unreadable := errkind.Wrap(errkind.Unavailable, errors.New("input/output error"), "read")
	short := errkind.Wrap(errkind.Unavailable, io.ErrUnexpectedEOF, "read")
	data := errkind.New(errkind.Corrupt, "has data")
	for _, first := range []int{1, 2} {
		for _, failure := range []error{unreadable, short, data} {
			t.Run(fmt.Sprintf("look %d: %v", first, failure), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p, w := newPlugin(t)
					defer p.stop()
					v := w.add("v@ds1", volspec.Spec{})
					disk := v.disk
					w.checkBlank = func(n int) error {
						if n < first {
							return nil
						}
						if errors.Is(failure, data) {
							disk.content = "data"
						}
						return failure
					}
					for range 5 {
						_, err := p.Mount(t.Context(), "v", "m1")
						if err == nil {
							assert.Same(t, data, failure, "only a disk that shows its data can be mounted, as it is")
						}
					}
					assert.Zero(t, disk.mkfs)
					if errors.Is(failure, data) {
						assert.Equal(t, "data", v.disk.content)
						assert.Same(t, disk, v.disk)
					}
					w.sane(t)
				})
			})
		}
	}
}

// A mount that outlasts its caller goes on; the repeated call joins it.
func TestSlowMountIsJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		attaches := 0
		w.set(func() { w.onAttach = func() error { attaches++; time.Sleep(40 * time.Second); return nil } })
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		_, err := p.Mount(ctx, "v", "m1")
		require.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
		ctx, cancel = context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		_, err = p.Mount(ctx, "v", "m1")
		require.NoError(t, err)
		assert.Equal(t, 1, attaches)
		assert.Equal(t, 1, v.disk.mkfs)
		w.sane(t)
	})
}

// A mount nobody came back for is given back.
func TestAbandonedMountIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		w.onAttach = func() error { time.Sleep(40 * time.Second); return nil }
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		_, err := p.Mount(ctx, "v", "m1")
		require.Error(t, err)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Len(t, w.mounts, 1)
		p.passed(t)
		assert.Empty(t, w.mounts)
		assert.False(t, v.attached)
		w.sane(t)
	})
}

func TestMountWhileTheHostIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		_, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		away := errkind.New(errkind.Unavailable, "away")
		w.onAttach, w.onGet = func() error { return away }, func() error { return away }
		_, err = p.Mount(t.Context(), "v", "m2")
		require.NoError(t, err, "what is mounted here can be shared")
		w.add("other@ds1", volspec.Spec{})
		_, err = p.Mount(t.Context(), "other", "m3")
		assert.True(t, errkind.Is(err, errkind.Unavailable))
		require.NoError(t, p.Unmount(t.Context(), "v", "m1"))
		require.NoError(t, p.Unmount(t.Context(), "v", "m2"))
		assert.False(t, v.attached)
		w.sane(t)
	})
}

// The name was given to a new volume behind this guest's back.
func TestNameOfAnotherVolume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		w.add("v@ds1", volspec.Spec{})
		_, err := p.Get(t.Context(), "v")
		require.NoError(t, err)
		now := w.add("v@ds1", volspec.Spec{})
		path, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		assert.Equal(t, "/mnt/vsphere/"+string(now.ID), path)
		w.sane(t)
	})
}

// An administrator took the disk away by force and gave it back: what is
// mounted belongs to the old attachment.
func TestMountAfterFencing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := newPlugin(t)
		defer p.stop()
		v := w.add("v@ds1", volspec.Spec{})
		path, err := p.Mount(t.Context(), "v", "m1")
		require.NoError(t, err)
		dead := &simDisk{name: "fenced", content: "fs", gone: true}
		w.mounts[path] = dead
		v.attached = false
		_, err = p.Mount(t.Context(), "v", "m2")
		require.NoError(t, err)
		assert.Same(t, v.disk, w.mounts[path])
		assert.EqualValues(t, 2, v.Epoch)
		w.sane(t)
	})
}

// Fail call i, for every i, before and after its effect; then the plugin dies
// at call i. Each time the retry succeeds and ends in the same state.
func TestEveryCallFails(t *testing.T) {
	for _, spec := range []volspec.Spec{{}, {Access: volspec.ReadOnly}} {
		for _, mode := range []string{"before", "after", "dies before", "dies after"} {
			t.Run(spec.Defaulted().Access+" "+mode, func(t *testing.T) {
				for i := 1; ; i++ {
					clean := false
					synctest.Test(t, func(t *testing.T) { clean = failOnce(t, spec, mode, i) })
					if clean || t.Failed() {
						require.Greater(t, i, 12, "the life of a mount has more calls than that")
						return
					}
				}
			})
		}
	}
}

func failOnce(t *testing.T, spec volspec.Spec, mode string, i int) (clean bool) {
	w := newWorld()
	v := w.add("v@ds1", spec)
	dir := stateDir(t)
	p := boot(t, w, dir)
	w.set(func() {
		w.failAt, w.after, w.crash = w.calls+i, mode == "after" || mode == "dies after", len(mode) > 6
	})
	left := t.TempDir()
	w.onDeath = func() { require.NoError(t, copyState(dir, left)) }
	survive := func() {
		w.mu.Lock()
		dead := w.dead
		w.mu.Unlock()
		if dead {
			p.stop()
			w.set(func() { w.dead = false })
			p = boot(t, w, left)
		}
	}
	_, err := p.Mount(t.Context(), "v", "m1")
	survive()
	if err != nil {
		_, err = p.Mount(t.Context(), "v", "m1")
		survive()
		if err != nil && w.calls >= w.failAt && mode[0] == 'd' { // it died in the second try
			_, err = p.Mount(t.Context(), "v", "m1")
		}
	}
	require.NoError(t, err, "call %d: %v", i, w.log)
	require.Len(t, w.mounts, 1)
	require.NoError(t, p.Unmount(t.Context(), "v", "m1"))
	survive()
	_ = p.Unmount(t.Context(), "v", "m1") // Docker may repeat it after a crash
	w.set(func() { clean, w.failAt = w.calls < w.failAt, 0 })
	p.passed(t)
	assert.Empty(t, w.mounts, "call %d: %v", i, w.log)
	assert.False(t, v.attached, "call %d: %v", i, w.log)
	assert.Equal(t, volspec.Formatted, v.Format)
	assert.Equal(t, v.Spec.Access == volspec.ReadOnly, v.attachedRO)
	assert.Empty(t, p.o.Ledger.All())
	w.sane(t)
	p.stop()
	return clean
}
