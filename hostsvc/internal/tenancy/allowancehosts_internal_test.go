package tenancy

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// slowHosts answer after a second, or never.
type slowHosts struct {
	away  atomic.Bool
	looks atomic.Int64
}

func (h *slowHosts) VMHosts(ctx context.Context) (map[volspec.VMID]hypervisor.Host, error) {
	h.looks.Add(1)
	if h.away.Load() {
		<-ctx.Done()
		return nil, errkind.Wrap(errkind.Unavailable, ctx.Err(), "vCenter is away")
	}
	time.Sleep(time.Second)
	return map[volspec.VMID]hypervisor.Host{"a": {ID: "h", Sockets: 2}}, nil
}

// A hypervisor that is away is asked now and then, not by every call, and what
// it said before counts until then.
func TestPlacesAreLookedForNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &slowHosts{}
		s := New(Options{Hosts: h})
		sockets := func() int64 { return s.places(t.Context()).sockets([]volspec.VMID{"a"}) }
		looks := func(want int64, why string) {
			t.Helper()
			assert.Equal(t, want, h.looks.Swap(0), why)
		}
		assert.Error(t, s.known().err)

		h.away.Store(true)
		left, cancel := context.WithTimeout(t.Context(), time.Second)
		assert.Error(t, s.places(left).err)
		cancel()
		looks(1, "")
		for range 3 {
			assert.ErrorContains(t, s.places(t.Context()).err, "vCenter is away")
		}
		looks(1, "after a caller who left, and then not by every call")

		h.away.Store(false)
		time.Sleep(placesAway)
		assert.EqualValues(t, 2, sockets())
		assert.EqualValues(t, 2, sockets())
		looks(1, "a good look counts")

		h.away.Store(true)
		time.Sleep(placesKept)
		go sockets()
		synctest.Wait()
		begun := time.Now()
		assert.EqualValues(t, 2, sockets(), "while another call waits for the hypervisor")
		assert.Zero(t, time.Since(begun))
		time.Sleep(placesLimit + time.Second)
		assert.EqualValues(t, 2, sockets(), "what it said last counts")
		assert.NoError(t, s.known().err)
		looks(1, "")

		h.away.Store(false)
		time.Sleep(placesAway)
		assert.EqualValues(t, 2, sockets())
		looks(1, "")
	})
}
