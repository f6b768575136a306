package wire

import (
	"time"

	"mooring.dev/mooring/pkg/volspec"
)

// Limits of freezing, which both sides enforce. A guest thaws by itself when
// the lease is over, whatever becomes of the host.
const (
	MaxFreezeLease = 10 * time.Second
	MaxFreezeWait  = 25 * time.Second // of one question for orders
)

// FreezeOrders is the answer to a guest that asks what to freeze. Next is the
// cursor of the next question: with it, an order whose answer was lost comes
// again and no other does.
type FreezeOrders struct {
	Orders []FreezeOrder `json:"orders"`
	Next   string        `json:"next"`
}

// FreezeOrder asks the calling VM to hold the filesystem of one of its volumes
// still. Epoch is that of the attachment meant: another one is refused.
type FreezeOrder struct {
	ID      string           `json:"id"`
	Volume  volspec.VolumeID `json:"volume"`
	Name    string           `json:"name"` // volume@datastore
	Epoch   int64            `json:"epoch"`
	LeaseMS int64            `json:"lease_ms"`
}

// FreezeState is how far a guest is with an order.
type FreezeState string

// frozen: nothing is written from now on, for LeftMS at most; the answer comes
// when the guest may go on. refused: nothing was frozen, Detail says why.
// thawed: writing goes on; the last word about an order that was frozen.
const (
	FreezeFrozen  FreezeState = "frozen"
	FreezeRefused FreezeState = "refused"
	FreezeThawed  FreezeState = "thawed"
)

// What Detail says of a frozen volume that had nothing to freeze. The guest
// keeps it as it is until the answer: it does not mount it meanwhile.
const (
	FreezeNotMounted = "not mounted"
	FreezeReadOnly   = "read-only"
)

// FreezeReport is what a guest says of an order. Held tells whether nothing
// was written from the report "frozen" until its answer, and StallMS how long
// writers had to wait; both belong to thawed.
type FreezeReport struct {
	State   FreezeState `json:"state"`
	Detail  string      `json:"detail,omitempty"`
	LeftMS  int64       `json:"left_ms,omitempty"`
	Held    bool        `json:"held,omitempty"`
	StallMS int64       `json:"stall_ms,omitempty"`
}

// FreezeAnswer ends the wait of a guest that has frozen something: thaw now.
// Done is false when the host had not finished: the lease is over, or the
// order was given up.
type FreezeAnswer struct {
	Done bool `json:"done"`
}
