package selfbackup

import (
	"context"
	"errors"
	"io"
	"os"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Fetch brings a copy from a repository into f and examines all of it. point ""
// is the newest. Nothing is changed but f.
func Fetch(ctx context.Context, o repository.Opener, p repository.Place, key string, id volspec.RepositoryID, point volspec.PointID, f *os.File) (c Copy, err error) {
	repo, err := o.Open(ctx, p, key, id)
	if err != nil {
		return Copy{}, err
	}
	defer func() { err = errors.Join(err, shut(ctx, repo)) }()
	all, err := copies(ctx, repo)
	if len(all) == 0 {
		return Copy{}, errors.Join(errkind.New(errkind.NotFound, "there is no copy of a catalog in that repository: name the repository that the kit of `mooring self-backup kit` is of"), err)
	}
	if point == "" {
		point = all[len(all)-1].ID // an older one than one that cannot be read, perhaps
		if err != nil {
			return Copy{}, errkind.Wrap(errkind.Of(err), err, "which copy is the newest cannot be told: name one with --copy, such as %s of %s", point, all[len(all)-1].Created.Format("2006-01-02 15:04 UTC"))
		}
	}
	img, err := repo.Open(ctx, point)
	if err != nil {
		return Copy{}, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	if err := drain(ctx, img, f); err != nil {
		return Copy{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Copy{}, errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be read")
	}
	return read(f)
}
