package backup_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// A tenant's user names no place and no file of the service's own machine.
func TestPlacesThatTenantsMayNotName(t *testing.T) {
	w := newWorld(t)
	user := volspec.Caller{Role: volspec.TenantAdmin, Group: w.group.ID, GroupName: "Dev", Actor: "user:Dev/anna"}
	for name, l := range map[string]wire.Location{
		"directory": {Type: "directory", Path: t.TempDir()},
		"file":      {Type: "s3", Endpoint: "s3.example.org", Bucket: "b", CAFile: "/etc/shadow"},
	} {
		_, err := w.start(t, &plug{}).CreateRepository(t.Context(), user, "Dev", wire.CreateRepository{Name: name, Location: l})
		assert.Equal(t, errkind.Denied, errkind.Of(err), "%s: %v", name, err)
		assert.ErrorContains(t, err, "by its administrator alone")
	}
}
