package kopia

import (
	"context"
	"fmt"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/content"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
)

// Status is what the repository holds.
func (r *Repository) Status(ctx context.Context) (repository.Status, error) {
	done, err := r.use()
	if err != nil {
		return repository.Status{}, err
	}
	defer done()
	if err := r.g.check(ctx, true); err != nil {
		return repository.Status{}, err
	}
	if err := r.fresh(ctx); err != nil {
		return repository.Status{}, err
	}
	s := repository.Status{Identity: r.identity, ReadOnly: r.g.readOnly.Load()}
	points, err := r.records(ctx)
	if err != nil && !errkind.Is(err, errkind.Corrupt) && !errkind.Is(err, errkind.Unsupported) {
		return s, err
	}
	for _, p := range points {
		s.Points++
		s.Logical += p.Point.Stats.Data
	}
	err = r.kopia.ContentReader().IterateContents(ctx, content.IterateOptions{}, func(i content.Info) error {
		if !i.ContentID.HasPrefix() {
			s.Unique += int64(i.OriginalLength)
		}
		return ctx.Err()
	})
	if err != nil {
		return s, failed(err, "count what is in %s", r.g.where)
	}
	err = r.g.ListBlobs(ctx, "", func(m blob.Metadata) error {
		s.Blobs++
		s.Stored += m.Length
		return ctx.Err()
	})
	if err != nil {
		return s, err
	}
	f := r.kopia.FormatManager()
	mp, err := f.GetMutableParameters(ctx)
	if err != nil {
		return s, failed(err, "read the format of %s", r.g.where)
	}
	s.Format = fmt.Sprintf("kopia format %d, %s, %s, %s", mp.Version, f.GetHashFunction(), f.GetEncryptionAlgorithm(), f.ObjectFormat().Splitter)
	return s, nil
}
