package kopia_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
	"mooring.dev/mooring/pkg/image"
)

func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// snapshotOf is kopia's id of the snapshot of a point.
func snapshotOf(t require.TestingT, list, point string) string {
	var all []struct {
		ID   string            `json:"id"`
		Tags map[string]string `json:"tags"`
	}
	require.NoError(t, json.Unmarshal([]byte(list), &all))
	for _, s := range all {
		if s.Tags["tag:mooring-point"] == point {
			return s.ID
		}
	}
	require.Fail(t, "no snapshot of the point")
	return ""
}

// file is a raw image.
type file struct {
	*os.File
	image.Image
	size int64
}

func (f file) Size() int64                             { return f.size }
func (f file) ReadAt(p []byte, off int64) (int, error) { return f.File.ReadAt(p, off) }
func (f file) Close() error                            { return f.File.Close() }

func sameFile(t *testing.T, want image.Image, path string) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	fi, err := f.Stat()
	require.NoError(t, err)
	require.Equal(t, want.Size(), fi.Size())
	at, err := repositorytest.Differ(want, file{File: f, size: fi.Size()})
	require.NoError(t, err)
	require.EqualValues(t, -1, at)
}
