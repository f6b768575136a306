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
	"mooring.dev/mooring/pkg/volspec"
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
	// Checked are points that were made since, and looked into as they were:
	// they use none of it.
	Checked []volspec.PointID `json:"checked,omitempty"`
}

// has reports whether something is known to be damaged.
func (f damageFile) has() bool { return len(f.Contents) > 0 || f.More }

// What bounds the blob.
const (
	maxNamed   = 10000
	maxChecked = 1000
)

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

func (r *Repository) setDamage(ctx context.Context, f damageFile) error {
	if !f.has() {
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
	if len(all) > len(f.Contents) {
		f.Checked = nil
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
		r.healed(ctx, "")
	}
	return err
}

// healed forgets damage that is no more: contents that were stored anew, and
// notes that point, if it is not "", uses nothing of the rest. An error only
// means that it is looked at again.
func (r *Repository) healed(ctx context.Context, point volspec.PointID) {
	r.noting.Lock()
	defer r.noting.Unlock()
	f, err := r.damage(ctx)
	if err == nil && f.has() {
		f.Contents = slices.DeleteFunc(f.Contents, func(id content.ID) bool {
			i, err := r.kopia.ContentInfo(ctx, id)
			return err == nil && !i.Deleted
		})
		if point != "" {
			f.Checked = append(f.Checked, point)
			f.Checked = f.Checked[max(0, len(f.Checked)-maxChecked):]
		}
		err = r.setDamage(ctx, f)
	}
	if err != nil {
		log.G(ctx).WithField(log.Err, err).Warn("what is damaged in a repository could not be updated")
	}
}
