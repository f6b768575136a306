package selfbackup

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"hash"
	"io"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// source is whose points the copies are.
var source = repository.Source{Tenant: "mooring", TenantName: "mooring", Volume: "catalog", Name: "catalog"}

// closeLimit is for the close of a repository when nobody waits any more.
const closeLimit = 10 * time.Second

// meta is what a point says of its copy.
type meta struct {
	Rows  int64  `json:"rows"`
	Build string `json:"build"`
}

// backUp makes one copy, reads it back, and only then lets older ones go.
func (s *Service) backUp(ctx context.Context) (err error) {
	repo, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shut(ctx, repo)) }()
	f, err := s.spool()
	if err != nil {
		return err
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }() // the next attempt clears it
	made := time.Now().UTC()
	rows, sum, err := s.copy(ctx, f, made)
	if err != nil {
		return err
	}
	crashpoint.Here("selfbackup.copied")
	img, err := newImage(f)
	if err != nil {
		return err
	}
	note, err := json.Marshal(meta{rows, s.o.Build})
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "describe the copy of the catalog")
	}
	id := volspec.PointID(uuid.NewString())
	if _, err := repo.Write(ctx, repository.Backup{Image: img, Point: repository.Point{
		ID: id, Source: source, Created: made, Consistency: volspec.FilesystemConsistent, Meta: note,
	}}, nil); err != nil {
		return err
	}
	crashpoint.Here("selfbackup.written")
	if err := readBack(ctx, repo, id, sum); err != nil {
		return errors.Join(err, repo.Delete(ctx, id))
	}
	if err := s.retain(ctx, repo); err != nil {
		return err
	}
	crashpoint.Here("selfbackup.retained")
	_, err = repo.Maintain(ctx, true)
	return err
}

// spool is a file for one copy. It replaces what a dead process left.
func (s *Service) spool() (*os.File, error) {
	err := os.RemoveAll(s.o.Scratch)
	if err == nil {
		err = os.MkdirAll(s.o.Scratch, 0o700)
	}
	var f *os.File
	if err == nil {
		f, err = os.CreateTemp(s.o.Scratch, "copy-")
	}
	return f, errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog has no place in %s: check backup.scratch_dir", s.o.Scratch)
}

func (s *Service) copy(ctx context.Context, f *os.File, made time.Time) (rows int64, sum []byte, err error) {
	files, err := s.o.Files()
	if err != nil {
		return 0, nil, err
	}
	all := sha256.New()
	err = write(io.MultiWriter(f, all), header{Made: made, Build: s.o.Build}, files, func(w io.Writer) error {
		rows, err = s.o.Catalog.Dump(ctx, w)
		return err
	})
	return rows, all.Sum(nil), err
}

// open opens the repository, and makes it where it never was. What identifies it
// is recorded before it is made, and is the same in every place.
func (s *Service) open(ctx context.Context) (repository.Repository, error) {
	st, err := s.change(ctx, func(_ Tx, st *state) (err error) {
		if st.Sealed == "" {
			st.Repository = volspec.RepositoryID(uuid.NewString())
			st.Sealed, err = s.o.Keyring.Seal([]byte(s.o.Keyring.NewPassword()), sealContext)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	crashpoint.Here("selfbackup.intended")
	sealed, err := s.o.Keyring.Open(st.Sealed, sealContext)
	if err != nil {
		return nil, err
	}
	key, known := string(sealed), st.Place == s.o.Address
	repo, err := s.o.Opener.Open(ctx, s.o.Place, key, st.Repository)
	if !known && errkind.Is(err, errkind.Offline) {
		if _, err = s.o.Opener.Create(ctx, s.o.Place, key, repository.Identity{ID: st.Repository, Tenant: source.Tenant}); err != nil {
			return nil, err
		}
		crashpoint.Here("selfbackup.created")
		repo, err = s.o.Opener.Open(ctx, s.o.Place, key, st.Repository)
	}
	if err != nil || known {
		return repo, err
	}
	if _, err := s.change(ctx, func(_ Tx, st *state) error {
		st.Place, st.Kit = s.o.Address, time.Time{} // an older kit leads elsewhere
		return nil
	}); err != nil {
		return nil, errors.Join(err, shut(ctx, repo))
	}
	return repo, nil
}

func shut(ctx context.Context, repo repository.Repository) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	return repo.Close(ctx)
}

// readBack compares what the repository has with what it was given.
func readBack(ctx context.Context, repo repository.Repository, id volspec.PointID, want []byte) (err error) {
	img, err := repo.Open(ctx, id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	sum := sha256.New()
	if err := drain(ctx, img, sum); err != nil {
		return err
	}
	return same(sum, want)
}

func same(sum hash.Hash, want []byte) error {
	if !slices.Equal(sum.Sum(nil), want) {
		return errkind.New(errkind.Corrupt, "the copy of the catalog is not what was written: check the storage of the repository")
	}
	return nil
}

// drain writes all of an image to w.
func drain(ctx context.Context, img image.Image, w io.Writer) error {
	buf := make([]byte, 1<<20)
	for off := int64(0); off < img.Size(); {
		if err := ctx.Err(); err != nil {
			return errkind.Wrap(errkind.Unavailable, context.Cause(ctx), "the copy of the catalog was not read to its end")
		}
		p := buf[:min(int64(len(buf)), img.Size()-off)]
		if _, err := img.ReadAt(p, off); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be written: make room")
		}
		off += int64(len(p))
	}
	return nil
}

// retain lets the oldest copies go.
func (s *Service) retain(ctx context.Context, repo repository.Repository) error {
	all, err := copies(ctx, repo)
	for i := 0; err == nil && i < len(all)-s.o.Keep; i++ {
		err = repo.Delete(ctx, all[i].ID)
	}
	return err
}

// copies are those of a repository, oldest first.
func copies(ctx context.Context, repo repository.Repository) ([]repository.Point, error) {
	all, err := repo.Points(ctx)
	return slices.DeleteFunc(all, func(p repository.Point) bool {
		return p.Source.Volume != source.Volume || p.Source.Tenant != source.Tenant
	}), err
}

// fileImage is a file as an image.
type fileImage struct {
	*os.File
	size int64
}

func newImage(f *os.File) (image.Image, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, err, "the copy of the catalog cannot be read")
	}
	return fileImage{f, st.Size()}, nil
}

func (i fileImage) Size() int64 { return i.size }

func (i fileImage) Data(context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Length: i.size}, nil) }
}

// Close leaves the file to who made it.
func (fileImage) Close() error { return nil }
