package catalogtest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
)

func rollback(t *testing.T, b Backend) {
	c := open(t, b)
	refused := errkind.New(errkind.Denied, "no")
	put := func(tx volume.Tx) {
		require.NoError(t, tx.PutVolume(record(1, groupA, "ds", "v")))
		_, err := tx.Volume(id(1))
		require.NoError(t, err, "a transaction sees its own writes")
	}
	err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error { put(tx); return refused })
	require.ErrorIs(t, err, refused, "the function's error comes back as it is")
	require.PanicsWithValue(t, "boom", func() {
		_ = c.Volumes().Update(t.Context(), func(tx volume.Tx) error { put(tx); panic("boom") })
	})
	require.PanicsWithValue(t, "boom", func() {
		_ = c.Volumes().View(t.Context(), func(volume.Tx) error { panic("boom") })
	})
	for range 20 { // nothing is left locked, no connection lost
		_ = c.Volumes().Update(t.Context(), func(tx volume.Tx) error { put(tx); return refused })
		_ = c.Volumes().View(t.Context(), func(volume.Tx) error { return refused })
	}
	view(t, c, func(tx volume.Tx) error {
		_, err := tx.Volume(id(1))
		require.Equal(t, errkind.NotFound, errkind.Of(err))
		return nil
	})
}

func readOnly(t *testing.T, b Backend) {
	c := open(t, b)
	err := c.Volumes().View(t.Context(), func(tx volume.Tx) error { return tx.PutVolume(record(1, groupA, "ds", "v")) })
	require.Error(t, err)
	err = c.Volumes().View(t.Context(), func(tx volume.Tx) error {
		_ = tx.PutVolume(record(1, groupA, "ds", "v"))
		return nil
	})
	require.Error(t, err, "a failure that the function hides is reported all the same")
	view(t, c, func(tx volume.Tx) error {
		all, err := tx.Volumes(volume.Filter{})
		require.Empty(t, all)
		return err
	})
}

// ended: a request that is over, or becomes so while it waits, is unavailable
// and leaves nothing.
func ended(t *testing.T, b Backend) {
	c := open(t, b)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range []error{
		c.Volumes().Update(over, func(tx volume.Tx) error { return tx.PutVolume(record(1, groupA, "ds", "v")) }),
		c.Volumes().View(over, func(tx volume.Tx) error { return second(tx.Volumes(volume.Filter{})) }),
	} {
		require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		require.ErrorIs(t, err, context.Canceled)
	}
	volumes(t, c, func(volume.Tx) error { // holds the lock
		short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := c.Volumes().Update(short, func(volume.Tx) error { t.Error("two Updates overlap"); return nil })
		require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
		return nil
	})
	during, cancel := context.WithCancel(t.Context())
	err := c.Volumes().Update(during, func(tx volume.Tx) error {
		require.NoError(t, tx.PutVolume(record(1, groupA, "ds", "v")))
		cancel()
		return nil
	})
	require.Equal(t, errkind.Unavailable, errkind.Of(err), "%v", err)
	volumes(t, c, func(tx volume.Tx) error {
		_, err := tx.Volume(id(1))
		require.Equal(t, errkind.NotFound, errkind.Of(err))
		return nil
	})
}
