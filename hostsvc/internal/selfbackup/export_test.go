package selfbackup

import "context"

// Turn is one look of Run.
func (s *Service) Turn(ctx context.Context, asked bool) error { return s.turn(ctx, asked) }
