package portal_test

import (
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/portal"
)

var update = flag.Bool("update", false, "write the list of pages anew")

// testdata/pages.txt lists what the table shows, and to whom. The walk of the
// end-to-end tests goes by it to every page. It is made here, by
// go test ./hostsvc/internal/portal -run TestListOfPagesIsCurrent -update.
func TestListOfPagesIsCurrent(t *testing.T) {
	var lines []string
	for _, rt := range portal.Routes() {
		if rt.Method == http.MethodGet {
			lines = append(lines, rt.Path+" "+rt.Who+"\n")
		}
	}
	slices.Sort(lines)
	list := strings.Join(lines, "")
	file := filepath.Join("testdata", "pages.txt")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(list), 0o644))
	}
	committed, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(committed), list, "run the test with -update")
}
