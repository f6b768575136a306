package kopia_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/repository/kopia"
	"mooring.dev/mooring/hostsvc/internal/repository/repositorytest"
)

func opener(t *testing.T, o kopia.Options) repository.Opener {
	o.Dir = filepath.Join(t.TempDir(), "state")
	if o.Owner == "" {
		o.Owner = "Installation-1"
	}
	return kopia.New(o)
}

func directory(t *testing.T, o kopia.Options) repositorytest.Storage {
	return repositorytest.Storage{
		Opener: opener(t, o),
		Place: func(t *testing.T) repository.Place {
			return repository.Place{Location: repository.Location{Type: repository.Directory, Path: t.TempDir()}}
		},
		Blobs: func(t *testing.T, p repository.Place) int { return len(files(t, p.Location.Path)) },
	}
}

// files are those of a folder that are blobs, or left-overs.
func files(t *testing.T, dir string) (out []string) {
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && e.Name() != ".shards" {
			out = append(out, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	require.NoError(t, err)
	return out
}

func TestDirectory(t *testing.T) { repositorytest.Run(t, directory(t, kopia.Options{})) }
