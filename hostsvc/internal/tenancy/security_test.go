package tenancy_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestATenantAloneSettlesWhetherItsProviderReadsContent(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	group := tenancy.Declared{Name: "dev"}
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{group}))
	own := volspec.Caller{Role: volspec.TenantAdmin, User: "u", Group: w.get("dev").ID, GroupName: "dev", Actor: "user:dev/ann"}
	acting := own
	acting.As, acting.Actor = "dev", "user:root"
	for _, refuse := range []bool{true, false} {
		for name, c := range map[string]volspec.Caller{"master": root, "acting": acting} {
			_, err := w.SetSecurity(ctx, c, "dev", wire.UpdateSecurity{ContentRefused: p(refuse)})
			refused(t, err, errkind.Denied, "whether its provider reads content is settled by vmgroup dev itself: ask an administrator of the tenant")
			v, err := w.Tenant(ctx, "dev")
			require.NoError(t, err)
			assert.False(t, v.Security.ContentRefused, name)
		}
	}
	v, err := w.SetSecurity(ctx, own, "dev", wire.UpdateSecurity{ContentRefused: p(true)})
	require.NoError(t, err, "a file that declares the vmgroup says nothing of it")
	assert.True(t, v.Security.ContentRefused)
	last := w.audit()[0]
	assert.Equal(t, "user:dev/ann vmgroup security content-refused=true", last.Actor+" "+last.Action+" "+last.Object)

	group.Description, group.GuestAccess = "another", true
	require.NoError(t, w.Apply(ctx, file, []tenancy.Declared{group}))
	v, err = w.Tenant(ctx, "dev")
	require.NoError(t, err)
	assert.True(t, v.GuestAccess)
	assert.True(t, v.Security.ContentRefused, "the provider's file does not switch it on again")
	v, err = w.SetSecurity(ctx, own, "dev", wire.UpdateSecurity{ContentRefused: p(false)})
	require.NoError(t, err)
	assert.False(t, v.Security.ContentRefused)
}
