package notify

import "context"

// Reseal puts what again makes of each sealed secret in its place, and counts
// them; for a new master key. It can be repeated.
func (d *Directory) Reseal(ctx context.Context, again func(sealed, context string) (string, error)) (n int, err error) {
	err = d.o.Store.Update(ctx, func(tx Tx) error {
		n = 0
		all, err := tx.NotifyTargets()
		if err != nil {
			return err
		}
		for _, t := range all {
			if t.Sealed == "" {
				continue
			}
			if t.Sealed, err = again(t.Sealed, about(t.Group)); err != nil {
				return err
			}
			if err := tx.PutNotifyTarget(t); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}
