package enroll_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/faulty"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/invite"
)

// One call to the hypervisor fails, before or after it was carried out. What
// is repeated succeeds, and in the end nothing lies in the VM.
func TestOneCallFails(t *testing.T) {
	for _, when := range []faulty.When{faulty.Before, faulty.After} {
		for call := 0; ; call++ {
			w := newWorld(t)
			f := faulty.New(w.hv, faulty.Plan{Faults: []faulty.Fault{{Call: call, When: when}}})
			info, ok := hypervisor.As[hypervisor.GuestInfo](f)
			require.True(t, ok)
			w.guests = enroll.New(enroll.Options{
				Store: w.store, Machines: f, GuestInfo: info, Authority: w.authority,
				URL: func() string { return w.url }, Auto: func() bool { return false }, Now: w.now,
			})
			w.serve()
			again := func(what string, do func() error) {
				if err := do(); err != nil {
					assert.Equal(t, errkind.Unavailable, errkind.Of(err), what)
					require.NoError(t, do(), what)
				}
			}
			again("invite", func() error { _, err := w.guests.Invite(t.Context(), admin, "a", true); return err })
			in, there := w.placed("a")
			require.True(t, there)
			code, err := invite.Parse(in.Code)
			require.NoError(t, err)
			h, err := w.enrollWith(code)
			require.NoError(t, err, "a VM that cannot be cleaned up has enrolled all the same")
			require.NoError(t, h.err())
			again("tidy", func() error { return w.guests.Tidy(t.Context()) })
			_, there = w.placed("a")
			assert.False(t, there, "call %d", call)
			again("invite", func() error { _, err := w.guests.Invite(t.Context(), admin, "a", true); return err })
			again("revoke", func() error { return w.guests.Revoke(t.Context(), admin, "a") })
			_, there = w.placed("a")
			assert.False(t, there, "call %d", call)
			require.NoError(t, w.store.View(t.Context(), func(tx enroll.Tx) error {
				codes, err := tx.GuestCodes()
				assert.Empty(t, codes)
				return err
			}))
			if f.VerifyHit() != nil {
				break // a run that met no fault
			}
		}
	}
}

// err is nil when the holder is let in.
func (h *holder) err() error { _, err := h.List(h.w.t.Context()); return err }
