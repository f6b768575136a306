package backup

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// WatchTransporters is what Run does every Options.Tick.
func (s *Service) WatchTransporters(ctx context.Context) error { return s.watchTransporters(ctx) }

// Frozen is asked before retention removes anything.
func (s *Service) Frozen(ctx context.Context, g volspec.VMGroupID) (bool, error) {
	return s.frozen(ctx, g)
}
