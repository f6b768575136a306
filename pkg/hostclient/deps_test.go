package hostclient

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Whoever speaks to the service pays for no more than this.
func TestDependencies(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if .Module}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	require.NoError(t, err, string(out))
	for dep := range strings.FieldsSeq(string(out)) {
		allowed := false
		for _, p := range []string{"mooring.dev/mooring/pkg/", "github.com/sirupsen/logrus", "golang.org/x/sys/unix"} {
			allowed = allowed || strings.HasPrefix(dep, p)
		}
		assert.True(t, allowed, "%s is new: what does it replace, and who maintains it?", dep)
	}
}
