package account

import "context"

// Reseal puts what again makes of each sealed secret in its place, and counts
// them; for a new master key. It can be repeated.
func (s *Service) Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (n int, err error) {
	err = s.o.Store.Update(ctx, func(tx Tx) error {
		n = 0
		all, err := tx.AllUsers()
		if err != nil {
			return err
		}
		for _, u := range all {
			before := n
			for _, factor := range []*string{&u.Body.Factor, &u.Body.NewFactor} {
				if *factor == "" {
					continue
				}
				if *factor, err = again(*factor, factorOf(u)); err != nil {
					return err
				}
				n++
			}
			if n == before {
				continue
			}
			if err := tx.PutUser(u); err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}
