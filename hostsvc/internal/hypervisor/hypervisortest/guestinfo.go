package hypervisortest

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var guestInfo = []sentence{
	{"PutGuestInfo", "PutGuestInfo sets the text under key; an empty text removes it.", guestInfoIsSet},
	{"PutGuestInfo", "Keys are words of letters and digits with dots between; anything else is invalid.", guestInfoKeys},
	{"ReadGuestInfo", `ReadGuestInfo reads what the hypervisor or the guest has set; "" when there is nothing.`, guestInfoIsSet},
}

// informer is nil, and the test skipped, where the hypervisor has no such
// ability.
func (e *env) informer(t *testing.T) hypervisor.GuestInfo {
	g, ok := hypervisor.As[hypervisor.GuestInfo](e.h)
	if !ok {
		t.Skip("the hypervisor cannot show anything to programs in a VM")
	}
	return g
}

func guestInfoIsSet(t *testing.T, e *env) {
	g, vm := e.informer(t), e.VMs[0].ID
	read := func(vm volspec.VMID, key string) string {
		s, err := g.ReadGuestInfo(e.ctx, vm, key)
		require.NoError(t, err)
		return s
	}
	assert.Empty(t, read(vm, "mooring.test"))
	for _, text := range []string{`{"a": "b\n"}`, `{"a": "b\n"}`, "x"} {
		require.NoError(t, g.PutGuestInfo(e.ctx, vm, "mooring.test", text))
		assert.Equal(t, text, read(vm, "mooring.test"))
	}
	assert.Empty(t, read(e.VMs[1].ID, "mooring.test"), "of one VM")
	assert.Empty(t, read(vm, "mooring.other"), "of one key")
	for range 2 {
		require.NoError(t, g.PutGuestInfo(e.ctx, vm, "mooring.test", ""))
		assert.Empty(t, read(vm, "mooring.test"))
	}
	nowhere := volspec.VMID(uuid.NewString())
	requireKind(t, errkind.NotFound, g.PutGuestInfo(e.ctx, nowhere, "mooring.test", "x"))
	_, err := g.ReadGuestInfo(e.ctx, nowhere, "mooring.test")
	requireKind(t, errkind.NotFound, err)
}

func guestInfoKeys(t *testing.T, e *env) {
	g := e.informer(t)
	for _, key := range []string{"", ".", "a.", ".a", "a..b", "a b", "a=b", "ü", "a/b"} {
		requireKind(t, errkind.Invalid, g.PutGuestInfo(e.ctx, e.VMs[0].ID, key, "x"))
		_, err := g.ReadGuestInfo(e.ctx, e.VMs[0].ID, key)
		requireKind(t, errkind.Invalid, err)
	}
}
