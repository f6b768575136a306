package api

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

type stubNotify struct{ *stub }

func (s stubNotify) Notifications(ctx context.Context, vmgroup string) (wire.Notifications, error) {
	return wire.Notifications{}, s.note(ctx, "notify.Notifications", nobody, vmgroup)
}

func (s stubNotify) PutNotifications(ctx context.Context, c volspec.Caller, vmgroup string, n wire.Notifications) (wire.Notifications, error) {
	return n, s.note(ctx, "notify.PutNotifications", c, vmgroup, n)
}

func (s stubNotify) TestNotifications(ctx context.Context, c volspec.Caller, vmgroup string) ([]wire.NotifyTest, error) {
	return nil, s.note(ctx, "notify.TestNotifications", c, vmgroup)
}
