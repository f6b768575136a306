package docs

import (
	"io/fs"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	testFunc  = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	testNamed = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
)

// The table of attacks names tests that are there.
func TestIsolationNamesTests(t *testing.T) {
	there := map[string]bool{}
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != ".." {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
				there[m[1]] = true
			}
		}
		return nil
	}))
	named := testNamed.FindAllStringSubmatch(read(t, "isolation.md"), -1)
	require.Greater(t, len(named), 30)
	for _, m := range named {
		assert.True(t, there[m[1]], "%s is not there", m[1])
	}
}
