package cli

import (
	"context"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (m *memAdmin) OIDC(_ context.Context, vmgroup string) (wire.OIDC, error) {
	if err := m.did("OIDC", vmgroup); err != nil || vmgroup != "" {
		return wire.OIDC{Issuer: "https://id.example", ClientID: "mooring", Role: volspec.Operator, Callback: "https://backup.example/oidc/callback"}, err
	}
	return wire.OIDC{}, errkind.New(errkind.NotFound, "no provider is set for users of the master")
}

func (m *memAdmin) PutOIDC(_ context.Context, vmgroup string, r wire.OIDC) (wire.OIDC, error) {
	err := m.did("PutOIDC", vmgroup, r)
	r.Callback = "https://backup.example/oidc/callback"
	return r, err
}

func (m *memAdmin) RemoveOIDC(_ context.Context, vmgroup string) error {
	return m.did("RemoveOIDC", vmgroup)
}

var oidcLines = []string{
	"oidc show",
	"oidc show --vmgroup=Dev",
	"oidc set --vmgroup=Dev --role=guest",
	"oidc set --issuer=https://id.example --client-id=mooring",
	"oidc set --vmgroup=Dev",
	"oidc rm --vmgroup=Dev",
	"oidc rm --yes",
}
