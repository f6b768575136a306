package overview

import (
	"context"
	"strings"
	"unicode/utf8"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Bounds of a search.
const (
	searchLeast  = 2 // characters
	searchMost   = 200
	foundPerKind = 20
)

// Search finds things by a part of their name, and recovery points and jobs by
// the beginning of their id. The caller's role says whether users are found.
func (s *Service) Search(ctx context.Context, c volspec.Caller, group, text string) ([]wire.Found, error) {
	text = strings.TrimSpace(text)
	switch n := utf8.RuneCountInString(text); {
	case n == 0:
		return []wire.Found{}, nil
	case n < searchLeast || n > searchMost:
		return nil, errkind.New(errkind.Invalid, "%q cannot be searched for: write %d to %d characters of a name or id", text, searchLeast, searchMost)
	}
	users := c.Role.Master() || c.Role == volspec.TenantAdmin
	out := []wire.Found{}
	err := s.view(ctx, group, func(tx Tx, g volspec.VMGroupID) error {
		all, err := tx.Search(g, text, users, foundPerKind)
		out = make([]wire.Found, 0, len(all))
		for _, m := range all {
			out = append(out, wire.Found(m))
		}
		return err
	})
	return out, err
}
