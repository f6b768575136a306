package kopia

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"

	"mooring.dev/mooring/pkg/log"
)

// kopia opens a repository by a configuration file that says which storage to
// make. Ours exists already and has secrets, so the file holds a word that
// stands for it, once, in this process: storageType and its token.
const storageType = "mooring"

type token struct {
	Token string `json:"token"`
}

var waiting sync.Map // token → blob.Storage

func init() {
	blob.AddSupportedStorage(storageType, token{}, func(_ context.Context, t *token, _ bool) (blob.Storage, error) {
		st, ok := waiting.LoadAndDelete(t.Token)
		if !ok {
			return nil, errors.New("this configuration is of a process that is gone")
		}
		return st.(blob.Storage), nil
	})
}

// openKopia opens the repository in st. cache is a folder for copies of its
// indexes, which then need no memory; dir gets kopia's configuration file and
// belongs to this opening. st is closed with the repository, or by an error.
func (o *opener) openKopia(ctx context.Context, st blob.Storage, key, dir, cache string, now *clock) (repo.DirectRepository, error) {
	t := token{Token: rand.Text()}
	waiting.Store(t.Token, st)
	defer waiting.Delete(t.Token)
	config, err := json.Marshal(repo.LocalConfig{
		Storage: &blob.ConnectionInfo{Type: storageType, Config: &t},
		Caching: caching(cache),
		ClientOptions: repo.ClientOptions{
			Username: userName, Hostname: host(o.Owner), ReadOnly: st.IsReadOnly(),
			FormatBlobCacheDuration: -1,
		},
	})
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "kopia.config")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		return nil, err
	}
	r, err := repo.Open(ctx, file, key, &repo.Options{
		TimeNowFunc:          now.now,
		DisableRepositoryLog: true,
		DoNotWaitForUpgrade:  true,
		OnFatalError: func(err error) {
			log.G(ctx).WithField(log.Err, err).Error("the format of a repository was changed while it was open")
		},
	})
	if err != nil {
		return nil, err
	}
	d, ok := r.(repo.DirectRepository)
	if !ok {
		return nil, errors.Join(errors.New("not a repository with direct access"), r.Close(ctx))
	}
	return d, nil
}

// caching keeps indexes in files below dir, which are mapped and so need no
// memory, and what kopia reads of its own. We read contents past it: see
// contents.go. Without dir everything is in memory.
func caching(dir string) *content.CachingOptions {
	if dir == "" {
		return &content.CachingOptions{}
	}
	const size = 64 << 20
	return &content.CachingOptions{
		CacheDirectory: dir, ContentCacheSizeBytes: size, MetadataCacheSizeBytes: size,
		MinContentSweepAge: 1, MinMetadataSweepAge: 60, MinIndexSweepAge: 3600, // seconds
	}
}
