package audit

import (
	"context"
	"fmt"
	"slices"

	"mooring.dev/mooring/pkg/wire"
)

// Verify follows chains from their first lines to their last: those that Page
// would show. heads are hashes of last lines that were kept elsewhere; one that
// is in no chain any more gets a line of its own in the answer.
func (s *Service) Verify(ctx context.Context, vmgroup string, heads []string) ([]wire.AuditCheck, error) {
	var all []Chain
	err := s.store.View(ctx, func(tx Tx) (err error) {
		all, err = chains(ctx, tx, vmgroup)
		return err
	})
	out := []wire.AuditCheck{}
	missing := slices.Clone(heads)
	for _, c := range all {
		if err != nil {
			break
		}
		var f Follower
		if f, err = s.follow(ctx, c, func(hash string) {
			missing = slices.DeleteFunc(missing, func(h string) bool { return h == hash })
		}); err == nil {
			out = append(out, checked(c, f))
		}
	}
	for _, h := range missing {
		out = append(out, wire.AuditCheck{VMGroup: vmgroup, Head: h,
			Detail: "no whole chain has a line with this hash: lines were cut off or replaced, or the hash is of another installation"})
	}
	return out, err
}

// follow reads a chain piece by piece: what is written cannot change, so the
// pieces fit together.
func (s *Service) follow(ctx context.Context, c Chain, passed func(hash string)) (f Follower, err error) {
	for {
		var lines []Line
		err := s.store.View(ctx, func(tx Tx) (err error) {
			lines, err = tx.AuditChain(c.Group, f.Lines, piece)
			return err
		})
		if err != nil {
			return f, err
		}
		for _, l := range lines {
			if !f.Next(l) {
				return f, nil
			}
			passed(l.Hash)
		}
		if len(lines) < piece {
			return f, nil
		}
	}
}

func checked(c Chain, f Follower) wire.AuditCheck {
	out := wire.AuditCheck{VMGroup: c.Name, Lines: f.Lines, Whole: f.Broken == 0, Broken: f.Broken, Head: f.Head}
	switch {
	case f.Broken > 0:
		out.Detail = fmt.Sprintf("line %d does not fit: %s; compare with an export or a copy of the catalog", f.Broken, f.Why)
	case c.Gone:
		out.Detail = "whole; the vmgroup is gone"
	default:
		out.Detail = "whole"
	}
	return out
}
