package local

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSocketsAreCountedOnce(t *testing.T) {
	for want, ids := range map[int][]string{1: {"0", "0"}, 2: {"0", "1", "0", "1"}, 3: {"0", "36", "72"}} {
		dir := t.TempDir()
		for i, id := range ids {
			require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("cpu", i)), []byte(id+"\n"), 0o600))
		}
		n, err := sockets(dir + "/cpu*")
		require.NoError(t, err)
		assert.Equal(t, want, n)
	}
	n, err := sockets(t.TempDir() + "/cpu*")
	require.NoError(t, err)
	assert.Equal(t, 1, n, "a kernel that does not tell")
}
