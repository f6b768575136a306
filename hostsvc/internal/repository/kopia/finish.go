package kopia

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"mooring.dev/mooring/hostsvc/internal/repository"
)

// zeroBlock is the content of n zeros, which is stored once.
func (w *backup) zeroBlock(ctx context.Context, n int) (content.ID, error) {
	id := w.r.hash.zero(n)
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.zeros[int64(n)]; ok {
		return id, nil
	}
	_, isNew, err := w.put(ctx, "", make([]byte, n))
	if err != nil {
		return id, failed(err, "store zeros in %s", w.r.g.where)
	}
	if isNew {
		w.fresh.Add(int64(n))
	}
	w.zeros[int64(n)] = object.DirectObjectID(id)
	return id, nil
}

// zeroSegment is the index of a segment of zeros, which is stored once.
func (w *backup) zeroSegment(ctx context.Context, length int64) (object.ID, error) {
	last := lengthOf(blocksIn(length)-1, blockSize, length)
	if _, err := w.zeroBlock(ctx, int(last)); err != nil {
		return object.EmptyID, err
	}
	if length > blockSize {
		if _, err := w.zeroBlock(ctx, blockSize); err != nil {
			return object.EmptyID, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if id, ok := w.zeros[-length]; ok { // segments beside blocks, told apart by the sign
		return id, nil
	}
	if _, _, err := w.put(ctx, indexPrefix, w.r.zeroSegmentIndex(length)); err != nil {
		return object.EmptyID, failed(err, "store the index of zeros in %s", w.r.g.where)
	}
	id := w.r.zeroSegmentID(length)
	w.zeros[-length] = id
	return id, nil
}

// finish stores the index of a segment whose blocks are all known.
func (w *backup) finish(ctx context.Context, s *segment) error {
	w.data.Add(w.r.dataIn(s.ids, s.length))
	w.old.Add(w.r.dataIn(s.old, s.length))
	if s.oldID != object.EmptyID && slices.Equal(s.ids, s.old) {
		w.top[s.index] = s.oldID
		return nil
	}
	id, _, err := w.put(ctx, indexPrefix, encodeSegment(s.ids, s.length))
	if err != nil {
		return failed(err, "store an index in %s", w.r.g.where)
	}
	w.top[s.index], err = indirect(object.DirectObjectID(id))
	return err
}

// indirect is the object whose index is in id.
func indirect(id object.ID) (object.ID, error) { return object.ParseID("I" + id.String()) }

// conclude writes the topmost index and, last, the manifest. The point exists
// when the session is flushed after it.
func (w *backup) conclude(ctx context.Context, tracking string) (repository.Point, error) {
	top, err := w.putTop(ctx)
	if err != nil {
		return repository.Point{}, failed(err, "store the index of the disk in %s", w.r.g.where)
	}
	if w.fresh.Load() > 0 { // so that what the manifest says is stored can be counted
		if err := w.w.Flush(ctx); err != nil {
			return repository.Point{}, failed(err, "write to %s", w.r.g.where)
		}
	}
	p := w.b.Point
	p.Size, p.Tracking, p.Ended = w.size, tracking, w.r.o.Now().UTC()
	p.Created = p.Created.UTC()
	p.Parent = ""
	p.Stats = repository.Stats{Read: w.read.Load(), Stored: w.m.stored.Load(), New: w.fresh.Load(), Data: w.data.Load()}
	if w.parent != nil {
		p.Parent = w.parent.id
		if w.b.Changed != nil {
			p.Stats.Data += w.parent.data - w.old.Load()
		}
	}
	if err := w.manifest(ctx, p, top); err != nil {
		return repository.Point{}, failed(err, "write the recovery point to %s", w.r.g.where)
	}
	w.report.end()
	return p, nil
}

// putTop stores the topmost index, again if what is there of it is damaged.
func (w *backup) putTop(ctx context.Context) (object.ID, error) {
	write := func() (object.ID, error) {
		return w.object(ctx, indexPrefix, func(o object.Writer) error { return encodeTop(o, w.top, w.size) })
	}
	id, err := write()
	if err != nil {
		return id, err
	}
	parts, err := w.w.VerifyObject(ctx, id)
	if err != nil {
		return id, err
	}
	again := false
	for _, cid := range parts {
		ok, _, err := w.stored(ctx, cid)
		if err != nil {
			return id, err
		}
		if !ok {
			again = true
			if err := w.withdraw(ctx, cid); err != nil {
				return id, err
			}
		}
	}
	if again {
		return write()
	}
	return id, nil
}

func (w *backup) manifest(ctx context.Context, p repository.Point, top object.ID) error {
	image, err := indirect(top)
	if err != nil {
		return err
	}
	root, err := w.folder(ctx, p, image)
	if err != nil {
		return err
	}
	about, err := record{Version: recordVersion, Point: p, Image: image.String(), Block: blockSize, Segment: segmentSize}.text()
	if err != nil {
		return err
	}
	_, err = snapshot.SaveSnapshot(ctx, w.w, &snapshot.Manifest{
		Source:      snapshot.SourceInfo{Host: host(p.Source.Tenant), UserName: userName, Path: "/" + p.Source.Name},
		Description: about,
		StartTime:   fs.UTCTimestampFromTime(p.Created), EndTime: fs.UTCTimestampFromTime(p.Ended),
		Stats:     snapshot.Stats{TotalFileCount: 2, TotalFileSize: root.DirSummary.TotalFileSize, TotalDirectoryCount: 1},
		RootEntry: root,
		Tags:      map[string]string{pointTag: string(p.ID)},
	})
	return err
}

// folder writes point.json and the folder of the snapshot. Both follow from
// the record, so that they can be written again.
func (s *session) folder(ctx context.Context, p repository.Point, image object.ID) (*snapshot.DirEntry, error) {
	about, err := json.MarshalIndent(pointFile{Version: recordVersion, Point: p}, "", "  ")
	if err != nil {
		return nil, err
	}
	docID, _, err := s.put(ctx, "", about)
	if err != nil {
		return nil, err
	}
	doc, docSize := object.DirectObjectID(docID), int64(len(about))
	at := fs.UTCTimestampFromTime(p.Created)
	summary := &fs.DirectorySummary{TotalFileSize: p.Size + docSize, TotalFileCount: 2, TotalDirCount: 1, MaxModTime: at}
	text, err := json.Marshal(snapshot.DirManifest{
		StreamType: "kopia:directory",
		Entries: []*snapshot.DirEntry{
			{Name: imageName, Type: snapshot.EntryTypeFile, Permissions: 0o600, FileSize: p.Size, ModTime: at, ObjectID: image},
			{Name: pointName, Type: snapshot.EntryTypeFile, Permissions: 0o600, FileSize: docSize, ModTime: at, ObjectID: doc},
		},
		Summary: summary,
	})
	if err != nil {
		return nil, err
	}
	id, _, err := s.put(ctx, "k", text)
	if err != nil {
		return nil, err
	}
	return &snapshot.DirEntry{
		Name: p.Source.Name, Type: snapshot.EntryTypeDirectory, Permissions: 0o700, ModTime: at, ObjectID: object.DirectObjectID(id), DirSummary: summary,
	}, nil
}
