package kopia

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/format"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Our blobs beside kopia's. kopia's maintenance removes blobs by how their
// names begin, those with "_" after thirty days; nothing of it begins with a
// capital letter.
const (
	identityBlob   blob.ID = "Mooring.identity"
	accessBlob     blob.ID = "Mooring.access"
	quarantineBlob blob.ID = "Mooring.damage"
)

// userName is ours as a client of kopia.
const userName = "mooring"

// host is a name in the form that kopia likes.
func host(s string) string {
	if s == "" {
		return "mooring"
	}
	return strings.ToLower(s)
}

// identityFile is the identity as stored: version 1. Seal proves, with a key
// derived from the repository's, that who wrote it had the key.
type identityFile struct {
	Version  int                 `json:"mooring"`
	Identity repository.Identity `json:"identity"`
	// Owner is the installation that made the repository and so maintains it,
	// until another is told to.
	Owner string `json:"owner"`
	Seal  string `json:"seal"`
}

// What kopia derives the key of the seal for.
const (
	sealPurpose   = "mooring identity"
	sealKeyLength = 32
)

func seal(key []byte, id repository.Identity) (string, error) {
	id.Created = id.Created.UTC()
	text, err := json.Marshal(id)
	if err != nil {
		return "", err
	}
	h := hmac.New(sha256.New, key)
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil)), nil
}

// look reads the identity of a place, checks it against want and the format,
// and remembers it in the guard. It writes nothing.
func (g *guard) look(ctx context.Context, want volspec.RepositoryID) (identityFile, error) {
	var file identityFile
	// Asking for a blob in an empty folder would make kopia write how the folder
	// is laid out; listing does not.
	found := false
	if err := g.ListBlobs(ctx, identityBlob, func(m blob.Metadata) error {
		found = found || m.BlobID == identityBlob
		return nil
	}); err != nil {
		return file, err
	}
	if !found {
		return file, errkind.New(errkind.Offline, "%s does not hold a repository of ours: it is empty, not mounted or something else lies there; nothing was written to it", g.where)
	}
	var b, f buffer
	if err := g.GetBlob(ctx, identityBlob, 0, -1, &b); err != nil {
		return file, errkind.Wrap(kindOf(err), err, "read the identity of %s", g.where)
	}
	if err := json.Unmarshal(b.Bytes(), &file); err != nil || file.Version < 1 || file.Identity.ID == "" {
		return file, errkind.New(errkind.Offline, "the identity of %s cannot be understood: nothing was written to it", g.where)
	}
	if file.Version > 1 {
		return file, errkind.New(errkind.Unsupported, "%s was made by a newer version of Mooring: update this one", g.where)
	}
	if want != "" && file.Identity.ID != want {
		return file, errkind.New(errkind.Offline, "%s holds repository %s and not %s: nothing was written to it", g.where, file.Identity.ID, want)
	}
	if err := g.GetBlob(ctx, format.KopiaRepositoryBlobID, 0, -1, &f); err != nil {
		if errors.Is(err, blob.ErrBlobNotFound) {
			return file, errkind.New(errkind.Offline, "%s has lost the description of its format: nothing was written to it", g.where)
		}
		return file, err
	}
	desc, err := format.ParseKopiaRepositoryJSON(f.Bytes())
	if err != nil || hex.EncodeToString(desc.UniqueID) != file.Identity.Unique {
		return file, errkind.New(errkind.Offline, "the repository in %s was replaced under its identity: nothing was written to it", g.where)
	}
	g.identity = b.Bytes()
	return file, nil
}
