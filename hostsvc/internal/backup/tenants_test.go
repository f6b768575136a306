package backup_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// A backup without a repository is refused with all that the vmgroup lacks.
func TestBackupOfAVMGroupThatIsNotConfigured(t *testing.T) {
	w := newWorld(t)
	w.tenants = w.allowances().t
	w.disks.add(w.group, "db", 1<<20)
	proc := w.start(t, &plug{})
	for _, req := range []wire.RunBackup{
		{Volumes: []string{"db"}},
		{Volumes: []string{"db"}, Repository: "main"},
		{Volumes: []string{"no-such-volume"}},
		{Policy: "no-such-policy"},
	} {
		_, err := proc.Backup(t.Context(), admin, "Dev", req)
		require.Error(t, err)
		assert.Equal(t, errkind.Unconfigured, errkind.Of(err))
		assert.Regexp(t, `^Your service is not configured: .*a repository`, errkind.Text(err))
	}
}
