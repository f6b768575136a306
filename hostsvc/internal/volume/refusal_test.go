package volume_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Docker asks for a name before it creates it. Without a right to the
// datastore the answer is "not there" as long as that is so, and a refusal
// once there is a volume that must not be forgotten.
func TestGetWithoutAccess(t *testing.T) {
	w := newWorld(t)
	_, err := w.svc.Get(t.Context(), vm1, "", "v@slow")
	requireKind(t, errkind.NotFound, err)

	row := volspec.Access{Group: w.dev, Datastore: "slow", AllowCreate: true}
	require.NoError(t, w.groups.Update(t.Context(), func(tx tenancy.Tx) error { return tx.PutAccess(row) }))
	w.mustCreate(t, vm1, "v@slow")
	require.NoError(t, w.groups.Update(t.Context(), func(tx tenancy.Tx) error { return tx.DeleteAccess(w.dev, "slow") }))
	_, err = w.svc.Get(t.Context(), vm1, "", "v@slow")
	requireKind(t, errkind.Denied, err)
	_, err = w.svc.Get(t.Context(), vm3, "", "v@slow")
	requireKind(t, errkind.NotFound, err)
	_, err = w.svc.Get(t.Context(), stray, "", "v@slow")
	requireKind(t, errkind.Denied, err)
}

// Refusals of a guest are found under its vmgroup.
func TestRefusalIsAuditedUnderTheVMGroup(t *testing.T) {
	w := newWorld(t)
	_, err := w.create(t, vm1, "big", "size", "11gb")
	requireKind(t, errkind.Quota, err)
	_, err = w.create(t, stray, "v")
	requireKind(t, errkind.Denied, err)
	lines, err := w.audit(t, "dev", 10)
	require.NoError(t, err)
	require.Len(t, lines, 1)
	assert.Equal(t, "vm:vm1", lines[0].Actor)
	assert.Equal(t, "quota", lines[0].Outcome)
	lines, err = w.audit(t, "", 10)
	require.NoError(t, err)
	assert.Len(t, lines, 2)
}

// A name that reads otherwise than it is cannot be given any more; a volume
// that has one is used as before.
func TestOldNamesStayUsable(t *testing.T) {
	const name = "txt\u202egpj"
	w := newWorld(t)
	_, err := w.create(t, vm1, name)
	requireKind(t, errkind.Invalid, err)
	v := w.mustCreate(t, vm1, "old")
	require.NoError(t, w.store.Update(t.Context(), func(tx volume.Tx) error {
		r, err := tx.Volume(v.ID)
		if err != nil {
			return err
		}
		r.Key.Name = name
		return tx.PutVolume(r)
	}))
	again := w.mustCreate(t, vm1, name)
	assert.Equal(t, v.ID, again.ID, "the same call twice is harmless")
	_, err = w.attach(t, vm1, name)
	require.NoError(t, err)
}
