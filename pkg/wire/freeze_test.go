package wire

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func init() { // for the tests of all messages
	bodies = append(bodies, FreezeOrders{}, FreezeOrder{}, FreezeReport{}, FreezeAnswer{})
}

// The bytes that plugin and host service agree on.
func TestFreezeExamples(t *testing.T) {
	for want, in := range map[string]any{
		`{"orders":[{"id":"o","volume":"i","name":"v@ds","epoch":3,"lease_ms":10000}],"next":"c"}`: FreezeOrders{
			Orders: []FreezeOrder{{ID: "o", Volume: "i", Name: "v@ds", Epoch: 3, LeaseMS: MaxFreezeLease.Milliseconds()}}, Next: "c",
		},
		`{"state":"frozen","left_ms":9000}`:                     FreezeReport{State: FreezeFrozen, LeftMS: 9000},
		`{"state":"refused","detail":"why"}`:                    FreezeReport{State: FreezeRefused, Detail: "why"},
		`{"state":"thawed","held":true,"stall_ms":7}`:           FreezeReport{State: FreezeThawed, Held: true, StallMS: 7},
		`{"state":"frozen","detail":"not mounted","left_ms":1}`: FreezeReport{State: FreezeFrozen, Detail: FreezeNotMounted, LeftMS: 1},
		`{"done":true}`: FreezeAnswer{Done: true},
	} {
		got, err := json.Marshal(in)
		require.NoError(t, err)
		assert.Equal(t, want, string(got))
	}
}
