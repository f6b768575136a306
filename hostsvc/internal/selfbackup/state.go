package selfbackup

import (
	"context"
	"encoding/json"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Tx is one transaction on the catalog.
type Tx interface {
	Setting(key string) (string, error) // "" for none
	PutSetting(key, value string) error
	AddAudit(a volspec.Audit) error
}

// Store is the catalog as this package sees it.
type Store interface {
	View(ctx context.Context, fn func(Tx) error) error
	Update(ctx context.Context, fn func(Tx) error) error
}

// state is what is known of the copies, a setting of the catalog.
type state struct {
	Repository volspec.RepositoryID `json:"repository"`
	Sealed     string               `json:"sealed"` // its key
	Place      string               `json:"place"`  // where it is; "" until it was made
	Kit        time.Time            `json:"kit,omitzero"`
	Tried      time.Time            `json:"tried,omitzero"`
	Done       time.Time            `json:"done,omitzero"`
	Error      string               `json:"error,omitempty"` // of the last attempt
}

const (
	setting     = "self-backup"
	sealContext = "the repository of the copies of the catalog"
)

func stateIn(tx Tx) (st state, err error) {
	text, err := tx.Setting(setting)
	if err != nil || text == "" {
		return st, err
	}
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return st, errkind.Wrap(errkind.Corrupt, err, "what the catalog knows of its own copies is damaged: remove its setting %s, and name an empty place in [backup.self]", setting)
	}
	return st, nil
}

func putState(tx Tx, st state) error {
	text, err := json.Marshal(st)
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "write down the state of the copies of the catalog")
	}
	return tx.PutSetting(setting, string(text))
}

func (s *Service) state(ctx context.Context) (st state, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		st, err = stateIn(tx)
		return err
	})
	return st, err
}

// change applies fn to the state in one transaction.
func (s *Service) change(ctx context.Context, fn func(tx Tx, st *state) error) (st state, err error) {
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		if st, err = stateIn(tx); err != nil {
			return err
		}
		before := st
		if err := fn(tx, &st); err != nil || st == before {
			return err
		}
		return putState(tx, st)
	})
	return st, err
}

// Reseal puts what again makes of the key of the repository in its place, and
// counts it; for a new master key. It can be repeated.
func (s *Service) Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (n int, err error) {
	_, err = s.change(ctx, func(_ Tx, st *state) (err error) {
		n = 0
		if st.Sealed == "" {
			return nil
		}
		n = 1
		st.Sealed, err = again(st.Sealed, sealContext)
		return err
	})
	return n, err
}

// Sealed tells whether the catalog holds a secret of this package.
func Sealed(ctx context.Context, store Store) (sealed bool, err error) {
	err = store.View(ctx, func(tx Tx) error {
		st, err := stateIn(tx)
		sealed = st.Sealed != ""
		return err
	})
	return sealed, err
}
