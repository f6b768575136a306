package oidc

import "context"

// Reseal puts what again makes of each sealed secret in its place, and counts
// them; for a new master key. It can be repeated.
func (s *Service) Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (n int, err error) {
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		n = 0
		all, err := tx.Providers()
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.Sealed == "" {
				continue
			}
			if p.Sealed, err = again(p.Sealed, sealedFor(p.Group)); err != nil {
				return err
			}
			if err := tx.PutProvider(p); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
