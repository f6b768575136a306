package kopia

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
)

// indexPrefix is of contents that are indexes: kopia packs them apart.
const indexPrefix content.IDPrefix = "x"

// stale reports whether it is time to read the indexes again because of a
// content that is not where they say. In a damaged repository there are many.
func (r *Repository) stale() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.refreshed) < 5*time.Second {
		return false
	}
	r.refreshed = time.Now()
	return true
}

// blocks are the contents of a segment. Unreadable: corrupt.
func (r *Repository) blocks(ctx context.Context, segment object.ID, length int64) ([]content.ID, error) {
	if segment == r.zeroSegmentID(length) {
		return r.zeroSegmentBlocks(length), nil
	}
	cid, err := segmentContent(segment)
	if err != nil {
		return nil, err
	}
	b, err := r.read(ctx, cid)
	if err != nil {
		return nil, failed(err, "read an index in %s", r.g.where)
	}
	return decodeSegment(b, length)
}

// segments are the parts of a point's image. Unreadable: corrupt.
func (r *Repository) segments(ctx context.Context, p record) ([]object.ID, error) {
	top, err := p.top()
	if err != nil {
		return nil, err
	}
	text, err := r.readObject(ctx, top)
	if err != nil {
		return nil, failed(err, "read the index of recovery point %s", p.Point.ID)
	}
	segments, err := decodeTop(bytes.NewReader(text), p.Point.Size)
	return segments, failed(err, "read the index of recovery point %s", p.Point.ID)
}

// objectContents are the contents of a point's topmost index.
func (r *Repository) objectContents(ctx context.Context, p record) ([]content.ID, error) {
	id, err := p.top()
	if err != nil {
		return nil, err
	}
	return r.contentsOf(ctx, id)
}

// contentsOf are the contents of an object, in no order.
func (r *Repository) contentsOf(ctx context.Context, id object.ID) ([]content.ID, error) {
	index, ok := id.IndexObjectID()
	if !ok {
		cid, _, ok := id.ContentID()
		if !ok {
			return nil, errIndex
		}
		return []content.ID{cid}, nil
	}
	all, err := r.contentsOf(ctx, index)
	if err != nil {
		return all, err
	}
	text, err := r.readObject(ctx, index)
	if err != nil {
		return all, err
	}
	parts, err := parseIndex(text)
	for _, e := range parts {
		ids, err := r.contentsOf(ctx, e.Object)
		all = append(all, ids...)
		if err != nil {
			return all, err
		}
	}
	return all, err
}

// documentIn is point.json in the folder of a snapshot.
func documentIn(folder []byte) (object.ID, error) {
	var m snapshot.DirManifest
	if json.Unmarshal(folder, &m) != nil {
		return object.EmptyID, errIndex
	}
	for _, e := range m.Entries {
		if e.Name == pointName {
			return e.ObjectID, nil
		}
	}
	return object.EmptyID, errIndex
}

func (r *Repository) zeroSegmentBlocks(length int64) []content.ID {
	ids := make([]content.ID, blocksIn(length))
	for i := range ids {
		ids[i] = r.hash.zero(int(lengthOf(i, blockSize, length)))
	}
	return ids
}

func (r *Repository) zeroSegmentIndex(length int64) []byte {
	return encodeSegment(r.zeroSegmentBlocks(length), length)
}

// zeroSegmentID is the object of a segment of zeros. Another way of writing
// the same index would only cost reading it.
func (r *Repository) zeroSegmentID(length int64) object.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id, ok := r.zeroSegments[length]; ok {
		return id
	}
	id, err := indirect(object.DirectObjectID(r.hash.id(indexPrefix, r.zeroSegmentIndex(length))))
	if err != nil {
		return object.EmptyID // equal to no other
	}
	r.zeroSegments[length] = id
	return id
}

// dataIn is how many bytes of a segment are in blocks that are not zero.
func (r *Repository) dataIn(ids []content.ID, length int64) (n int64) {
	for i, id := range ids {
		if l := lengthOf(i, blockSize, length); id != r.hash.zero(int(l)) {
			n += l
		}
	}
	return n
}
