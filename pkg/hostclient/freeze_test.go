package hostclient

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

func TestFreezeCalls(t *testing.T) {
	var got, answer string
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		got = r.Method + " " + r.RequestURI + " " + string(body)
		_, _ = io.WriteString(w, answer)
	})
	g := guest(t, path, Options{})

	answer = `{"orders":[{"id":"o","volume":"i","name":"v@ds","epoch":3,"lease_ms":5000}],"next":"n"}`
	orders, err := g.Freezes(t.Context(), "", 25*time.Second)
	require.NoError(t, err)
	assert.Equal(t, "GET /api/v1/freezes?wait_ms=25000 ", got)
	assert.Equal(t, wire.FreezeOrders{Orders: []wire.FreezeOrder{{ID: "o", Volume: "i", Name: "v@ds", Epoch: 3, LeaseMS: 5000}}, Next: "n"}, orders)
	_, err = g.Freezes(t.Context(), "n", 0)
	require.NoError(t, err)
	assert.Equal(t, "GET /api/v1/freezes?after=n&wait_ms=0 ", got)

	answer = `{"done":true}`
	a, err := g.ReportFreeze(t.Context(), "o/1", wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 7})
	require.NoError(t, err)
	assert.Equal(t, `POST /api/v1/freezes/o%2F1 {"state":"frozen","left_ms":7}`, got)
	assert.True(t, a.Done)
}
