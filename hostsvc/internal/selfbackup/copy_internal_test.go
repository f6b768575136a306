package selfbackup

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

const rows = "{\"schema\":7,\"tables\":[\"users\"]}\n{\"table\":\"users\",\"columns\":[\"id\"]}\n[\"a\"]\n"

var made = time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC)

func sample(t *testing.T, files []File, catalog string) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b, header{Made: made, Build: "v1"}, files, func(w io.Writer) error {
		_, err := io.WriteString(w, catalog)
		return err
	}))
	return b.Bytes()
}

func readBytes(t *testing.T, b []byte) (Copy, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return read(f)
}

func TestACopyIsReadAsItWasWritten(t *testing.T) {
	long := "[\"" + strings.Repeat("x", 1<<20) + "\"]\n"
	for _, files := range [][]File{nil, {{"master.key", []byte("k\x00\xff")}, {"mooring.toml.d/a.toml", []byte{}}}} {
		for _, catalog := range []string{rows, rows + long} {
			b := sample(t, files, catalog)
			assert.Zero(t, len(b)%sector, "whole sectors")
			c, err := readBytes(t, b)
			require.NoError(t, err)
			assert.Equal(t, made, c.Made)
			assert.Equal(t, "v1", c.Build)
			assert.Equal(t, files, c.Files)
			got, err := io.ReadAll(c.Catalog())
			require.NoError(t, err)
			assert.True(t, catalog == string(got))
		}
	}
}

// Nothing of a copy that was changed or cut off anywhere is believed.
func TestADamagedCopyIsRefused(t *testing.T) {
	b := sample(t, []File{{"master.key", []byte("key")}}, rows)
	end := bytes.LastIndex(bytes.TrimRight(b, "\n"), []byte("\n")) // of what the checksum covers
	for i := range end {
		changed := bytes.Clone(b)
		changed[i] ^= 1
		_, err := readBytes(t, changed)
		require.Error(t, err, "byte %d", i)
		_, err = readBytes(t, b[:i])
		require.Error(t, err, "cut at %d", i)
	}
	for text, kind := range map[string]errkind.Kind{
		"":       errkind.Corrupt,
		"\x00":   errkind.Corrupt,
		"{}\n":   errkind.Invalid,
		"\x7f\n": errkind.Invalid,
		`{"mooring":"copy of a catalog","version":2,"build":"v9"}` + "\n": errkind.Unsupported,
	} {
		_, err := readBytes(t, []byte(text))
		assert.Equal(t, kind, errkind.Of(err), "%q", text)
	}
	// Rows cannot pretend to be the end.
	sum := sha256.Sum256([]byte("other"))
	_, err := readBytes(t, []byte(fmt.Sprintf("{\"mooring\":\"copy of a catalog\",\"version\":1}\n{\"sha256\":\"%s\"}\n", hex.EncodeToString(sum[:]))))
	assert.Equal(t, errkind.Corrupt, errkind.Of(err))
}
