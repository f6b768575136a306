package hostclient

import (
	"context"
	"net/http"

	"mooring.dev/mooring/pkg/wire"
)

// OIDC describes the provider by which the users of a vmgroup, or with "" of
// the master, log in. None: not-found.
func (a *Admin) OIDC(ctx context.Context, vmgroup string) (wire.OIDC, error) {
	return get[wire.OIDC](ctx, a, nil, below(vmgroup, "oidc")...)
}

// PutOIDC sets that provider. Without a secret the one before is kept.
func (a *Admin) PutOIDC(ctx context.Context, vmgroup string, r wire.OIDC) (wire.OIDC, error) {
	return change[wire.OIDC](ctx, a, http.MethodPut, nil, r, below(vmgroup, "oidc")...)
}

// RemoveOIDC takes that provider away. None: nil.
func (a *Admin) RemoveOIDC(ctx context.Context, vmgroup string) error {
	return a.tell(ctx, http.MethodDelete, nil, nil, below(vmgroup, "oidc")...)
}
