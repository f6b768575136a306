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
	run := func(repository string) error {
		_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Volumes: []string{"db"}, Repository: repository})
		return err
	}
	for _, repository := range []string{"", "main"} {
		err := run(repository)
		require.Error(t, err)
		assert.Equal(t, errkind.Denied, errkind.Of(err))
		assert.Regexp(t, `^Your service is not configured: .*a repository`, errkind.Text(err))
	}
}
