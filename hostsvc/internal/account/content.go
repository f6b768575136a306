package account

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// MayRead refuses the master, also while it acts for the tenant, what shows the
// content of recovery points where the tenant has switched that off.
func (s *Service) MayRead(ctx context.Context, c volspec.Caller, group string) error {
	if !byMaster(c) {
		return nil
	}
	return s.o.Store.View(ctx, func(tx Tx) error {
		t, err := tx.TenantByName(group)
		if err == nil && t.ContentRefused {
			err = errkind.New(errkind.Denied, "tenant %s has switched off that its provider reads content: only an administrator of the tenant can switch it on, in its settings", t.Name)
		}
		return err
	})
}
