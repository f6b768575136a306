package hostclient

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/wire"
)

// SelfBackup tells how the service backs up its own catalog.
func (a *Admin) SelfBackup(ctx context.Context) (wire.SelfBackup, error) {
	return get[wire.SelfBackup](ctx, a, nil, "self-backup")
}

// SelfBackupNow makes a copy of the catalog now.
func (a *Admin) SelfBackupNow(ctx context.Context) (wire.SelfBackup, error) {
	return change[wire.SelfBackup](ctx, a, http.MethodPost, nil, nil, "self-backup")
}

// SelfBackupKit is what an empty machine becomes this service with.
func (a *Admin) SelfBackupKit(ctx context.Context) (wire.Kit, error) {
	return change[wire.Kit](ctx, a, http.MethodPost, nil, nil, "self-backup", "kit")
}
