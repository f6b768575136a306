package catalogtest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/idempotency"
	"mooring.dev/mooring/pkg/errkind"
)

// rememberedAnswers: a record comes back as it was put, under its caller and key
// alone, and goes when it has expired.
func rememberedAnswers(t *testing.T, b Backend) {
	c := open(t, b)
	at := time.Unix(7, 8000).UTC()
	r := idempotency.Record{Caller: "u1", Key: "kéy", Request: "hash", Answer: "sealed", Expires: at}
	update := func(fn func(idempotency.Tx) error) { require.NoError(t, c.Idempotency().Update(t.Context(), fn)) }
	for _, answer := range []string{"sealed", "again"} {
		r.Answer = answer
		update(func(tx idempotency.Tx) error { return tx.PutRememberedAnswer(r) })
		update(func(tx idempotency.Tx) error {
			got, err := tx.RememberedAnswer(r.Caller, r.Key)
			assert.Equal(t, r, got)
			return err
		})
	}
	update(func(tx idempotency.Tx) error {
		for _, other := range []idempotency.Record{{Caller: "u2", Key: r.Key}, {Caller: "u1", Key: "key"}} {
			_, err := tx.RememberedAnswer(other.Caller, other.Key)
			assert.Equal(t, errkind.NotFound, errkind.Of(err))
			require.NoError(t, tx.DeleteRememberedAnswer(other.Caller, other.Key))
		}
		n, err := tx.ForgetAnswers(at)
		assert.Zero(t, n)
		require.NoError(t, err)
		n, err = tx.ForgetAnswers(at.Add(1))
		assert.EqualValues(t, 1, n)
		return err
	})
}
