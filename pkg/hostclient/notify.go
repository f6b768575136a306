package hostclient

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/wire"
)

// Notifications says who is told what of a vmgroup, or with "" of the service.
func (a *Admin) Notifications(ctx context.Context, vmgroup string) (wire.Notifications, error) {
	return get[wire.Notifications](ctx, a, nil, below(vmgroup, "notifications")...)
}

// PutNotifications replaces that. Secrets of new webhooks are in the answer,
// and nowhere else.
func (a *Admin) PutNotifications(ctx context.Context, vmgroup string, n wire.Notifications) (wire.Notifications, error) {
	return change[wire.Notifications](ctx, a, http.MethodPut, nil, n, below(vmgroup, "notifications")...)
}

// TestNotifications sends a test message on each way, and says how it went.
func (a *Admin) TestNotifications(ctx context.Context, vmgroup string) ([]wire.NotifyTest, error) {
	return change[[]wire.NotifyTest](ctx, a, http.MethodPost, nil, nil, below(vmgroup, "notifications", "test")...)
}
