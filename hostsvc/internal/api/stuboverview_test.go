package api

import (
	"context"
	"iter"

	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// stubOverview stands for the overview. Its watch is one event long.
type stubOverview struct{ *stub }

func (s stubOverview) Dashboard(ctx context.Context, group, zone string) (wire.Dashboard, error) {
	return wire.Dashboard{}, s.note(ctx, "overview.Dashboard", nobody, group, zone)
}

func (s stubOverview) Calendar(ctx context.Context, group string, r overview.Request) (wire.Calendar, error) {
	return wire.Calendar{}, s.note(ctx, "overview.Calendar", nobody, group, r)
}

func (s stubOverview) Search(ctx context.Context, c volspec.Caller, group, text string) ([]wire.Found, error) {
	return nil, s.note(ctx, "overview.Search", c, group, text)
}

func (s stubOverview) Watch(ctx context.Context, group string) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		err := s.note(ctx, "overview.Watch", nobody, group)
		yield(wire.Event{Kind: wire.EventJob, Job: &doneJob}, err)
	}
}
