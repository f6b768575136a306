package vcenter

import (
	"context"

	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/errkind"
)

// Privileges says for each object which of the privileges the user has on it.
func (c *Client) Privileges(ctx context.Context, objects []types.ManagedObjectReference, ids []string) (has []types.EntityPrivilege, err error) {
	const what = "checking the privileges of the user"
	err = c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
		us, err := session.NewManager(vc).UserSession(ctx)
		if err != nil {
			return err
		}
		if us == nil {
			return &notAuthenticated{}
		}
		if vc.ServiceContent.AuthorizationManager == nil {
			return errkind.New(errkind.Unsupported, "%s: %s has no authorization manager", what, c.url.Host)
		}
		res, err := methods.HasPrivilegeOnEntities(ctx, vc, &types.HasPrivilegeOnEntities{
			This: *vc.ServiceContent.AuthorizationManager, Entity: objects, SessionId: us.Key, PrivId: ids,
		})
		if err == nil {
			has = res.Returnval
		}
		return err
	})
	return has, err
}
