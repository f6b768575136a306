package kopia

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/repo/maintenancestats"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"github.com/kopia/kopia/snapshot/snapshotfs"

	"mooring.dev/mooring/hostsvc/internal/repository"
)

// This is kopia's garbage collection of contents with another way of marking:
// kopia expands every disk of every point block by block; here a segment that
// many points share is looked at once, and a mark takes eight bytes. Marks are
// the beginnings of hashes: two contents with the same one keep each other.
// The rules of sweeping, and their margins, are kopia's.

type marks struct {
	r        *Repository
	used     map[uint64]struct{}
	segments map[object.ID]struct{}
}

func markOf(id content.ID) uint64 { return binary.BigEndian.Uint64(id.Hash()) }

// collect marks contents that no snapshot uses as deleted, and those that are
// marked and used as not. Anything that cannot be read ends it: then it is not
// known what is in use, and nothing is marked.
func (r *Repository) collect(ctx context.Context, w repo.DirectRepositoryWriter, start time.Time, out *repository.Maintained) (*maintenancestats.SnapshotGCStats, error) {
	all, err := r.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	m := &marks{r: r, used: map[uint64]struct{}{}, segments: map[object.ID]struct{}{}}
	for _, l := range all {
		if l.err != nil {
			return nil, l.err
		}
		if l.ours {
			err = m.point(ctx, l)
		} else {
			err = m.foreign(ctx, l.ID)
		}
		if err != nil {
			return nil, failed(err, "see what snapshot %s uses", l.ID)
		}
	}
	return m.sweep(ctx, w, start, out)
}

func (m *marks) mark(ids ...content.ID) {
	for _, id := range ids {
		m.used[markOf(id)] = struct{}{}
	}
}

// point marks what a point of ours uses.
func (m *marks) point(ctx context.Context, l listed) error {
	if err := m.object(ctx, l.root); err != nil {
		return err
	}
	folder, err := m.r.readObject(ctx, l.root)
	if err != nil {
		return err
	}
	doc, err := documentIn(folder)
	if err != nil {
		return err
	}
	if err := m.object(ctx, doc); err != nil {
		return err
	}
	top, err := m.r.objectContents(ctx, l.record)
	if err != nil {
		return err
	}
	m.mark(top...)
	segments, err := m.r.segments(ctx, l.record)
	if err != nil {
		return err
	}
	for i, id := range segments {
		if _, seen := m.segments[id]; seen {
			continue
		}
		m.segments[id] = struct{}{}
		cid, err := segmentContent(id)
		if err != nil {
			return err
		}
		m.mark(cid)
		ids, err := m.r.blocks(ctx, id, lengthOf(i, segmentSize, l.Point.Size))
		if err != nil {
			return err
		}
		m.mark(ids...)
	}
	return nil
}

func (m *marks) object(ctx context.Context, id object.ID) error {
	ids, err := m.r.contentsOf(ctx, id)
	m.mark(ids...)
	return err
}

// foreign marks what a snapshot of somebody else uses, who put it there with
// the standard program.
func (m *marks) foreign(ctx context.Context, id manifest.ID) error {
	s, err := snapshot.LoadSnapshot(ctx, m.r.kopia, id)
	if err != nil {
		return err
	}
	root, err := snapshotfs.SnapshotRoot(m.r.kopia, s)
	if err != nil {
		return err
	}
	found := make(chan content.ID)
	done := make(chan struct{})
	go func() { // ends with the walk, which is waited for below
		defer close(done)
		for id := range found {
			m.mark(id)
		}
	}()
	w, err := snapshotfs.NewTreeWalker(ctx, snapshotfs.TreeWalkerOptions{
		EntryCallback: func(ctx context.Context, _ fs.Entry, oid object.ID, _ string) error {
			ids, err := m.r.kopia.VerifyObject(ctx, oid)
			for _, id := range ids {
				found <- id
			}
			return err
		},
	})
	if err == nil {
		err = w.Process(ctx, root, "")
		w.Close(ctx)
	}
	close(found)
	<-done
	return err
}

// flushEvery is how many contents are marked deleted between flushes.
const flushEvery = 100000

func (m *marks) sweep(ctx context.Context, w repo.DirectRepositoryWriter, start time.Time, out *repository.Maintained) (*maintenancestats.SnapshotGCStats, error) {
	st := &maintenancestats.SnapshotGCStats{}
	err := w.ContentReader().IterateContents(ctx, content.IterateOptions{IncludeDeleted: true}, func(i content.Info) error {
		n := int64(i.PackedLength)
		if i.ContentID.Prefix() == manifest.ContentPrefix {
			st.InUseSystemContentCount++
			st.InUseSystemContentSize += n
			return ctx.Err()
		}
		if _, used := m.used[markOf(i.ContentID)]; used {
			st.InUseContentCount++
			st.InUseContentSize += n
			if i.Deleted {
				return m.undelete(ctx, w, i, st, out)
			}
			return ctx.Err()
		}
		if i.Deleted {
			return ctx.Err()
		}
		if start.Sub(i.Timestamp()) < maintenance.SafetyFull.MinContentAgeSubjectToGC {
			st.UnreferencedRecentContentCount++
			st.UnreferencedRecentContentSize += n
			return ctx.Err()
		}
		st.UnreferencedContentCount++
		st.UnreferencedContentSize += n
		if err := w.ContentManager().DeleteContent(ctx, i.ContentID); err != nil {
			return err
		}
		st.DeletedContentCount++
		st.DeletedContentSize += n
		if st.DeletedContentCount%flushEvery == 0 {
			return w.Flush(ctx)
		}
		return ctx.Err()
	})
	if err == nil {
		err = w.Flush(ctx)
	}
	return st, err
}

// undelete takes a content into use again that was marked while a backup began
// to use it. One that cannot be read stays in quarantine.
func (m *marks) undelete(ctx context.Context, w repo.DirectRepositoryWriter, i content.Info, st *maintenancestats.SnapshotGCStats, out *repository.Maintained) error {
	if _, err := m.r.read(ctx, i.ContentID); lost(err) {
		out.Quarantined++
		return nil
	} else if err != nil {
		return err
	}
	if err := w.ContentManager().UndeleteContent(ctx, i.ContentID); err != nil {
		return err
	}
	st.RecoveredContentCount++
	st.RecoveredContentSize += int64(i.PackedLength)
	return nil
}
