package kopia

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"

	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/maintenance"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// The format of new repositories.
const (
	hashName       = "BLAKE3-256"
	encryptionName = "AES256-GCM-HMAC-SHA256"
	splitterName   = "FIXED-1M"
	// A key is random and of 256 bits: what slows down guessing only costs us.
	// This is the cheaper one of the two that kopia knows, and needs no 64 MiB.
	deriverName = "pbkdf2-sha256-600000"
)

// Create makes a repository. A creation that broke off before its identity
// was written is finished by the next one with the same key.
func (o *opener) Create(ctx context.Context, p repository.Place, key string, id repository.Identity) (repository.Identity, error) {
	ctx = context.WithValue(ctx, creatingKey{}, true)
	g, err := o.guarded(ctx, p, true)
	if err != nil {
		return repository.Identity{}, err
	}
	inner, why, cancel := stoppable(ctx)
	defer cancel()
	id, err = o.create(inner, g, p.Location, key, id)
	err = why(err)
	return id, errors.Join(err, g.Close(ctx))
}

func (o *opener) create(ctx context.Context, g *guard, l repository.Location, key string, id repository.Identity) (repository.Identity, error) {
	begun, err := vacant(ctx, g, l)
	if err != nil {
		return id, err
	}
	if begun {
		return o.finish(ctx, g, key, id)
	}
	// kopia would choose these at random, too. That we know them saves opening
	// what was just made, which takes as long as making it.
	var master, unique [32]byte
	_, _ = rand.Read(master[:]) // never fails
	_, _ = rand.Read(unique[:])
	err = repo.Initialize(ctx, g, &repo.NewRepositoryOptions{
		UniqueID:     unique[:],
		BlockFormat:  format.ContentFormat{Hash: hashName, Encryption: encryptionName, MasterKey: master[:]},
		ObjectFormat: format.ObjectFormat{Splitter: splitterName},

		FormatBlockKeyDerivationAlgorithm: deriverName,
	}, key)
	if err != nil {
		return id, failed(err, "make a repository in %s", g.where)
	}
	sealKey, err := hkdf.Key(sha256.New, master[:], unique[:], sealPurpose, sealKeyLength)
	if err != nil {
		return id, errkind.Wrap(errkind.Internal, err, "derive the key of the identity of %s", g.where)
	}
	return o.introduce(ctx, g, unique[:], sealKey, id)
}

// finish ends a creation that broke off, if it is one: the key tells.
func (o *opener) finish(ctx context.Context, g *guard, key string, id repository.Identity) (repository.Identity, error) {
	dir, err := o.temp()
	if err != nil {
		return id, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // the next start clears it
	// Closing kopia's repository closes its storage; the guard stays ours.
	r, err := o.openKopia(ctx, unclosed{g}, key, dir, "", &clock{real: o.Now})
	if errors.Is(err, format.ErrInvalidPassword) {
		return id, errkind.New(errkind.Exists, "%s holds a repository with another key: choose an empty place", g.where)
	}
	if err != nil {
		return id, failed(err, "open the new repository in %s", g.where)
	}
	sealKey, err := r.DeriveKey(sealPurpose, sealKeyLength)
	if err == nil {
		id, err = o.introduce(ctx, g, r.UniqueID(), sealKey, id)
	}
	return id, errors.Join(err, failed(r.Close(ctx), "close the new repository in %s", g.where))
}

// introduce writes the identity, last.
func (o *opener) introduce(ctx context.Context, g *guard, unique, sealKey []byte, id repository.Identity) (repository.Identity, error) {
	id.Unique = hex.EncodeToString(unique)
	if id.Created.IsZero() {
		id.Created = o.Now()
	}
	id.Created = id.Created.UTC()
	s, err := seal(sealKey, id)
	if err != nil {
		return id, errkind.Wrap(errkind.Internal, err, "seal the identity of %s", g.where)
	}
	text, err := json.MarshalIndent(identityFile{Version: 1, Identity: id, Owner: host(o.Owner), Seal: s}, "", "  ")
	if err != nil {
		return id, errkind.Wrap(errkind.Internal, err, "write the identity of %s", g.where)
	}
	return id, g.PutBlob(ctx, identityBlob, data(text), blob.PutOptions{})
}

// own makes this installation the one that maintains r.
func own(ctx context.Context, r repo.DirectRepository) error {
	return repo.WriteSession(ctx, r, repo.WriteSessionOptions{Purpose: "owner"}, func(ctx context.Context, w repo.RepositoryWriter) error {
		p, err := maintenance.GetParams(ctx, w)
		if err != nil {
			return err
		}
		p.Owner = w.ClientOptions().UsernameAtHost()
		return maintenance.SetParams(ctx, w, p)
	})
}

// vacant says whether a place is empty, or holds a repository without an
// identity, which can be a creation that broke off: the key tells. Anything
// else is an error.
func vacant(ctx context.Context, g *guard, l repository.Location) (begun bool, err error) {
	var identified, other bool
	err = g.ListBlobs(ctx, "", func(m blob.Metadata) error {
		begun = begun || m.BlobID == format.KopiaRepositoryBlobID
		identified = identified || m.BlobID == identityBlob
		other = true
		return nil
	})
	if err != nil {
		return false, err
	}
	if l.Type == repository.Directory && !begun {
		entries, err := os.ReadDir(l.Path)
		if err != nil {
			return false, errkind.Wrap(kindOf(err), err, "look into %s", g.where)
		}
		for _, e := range entries {
			other = other || e.Name() != "lost+found" && e.Name() != sharded.ParametersFile
		}
	}
	if identified || other && !begun {
		return false, errkind.New(errkind.Exists, "%s is not empty: choose an empty place, or attach the repository that is there", g.where)
	}
	return begun, nil
}

// unclosed is a storage that outlives kopia's repository on it.
type unclosed struct{ blob.Storage }

// Close does nothing.
func (unclosed) Close(context.Context) error { return nil }
