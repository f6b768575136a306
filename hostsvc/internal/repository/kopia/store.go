package kopia

import (
	"context"
	"errors"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"mooring.dev/mooring/pkg/errkind"
)

// packState is what the place says about a pack: its length, -1 for absent.
type packState int64

// maxPacks bounds what a session remembers of packs: 20 MB of data each.
const maxPacks = 16 << 10

// whole reports whether the pack that holds a content is there and long
// enough. The index is a hint; this looks at the place.
func (s *session) whole(ctx context.Context, i content.Info) (bool, error) {
	s.mu.Lock()
	state, ok := s.pack[i.PackBlobID]
	s.mu.Unlock()
	if !ok {
		m, err := s.r.g.GetMetadata(ctx, i.PackBlobID)
		switch {
		case errors.Is(err, blob.ErrBlobNotFound):
			state = -1
		case err != nil:
			return false, err
		default:
			state = packState(m.Length)
		}
		s.mu.Lock()
		if len(s.pack) >= maxPacks {
			clear(s.pack)
		}
		s.pack[i.PackBlobID] = state
		s.mu.Unlock()
	}
	return int64(i.PackOffset)+int64(i.PackedLength) <= int64(state), nil
}

// stored reports whether a content is there for good: known, not taken out of
// use, and its pack whole. known is whether kopia would refuse to store it.
func (s *session) stored(ctx context.Context, id content.ID) (stored, known bool, err error) {
	i, err := s.w.ContentInfo(ctx, id)
	if errors.Is(err, content.ErrContentNotFound) || err == nil && i.Deleted {
		return false, false, nil
	}
	if err != nil {
		return false, false, err
	}
	i, err = s.r.kopia.ContentInfo(ctx, id) // without what this session has not flushed
	if errors.Is(err, content.ErrContentNotFound) || err == nil && i.Deleted {
		return true, true, nil
	}
	if err != nil {
		return false, false, err
	}
	s.mu.Lock()
	again, bad := s.gone[id], s.bad[id]
	s.mu.Unlock()
	if again { // and stored anew, as the writer knows it
		return true, true, nil
	}
	if bad {
		return false, true, nil
	}
	ok, err := s.whole(ctx, i)
	if ok && s.doubt {
		if _, err = s.r.read(ctx, id); lost(err) {
			s.damaged(id)
			return false, true, nil
		}
	}
	return ok, true, err
}

// damaged remembers that a content cannot be read.
func (s *session) damaged(id content.ID) {
	s.mu.Lock()
	s.bad[id] = true
	s.mu.Unlock()
}

// withdraw takes a damaged content out of use, so that kopia stores it anew.
func (s *session) withdraw(ctx context.Context, id content.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock() // two at a time would undo each other
	if s.gone[id] {
		return nil
	}
	if err := s.w.ContentManager().DeleteContent(ctx, id); err != nil && !errors.Is(err, content.ErrContentNotFound) {
		return err
	}
	s.gone[id] = true
	return nil
}

// put stores b as one content, unless it is there.
func (s *session) put(ctx context.Context, prefix content.IDPrefix, b []byte) (id content.ID, isNew bool, err error) {
	id = s.r.hash.id(prefix, b)
	stored, known, err := s.stored(ctx, id)
	if err != nil || stored {
		return id, false, err
	}
	if known {
		if err := s.withdraw(ctx, id); err != nil {
			return id, false, err
		}
	}
	oid, err := s.object(ctx, prefix, func(w object.Writer) error { _, err := w.Write(b); return err })
	if err != nil {
		return id, false, err
	}
	if got, compressed, ok := oid.ContentID(); !ok || compressed || got != id {
		return id, false, errkind.New(errkind.Internal, "a block was stored as %s and not as %s", oid, id)
	}
	return id, true, nil
}

// object writes an object; more than 8 MB become several contents.
func (s *session) object(ctx context.Context, prefix content.IDPrefix, fill func(object.Writer) error) (object.ID, error) {
	w := s.w.NewObjectWriter(ctx, object.WriterOptions{
		Prefix: prefix, Compressor: compressor, MetadataCompressor: compressor, Splitter: "FIXED-8M",
	})
	if err := fill(w); err != nil {
		return object.EmptyID, errors.Join(err, w.Close())
	}
	id, err := w.Result()
	return id, errors.Join(err, w.Close())
}

const compressor compression.Name = "zstd-fastest"
