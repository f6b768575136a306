package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The identifiers that the vmgroups have in the user guide's session.
var seedIDs = map[string]volspec.VMGroupID{
	volspec.DefaultGroup: volspec.DefaultGroupID,
	"Product1Dev":        "ac4b7167-94b3-470e-b932-5b32f2bfa273",
	"Product1Test":       "f15c1f6d-5df5-4a00-8f20-77c8e7a7af11",
}

// TestGuideSession plays the tenancy guide's session: testdata/guide.txt is
// written by hand, from the guide, with this command's name in place of the
// script's path, and is not updated by -update.
func TestGuideSession(t *testing.T) {
	s := newSession(&memAdmin{groups: []wire.VMGroup{{
		ID: volspec.DefaultGroupID, Name: volspec.DefaultGroup, Description: "This is a default vmgroup",
	}}})
	script, err := os.ReadFile("testdata/guide.txt")
	require.NoError(t, err)
	var played strings.Builder
	commands := 0
	for line := range strings.Lines(string(script)) {
		command, ok := strings.CutPrefix(line, "# mooring ")
		if !ok {
			continue
		}
		commands++
		played.WriteString(line)
		got := s.run(t, strings.Fields(command)...)
		require.Zero(t, got.code, "%s: %s", line, got.err)
		require.Empty(t, got.err, line)
		played.WriteString(got.out)
	}
	require.Equal(t, 12, commands)
	require.Equal(t, string(script), played.String())
}
