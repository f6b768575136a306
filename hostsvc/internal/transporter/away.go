package transporter

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Away are the transporters of a vmgroup of which none is online.
type Away struct {
	Names []string      // none: it is bound to none
	For   time.Duration // since the last of them was online; 0 without any
}

// Away tells of the vmgroups whose jobs wait because none of their transporters
// is online. One that is not in the answer has one that is.
func (s *Service) Away(ctx context.Context, groups ...volspec.VMGroupID) (out map[volspec.VMGroupID]Away, err error) {
	err = s.o.Store.View(ctx, func(tx Tx) error {
		out = map[volspec.VMGroupID]Away{}
		clock, err := tx.Clock()
		if err != nil {
			return err
		}
		all, err := tx.Transporters()
		if err != nil {
			return err
		}
		expires := map[string]time.Time{}
		for _, t := range all {
			expires[t.Name] = t.Expires
		}
		for _, g := range groups {
			bound, err := tx.Bindings(g)
			if err != nil {
				return err
			}
			if a, is := away(bound, expires, clock); is {
				out[g] = a
			}
		}
		return nil
	})
	return out, err
}

func away(bound []Binding, expires map[string]time.Time, clock time.Time) (a Away, is bool) {
	var last time.Time
	for _, b := range bound {
		e := expires[b.Transporter]
		if e.After(clock) {
			return Away{}, false
		}
		if e.After(last) {
			last = e
		}
		a.Names = append(a.Names, b.Transporter)
	}
	if len(bound) > 0 {
		a.For = clock.Sub(last)
	}
	return a, true
}
