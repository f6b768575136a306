package driver

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestStatus(t *testing.T) {
	made := time.Date(2026, 3, 4, 5, 6, 7, 8, time.FixedZone("", 3600))
	v := wire.Volume{
		ID: "2fd840d0-8b4f-44fd-9b00-84df17f29acf", Name: "v@ds1", Volume: "v", Datastore: "ds1", VMGroup: "Dev", State: volspec.Ready,
		SizeBytes: 1536 << 20, UsedBytes: 39 << 20, FSBytes: 1 << 30, FSNote: "it grows at the next mount",
		Spec: volspec.Spec{Size: 1536 * volspec.MiB, FSType: "xfs", StoragePolicy: "gold"}, CloneFrom: "src",
		Created: made, CreatedBy: "web01", AttachedTo: "web02", AttachedAt: made, Snapshots: 2, Health: "ok",
	}
	got, err := json.MarshalIndent(Status(v, 3), "", " ")
	require.NoError(t, err)
	assert.JSONEq(t, `{
 "access": "read-write",
 "attach-as": "independent_persistent",
 "attached to VM": "web02",
 "attached-since": "2026-03-04T04:06:07Z",
 "capacity": {"allocated": "39MB", "size": "1GB"},
 "clone-from": "src",
 "created": "2026-03-04T04:06:07Z",
 "created by VM": "web01",
 "datastore": "ds1",
 "diskformat": "thin",
 "filesystem-bytes": 1073741824,
 "fstype": "xfs",
 "health": "ok",
 "id": "2fd840d0-8b4f-44fd-9b00-84df17f29acf",
 "message": "it grows at the next mount",
 "mounts": 3,
 "name": "v@ds1",
 "options": {"fstype": "xfs", "size": "1536mb", "vsan-policy-name": "gold"},
 "size-bytes": 1610612736,
 "snapshots": 2,
 "state": "ready",
 "status": "attached",
 "used-bytes": 40894464,
 "vmgroup": "Dev",
 "vsan-policy-name": "gold"
}`, string(got))

	v.AttachedTo, v.CloneFrom, v.Health, v.ViewOf = "", "", "", "p1"
	v.Backup = &wire.VolumeBackup{State: "unprotected"}
	s := Status(v, 0)
	assert.Equal(t, "p1", s["view-of"])
	assert.Equal(t, map[string]any{"policy": "None", "last-success": "None", "state": "unprotected"}, s["backup"])
	v.Backup = &wire.VolumeBackup{Policy: "nightly", LastSuccess: made, LastPoint: "p1", State: "ok"}
	assert.Equal(t, map[string]any{"policy": "nightly", "last-success": "2026-03-04T04:06:07Z", "state": "ok"}, Status(v, 0)["backup"])
	assert.Equal(t, "detached", s["status"])
	assert.Equal(t, "None", s["clone-from"])
	assert.Equal(t, "ok", s["health"])
	assert.NotContains(t, s, "attached to VM")
}

// Docker refuses a whole answer for a time it cannot read.
func TestTimesAreRFC3339OrAbsent(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Now(), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if s := stamp(at); s != "" {
			_, err := time.Parse(time.RFC3339, s)
			assert.NoError(t, err, s)
		}
	}
	assert.Empty(t, stamp(time.Time{}))
	assert.Empty(t, stamp(time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)))
}
