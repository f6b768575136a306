package vsphere

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

// age makes carriers old, and returns how many there are.
func (s *streams) age(t *testing.T) (n int) {
	t.Helper()
	vms, err := s.sim.VMs(t.Context())
	require.NoError(t, err)
	for _, m := range vms {
		if id, ok := isCarrier(m.Name); ok {
			set(t, s.v, m.Name, carrying, id+" "+time.Now().Add(-abandoned-time.Hour).Format(time.RFC3339))
			n++
		}
	}
	return n
}

func TestWhatAKilledSendingLeavesIsSwept(t *testing.T) {
	for _, point := range []string{"imported", "sent", "taken", "cleared", "placed"} {
		t.Run(point, func(t *testing.T) {
			s := newStreams(t, control.Options{})
			require.NoError(t, s.sim.SetLeaseTimeout(t.Context(), time.Second))
			content := map[int64][]byte{0: []byte("one")}
			var at source
			_, dead := until("vsphere.nfc."+point, func() (err error) {
				at, err = s.sent(t, "a", 4*volspec.MiB, volspec.Thin, content)
				return err
			})
			require.True(t, dead)
			s.after(t)
			at = source{what: "disk a", ds: s.ds, file: "place/of/a.vmdk", size: 4 << 20, ours: true}
			if point == "placed" {
				s.holds(t, at, content)
			}
			s.v.discard(t.Context(), vcenter.Path("ds-0", at.file))
			s.nothing(t)
		})
	}
}

func TestWhatAKilledReadingLeavesIsSweptWithoutTheDisk(t *testing.T) {
	for _, point := range []string{"carried", "received"} {
		t.Run(point, func(t *testing.T) {
			s := newStreams(t, control.Options{})
			content := map[int64][]byte{0: []byte("one")}
			at, err := s.sent(t, "a", 4*volspec.MiB, volspec.Thin, content)
			require.NoError(t, err)
			_, dead := until("vsphere.nfc."+point, func() error {
				_, err := s.t.open(t.Context(), at)
				return err
			})
			require.True(t, dead)
			s.after(t)
			s.holds(t, at, content)
			s.nothing(t, "a")
		})
	}
}

// after is the start of the service after it was killed: another mooringd may use
// the carrier, until it is old.
func (s *streams) after(t *testing.T) {
	t.Helper()
	*s = *s.streams(t)
	require.NoError(t, s.v.sweepCarriers(t.Context()))
	if s.age(t) > 0 {
		_, err := s.open(t).Attached(t.Context()) // with which a service starts
		require.NoError(t, err)
	}
	assert.Zero(t, s.age(t))
}

func TestVMsOfOthersAreNotSwept(t *testing.T) {
	s := newStreams(t, control.Options{})
	old := time.Now().Add(-abandoned - time.Hour).Format(time.RFC3339)
	id := "01234567-89ab-cdef-0123-456789abcdef"
	for _, name := range []string{carrierPrefix + "db", carrierPrefix + id} {
		addMachine(t, s.v, name, "ds-0", 4*volspec.MiB)
	}
	set(t, s.v, carrierPrefix+"db", carrying, "db "+old)
	require.NoError(t, s.v.sweepCarriers(t.Context()), "one without the setting")
	set(t, s.v, carrierPrefix+id, carrying, id+" "+old)
	require.NoError(t, s.sim.Power(t.Context(), carrierPrefix+id, true))
	require.NoError(t, s.v.sweepCarriers(t.Context()), "one that is on")
	vms, err := s.sim.VMs(t.Context())
	require.NoError(t, err)
	n := 0
	for _, m := range vms {
		if strings.HasPrefix(m.Name, carrierPrefix) {
			assert.Len(t, m.Disks, 1, m.Name)
			n++
		}
	}
	assert.Equal(t, 2, n)
}
