package cli

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

// Whatever lies where the contexts should, it is refused in words, or the same
// contexts are there after it was written again.
func FuzzContexts(f *testing.F) {
	for _, text := range []string{
		`{"contexts":null}`, "null", "{", "[]", "{}\n{}",
		`{"current":"b","contexts":[{"name":"b","server":"https://b","user":"ann","token":"t","expires":"2026-01-02T03:04:05+01:00"}]}`,
		`{"contexts":[{"name":"a"},{"name":"a"},{"name":"\u0000\ud800"}]}`,
		"{\"contexts\":[{\"name\":\"\xff\",\"expires\":\"9999-12-31T23:59:59.999999999-23:59\"}]}",
	} {
		f.Add(text)
	}
	home := f.TempDir()
	tool := &tool{Options: Options{Getenv: func(name string) string { return map[string]string{"HOME": home}[name] }}}
	file := tool.contextsFile()
	require.NoError(f, os.MkdirAll(filepath.Dir(file), 0o700))
	f.Fuzz(func(t *testing.T, text string) {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		got, err := tool.contexts()
		if err != nil {
			assert.Contains(t, []errkind.Kind{errkind.Corrupt, errkind.Invalid}, errkind.Of(err), "%v", err)
			return
		}
		require.NoError(t, tool.keep(got))
		again, err := tool.contexts()
		require.NoError(t, err)
		require.Len(t, again.All, len(got.All))
		assert.Equal(t, got.Current, again.Current)
		for i, s := range again.All {
			assert.True(t, got.All[i].Expires.Equal(s.Expires))
			got.All[i].Expires = s.Expires
			assert.Equal(t, got.All[i], s)
		}
	})
}
