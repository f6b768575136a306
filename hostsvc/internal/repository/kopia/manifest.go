package kopia

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/content/index"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"
	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Manifests are read here and not by kopia's manager: that one compacts, and
// so writes, while it reads, and one manifest that cannot be read makes all
// the others unreadable.

// entry is a manifest as kopia stores it.
type entry struct {
	ID      manifest.ID       `json:"id"`
	Labels  map[string]string `json:"labels"`
	ModTime time.Time         `json:"modified"`
	Deleted bool              `json:"deleted"`
	Content json.RawMessage   `json:"data"`
}

// listed is a snapshot in the repository, ours or another's.
type listed struct {
	entry
	ours bool
	record
	root object.ID
	err  error // of understanding it
}

// manifestCache keeps what was read; contents never change.
type manifestCache struct {
	mu   sync.Mutex // guards seen
	seen map[content.ID][]listed
}

// snapshots lists all snapshots. What cannot be read is the error, beside the
// others.
func (r *Repository) snapshots(ctx context.Context) ([]listed, error) {
	c := &r.manifests
	c.mu.Lock()
	defer c.mu.Unlock()
	var ids []content.ID
	err := r.kopia.ContentReader().IterateContents(ctx, content.IterateOptions{Range: index.PrefixRange(manifest.ContentPrefix)}, func(i content.Info) error {
		ids = append(ids, i.ContentID)
		return nil
	})
	if err != nil {
		return nil, failed(err, "list the recovery points in %s", r.g.where)
	}
	now := make(map[content.ID][]listed, len(ids))
	errs := make([]error, len(ids))
	var missing errgroup.Group
	missing.SetLimit(8)
	read := make([][]listed, len(ids))
	for i, id := range ids {
		if l, ok := c.seen[id]; ok {
			read[i] = l
			continue
		}
		missing.Go(func() error {
			read[i], errs[i] = r.readManifests(ctx, id)
			return nil
		})
	}
	_ = missing.Wait() // errors are in errs
	for i, id := range ids {
		if errs[i] == nil {
			now[id] = read[i]
		}
	}
	c.seen = now
	return newest(read), errors.Join(errs...)
}

func (r *Repository) readManifests(ctx context.Context, id content.ID) ([]listed, error) {
	b, err := r.read(ctx, id)
	if err != nil {
		return nil, failed(err, "read recovery points in %s", r.g.where)
	}
	damaged := errkind.New(errkind.Corrupt, "manifest %s in %s is damaged", id, r.g.where)
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, damaged
	}
	text, err := io.ReadAll(z)
	if err != nil {
		return nil, damaged
	}
	var all struct {
		Entries []entry `json:"entries"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, damaged
	}
	out := make([]listed, 0, len(all.Entries))
	for _, e := range all.Entries {
		out = append(out, understand(e))
	}
	return out, nil
}

// understand reads an entry once; the text of it is not kept.
func understand(e entry) listed {
	l := listed{entry: e}
	l.Content = nil
	if e.Deleted || e.Labels[manifest.TypeLabelKey] != snapshot.ManifestType {
		return l
	}
	var m snapshot.Manifest
	if err := json.Unmarshal(e.Content, &m); err != nil {
		l.err = errkind.New(errkind.Corrupt, "manifest %s is damaged", e.ID)
		return l
	}
	l.root = m.RootObjectID()
	if e.Labels[pointTag] == "" {
		return l
	}
	l.ours = true
	l.record, l.err = parseRecord(m.Description)
	return l
}

// newest merges what may be said twice, as kopia does: the newest word counts.
func newest(lists [][]listed) []listed {
	by := map[manifest.ID]listed{}
	for _, list := range lists {
		for _, l := range list {
			if old, ok := by[l.ID]; !ok || l.ModTime.After(old.ModTime) {
				by[l.ID] = l
			}
		}
	}
	out := make([]listed, 0, len(by))
	for _, l := range by {
		if !l.Deleted && l.Labels[manifest.TypeLabelKey] == snapshot.ManifestType {
			out = append(out, l)
		}
	}
	return out
}

// records lists our points, oldest first.
func (r *Repository) records(ctx context.Context) ([]listed, error) {
	all, err := r.snapshots(ctx)
	if all == nil && err != nil {
		return nil, err
	}
	var out []listed
	seen := map[volspec.PointID]bool{}
	for _, l := range all {
		switch {
		case !l.ours && l.err == nil, seen[l.Point.ID]:
		case l.err != nil:
			err = errors.Join(err, l.err)
		default:
			seen[l.Point.ID] = true
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b listed) int {
		return cmp.Or(a.Point.Created.Compare(b.Point.Created), cmp.Compare(a.Point.ID, b.Point.ID))
	})
	return out, err
}

// find looks for one point. An error in another one's manifest matters only
// when the point is not found.
func (r *Repository) find(ctx context.Context, id volspec.PointID) (listed, error) {
	all, err := r.records(ctx)
	for _, l := range all {
		if l.Point.ID == id {
			return l, nil
		}
	}
	if err != nil {
		return listed{}, err
	}
	return listed{}, errkind.New(errkind.NotFound, "recovery point %s does not exist", id)
}

// Points lists all points, oldest first.
func (r *Repository) Points(ctx context.Context) ([]repository.Point, error) {
	done, err := r.use()
	if err != nil {
		return nil, err
	}
	defer done()
	if err := r.fresh(ctx); err != nil {
		return nil, err
	}
	all, err := r.records(ctx)
	points := make([]repository.Point, 0, len(all))
	for _, l := range all {
		points = append(points, l.Point)
	}
	return points, err
}

// Point reads one.
func (r *Repository) Point(ctx context.Context, id volspec.PointID) (repository.Point, error) {
	done, err := r.use()
	if err != nil {
		return repository.Point{}, err
	}
	defer done()
	if err := r.fresh(ctx); err != nil {
		return repository.Point{}, err
	}
	l, err := r.find(ctx, id)
	return l.Point, err
}

// Delete drops a point.
func (r *Repository) Delete(ctx context.Context, id volspec.PointID) error {
	done, err := r.use()
	if err != nil {
		return err
	}
	defer done()
	if err := r.fresh(ctx); err != nil {
		return err
	}
	all, err := r.snapshots(ctx)
	var gone []manifest.ID
	var newest time.Time
	for _, l := range all {
		if l.Labels[pointTag] == string(id) {
			gone = append(gone, l.ID)
			if l.ModTime.After(newest) {
				newest = l.ModTime
			}
		}
	}
	if len(gone) == 0 {
		return err // an error hides points: then it is not known to be absent
	}
	defer r.clock.after(newest)()
	return r.session(ctx, "delete", nil, func(ctx context.Context, s *session) error {
		for _, m := range gone {
			if err := s.w.DeleteManifest(ctx, m); err != nil {
				return failed(err, "delete recovery point %s", id)
			}
		}
		return nil
	})
}
