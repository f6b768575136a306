package backup_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// Docker waits for half a minute, a restore takes what it takes.
func TestARestoreThatTakesLongSaysHowFarItIs(t *testing.T) {
	w := newWorld(t)
	d := w.disks.add(w.group, "db", 1<<20)
	w.disks.write(d, 0, noise(1, 1<<20))
	held := make(chan struct{})
	p := w.start(t, &plug{before: func(name string) {
		if name == "Restore" {
			<-held
		}
	}})
	p.makeRepository(t, "main")
	require.Equal(t, job.Done, p.run(t, "db").State)
	req := wire.CreateVolume{Name: "again", Options: map[string]string{"restore-from": "db@latest"}}
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		err := p.RestoreVolume(ctx, admin, w.group, req)
		cancel()
		assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
		assert.ErrorContains(t, err, "volume again is still being restored (just begun): repeat the command")
	}
	close(held)
	assert.ErrorContains(t, p.RestoreVolume(t.Context(), admin, w.group, req), "not in this world", "the repeated command joins the restore")
}
