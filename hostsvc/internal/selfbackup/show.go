package selfbackup

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"mooring.dev/mooring/hostsvc/internal/backup/kit"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Show tells how the catalog is backed up, and which copies there are. A place
// that is away is no error but said in the answer.
func (s *Service) Show(ctx context.Context) (wire.SelfBackup, error) {
	out := wire.SelfBackup{Configured: !s.off(), Copies: []wire.CatalogCopy{}}
	if s.off() {
		return out, nil
	}
	st, err := s.state(ctx)
	if err != nil {
		return wire.SelfBackup{}, err
	}
	out.Place, out.Every, out.Keep, out.Error = s.o.Address, s.o.Every.String(), s.o.Keep, st.Error
	if next := s.next(st); next.After(time.Now()) {
		out.Next = next
	}
	if st.Place != s.o.Address {
		return out, nil
	}
	out.Repository, out.Kit = st.Repository, st.Kit
	if err := s.list(ctx, st, &out); err != nil && out.Error == "" {
		out.Error = errkind.Text(err)
	}
	return out, nil
}

func (s *Service) list(ctx context.Context, st state, out *wire.SelfBackup) (err error) {
	key, err := s.o.Keyring.Open(st.Sealed, sealContext)
	if err != nil {
		return err
	}
	repo, err := s.o.Opener.Open(ctx, s.o.Place, string(key), st.Repository)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, shut(ctx, repo)) }()
	all, err := copies(ctx, repo)
	for i := len(all) - 1; i >= 0; i-- {
		var m meta
		_ = json.Unmarshal(all[i].Meta, &m) // without it the number of rows is not told
		out.Copies = append(out.Copies, wire.CatalogCopy{ID: all[i].ID, Created: all[i].Created, Size: all[i].Size, Rows: m.Rows})
	}
	return err
}

// Kit is what an administrator keeps elsewhere: with it and the repository
// Recover makes this service anew. It holds the credentials of the place, too.
// Before the first copy there is none: unavailable.
func (s *Service) Kit(ctx context.Context, c volspec.Caller) (wire.Kit, error) {
	if s.off() {
		return wire.Kit{}, errOff
	}
	st, err := s.change(ctx, func(tx Tx, st *state) error {
		if st.Place != s.o.Address {
			return errkind.New(errkind.Unavailable, "there is no copy of the catalog yet that the kit could open: run `mooring self-backup now` first")
		}
		st.Kit = time.Now().UTC()
		return tx.AddAudit(line(ctx, c, "self-backup kit", nil))
	})
	if err != nil {
		return wire.Kit{}, err
	}
	key, err := s.o.Keyring.Open(st.Sealed, sealContext)
	if err != nil {
		return wire.Kit{}, err
	}
	return wire.Kit{Text: kit.RenderSelf(kit.Kit{
		Repository: st.Repository, Name: "self-backup", Created: time.Now(), Location: s.o.Place.Location, Key: string(key), Credentials: s.o.Place.Credentials,
	})}, nil
}
