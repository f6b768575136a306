package wire

import (
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFieldNamesOfBackup(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)
	for _, b := range []any{
		VolumeBackup{}, Location{}, Credentials{}, CreateRepository{}, Repository{}, Assign{}, Kit{}, KitOptions{}, BackupUsage{}, SetBackupLimit{},
		Point{}, PointDisk{}, PointList{}, SetPoint{}, RunBackup{}, RunVerify{}, RunRestore{}, RunCopy{}, Job{}, JobProgress{}, JobStep{}, JobList{}, Policy{}, Keep{},
		VerifyPolicy{}, CopyPolicy{}, PolicyPreview{}, PolicyRun{}, KeepDecision{}, Prune{}, Pruned{}, Protection{}, Alarm{}, File{}, FileList{}, Rotated{},
	} {
		typ := reflect.TypeOf(b)
		seen := map[string]bool{}
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			assert.Regexp(t, word, name, "%s.%s", typ.Name(), field.Name)
			assert.False(t, seen[name], "%s has %q twice", typ.Name(), name)
			seen[name] = true
		}
	}
}

func TestJobsAreOver(t *testing.T) {
	for state, over := range map[string]bool{"queued": false, "running": false, "done": true, "partial": true, "failed": true, "canceled": true} {
		assert.Equal(t, over, Job{State: state}.Over(), state)
	}
}

// A policy that is written and read again is the same, whatever it leaves out.
func TestPolicyRoundTrip(t *testing.T) {
	off := false
	for _, p := range []Policy{{}, {
		Name: "p", Enabled: &off, Volumes: []string{"*"}, Repository: "r", Schedule: "02:00", Keep: Keep{Last: 1, Within: "7d"},
		Copy: CopyPolicy{Repository: "s", Keep: Keep{Yearly: 2}}, Limit: 1 << 20, Priority: -1,
	}} {
		data, err := json.Marshal(p)
		require.NoError(t, err)
		var back Policy
		require.NoError(t, json.Unmarshal(data, &back))
		assert.Equal(t, p, back)
	}
}
