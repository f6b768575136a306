package hypervisor

import (
	"context"

	"mooring.dev/mooring/pkg/volspec"
)

// GuestInfo is optional; ask with As. It shows small texts to programs inside
// a VM, past any network. Every program in the VM may read them, and whoever
// may look at the VM in the hypervisor: they are no place for lasting secrets.
type GuestInfo interface {
	// PutGuestInfo sets the text under key; an empty text removes it. Repeated:
	// nil. Keys are words of letters and digits with dots between; anything else
	// is invalid.
	PutGuestInfo(ctx context.Context, vm volspec.VMID, key, text string) error
	// ReadGuestInfo reads what the hypervisor or the guest has set; "" when
	// there is nothing.
	ReadGuestInfo(ctx context.Context, vm volspec.VMID, key string) (string, error)
}
