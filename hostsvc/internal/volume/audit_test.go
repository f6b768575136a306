package volume_test

import (
	"testing"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// audit reads the newest lines of the audit log; group "" means all.
func (w *world) audit(t *testing.T, group string, limit int) (lines []volspec.Audit, err error) {
	err = w.store.View(t.Context(), func(tx volume.Tx) error {
		lines, err = tx.Audit(group, limit)
		return err
	})
	return lines, err
}
