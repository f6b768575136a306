package kopia

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
)

// A damaged content is marked deleted in kopia's index: then it is stored anew
// when it is met again, and until then whatever can be read of it is still
// read. So that the next backup looks for it in parts of a disk that did not
// change, its name is also noted in a blob of ours.

// damageFile is that blob: version 1.
type damageFile struct {
	Version  int          `json:"mooring"`
	Contents []content.ID `json:"contents"`
	More     bool         `json:"more,omitempty"` // there were too many to name
}

// maxNamed bounds the blob.
const maxNamed = 10000

func (r *Repository) damage(ctx context.Context) (damageFile, error) {
	var b buffer
	var f damageFile
	err := r.g.GetBlob(ctx, quarantineBlob, 0, -1, &b)
	if errors.Is(err, blob.ErrBlobNotFound) {
		return f, nil
	}
	if err != nil {
		return f, errkind.Wrap(kindOf(err), err, "read what is known to be damaged in %s", r.g.where)
	}
	if json.Unmarshal(b.Bytes(), &f) != nil {
		f = damageFile{More: true} // then everything is looked at
	}
	return f, nil
}

// anyDamage reports whether something is known to be damaged.
func (r *Repository) anyDamage(ctx context.Context) (bool, error) {
	f, err := r.damage(ctx)
	return len(f.Contents) > 0 || f.More, err
}

func (r *Repository) setDamage(ctx context.Context, f damageFile) error {
	if len(f.Contents) == 0 && !f.More {
		return r.g.DeleteBlob(ctx, quarantineBlob)
	}
	f.Version = 1
	text, err := json.Marshal(f)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "note damage")
	}
	return r.g.PutBlob(ctx, quarantineBlob, data(text), blob.PutOptions{})
}

// withdraw takes damaged contents out of use. The note comes first: a content
// that is noted and not marked is looked at again, the other way round it
// would be forgotten.
func (r *Repository) withdraw(ctx context.Context, ids map[content.ID]bool) error {
	if len(ids) == 0 || r.g.readOnly.Load() {
		return nil
	}
	r.noting.Lock()
	defer r.noting.Unlock()
	f, err := r.damage(ctx)
	if err != nil {
		return err
	}
	all := maps.Clone(ids)
	for _, id := range f.Contents {
		all[id] = true
	}
	f.Contents = slices.Collect(maps.Keys(all))
	if len(f.Contents) > maxNamed {
		f.Contents, f.More = f.Contents[:maxNamed], true
	}
	if err := r.setDamage(ctx, f); err != nil {
		return err
	}
	return r.session(ctx, "quarantine", nil, func(ctx context.Context, s *session) error {
		for id := range ids {
			if err := s.withdraw(ctx, id); err != nil {
				return failed(err, "take a damaged block of %s out of use", r.g.where)
			}
		}
		return nil
	})
}

// restore takes contents into use again that proved to be readable: the place
// was incomplete for a while.
func (r *Repository) restore(ctx context.Context, ids map[content.ID]bool) error {
	if len(ids) == 0 || r.g.readOnly.Load() {
		return nil
	}
	err := r.session(ctx, "quarantine", nil, func(ctx context.Context, s *session) error {
		for id := range ids {
			if err := s.w.ContentManager().UndeleteContent(ctx, id); err != nil {
				return failed(err, "take a block of %s into use again", r.g.where)
			}
		}
		return nil
	})
	if err == nil {
		r.healed(ctx)
	}
	return err
}

// healed forgets damage that is no more: contents that were stored anew, or
// that nothing knows. An error only means that it is looked at again.
func (r *Repository) healed(ctx context.Context) {
	r.noting.Lock()
	defer r.noting.Unlock()
	f, err := r.damage(ctx)
	if err == nil && len(f.Contents) > 0 {
		before := len(f.Contents)
		f.Contents = slices.DeleteFunc(f.Contents, func(id content.ID) bool {
			i, err := r.kopia.ContentInfo(ctx, id)
			return err == nil && !i.Deleted
		})
		if len(f.Contents) < before {
			err = r.setDamage(ctx, f)
		}
	}
	if err != nil {
		log.G(ctx).WithField(log.Err, err).Warn("what is damaged in a repository could not be updated")
	}
}
