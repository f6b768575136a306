package faulty_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/faulty"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var ref = hypervisor.Ref{Datastore: "one", Group: "g", Volume: "v"}

func world() *memory.Memory {
	return memory.New(memory.Options{
		Datastores: []hypervisor.Datastore{{Name: "one"}},
		VMs:        []hypervisor.VM{{ID: volspec.VMID(uuid.NewString()), Name: "vm"}},
	})
}

func TestFaultBeforeAndAfter(t *testing.T) {
	m := world()
	h := faulty.New(m, faulty.Plan{Faults: []faulty.Fault{{Call: 1}, {Call: 2, When: faulty.After}}})
	_, err := h.Stat(t.Context(), ref)
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "errors of the decorated come through")
	require.Error(t, h.VerifyHit(), "no fault was met yet")

	err = h.Create(t.Context(), ref, volspec.MiB, volspec.Thin)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	_, err = m.Stat(t.Context(), ref)
	assert.Equal(t, errkind.NotFound, errkind.Of(err), "not carried out")
	require.Error(t, h.VerifyHit(), "one fault is left")

	err = h.Create(t.Context(), ref, volspec.MiB, volspec.Thin)
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	_, err = m.Stat(t.Context(), ref)
	require.NoError(t, err, "carried out, the reply is lost")
	require.NoError(t, h.VerifyHit())

	require.NoError(t, h.Create(t.Context(), ref, volspec.MiB, volspec.Thin))
	assert.Equal(t, []string{"Stat", "Create", "Create", "Create"}, h.Calls())
}

func TestGivenError(t *testing.T) {
	boom := errors.New("boom")
	h := faulty.New(world(), faulty.Plan{Faults: []faulty.Fault{{Call: 0, Err: boom}}})
	_, err := h.VMs(t.Context())
	assert.ErrorIs(t, err, boom)
}

func TestListIsOneCall(t *testing.T) {
	for _, when := range []faulty.When{faulty.Before, faulty.After} {
		m := world()
		require.NoError(t, m.Create(t.Context(), ref, volspec.MiB, volspec.Thin))
		h := faulty.New(m, faulty.Plan{Faults: []faulty.Fault{{Call: 0, When: when}}})
		var found, failed int
		for _, err := range h.List(t.Context(), "one") {
			if err != nil {
				failed++
			} else {
				found++
			}
		}
		assert.Equal(t, 1, failed)
		assert.Equal(t, int(when), found, "a lost reply comes after the disks")
		for range h.List(t.Context(), "one") {
			break
		}
		assert.Equal(t, []string{"List", "List"}, h.Calls())
	}
}

func TestOptionalAbilitiesAreCounted(t *testing.T) {
	m := world()
	require.NoError(t, m.Create(t.Context(), ref, volspec.MiB, volspec.Thin))
	h := faulty.New(m, faulty.Plan{Faults: []faulty.Fault{{Call: 1}}})
	s, ok := hypervisor.As[hypervisor.Snapshotter](h)
	require.True(t, ok)
	require.NoError(t, s.Snapshot(t.Context(), ref, "s1"))
	assert.Equal(t, errkind.Unavailable, errkind.Of(s.DeleteSnapshot(t.Context(), ref, "s1")))
	ids, err := s.Snapshots(t.Context(), ref)
	require.NoError(t, err)
	assert.Equal(t, []volspec.SnapshotID{"s1"}, ids)
	assert.Equal(t, []string{"Snapshot", "DeleteSnapshot", "Snapshots"}, h.Calls())
	require.NoError(t, h.VerifyHit())

	_, ok = hypervisor.As[hypervisor.Watcher](h)
	assert.True(t, ok, "what is not decorated is found below")
	_, ok = hypervisor.As[hypervisor.Adopter](h)
	assert.False(t, ok, "what is not below is not promised")
	_, ok = hypervisor.As[hypervisor.Snapshotter](faulty.New(bare{m}, faulty.Plan{}))
	assert.False(t, ok, "what is not below is not promised")
	h = faulty.New(adopting{m}, faulty.Plan{})
	a, ok := hypervisor.As[hypervisor.Adopter](h)
	require.True(t, ok)
	id, err := a.Adopt(t.Context(), "one")
	require.NoError(t, err)
	assert.Equal(t, "id of one", id)
	assert.Equal(t, []string{"Adopt"}, h.Calls())
}

// bare has no optional abilities.
type bare struct{ hypervisor.Hypervisor }

type adopting struct{ hypervisor.Hypervisor }

func (adopting) Adopt(_ context.Context, name string) (string, error) { return "id of " + name, nil }

func TestHookSeesEveryCall(t *testing.T) {
	var seen []faulty.Call
	h := faulty.New(world(), faulty.Plan{
		Faults: []faulty.Fault{{Call: 1}},
		Hook:   func(c faulty.Call) { seen = append(seen, c) },
	})
	require.NoError(t, h.Create(t.Context(), ref, volspec.MiB, volspec.Thin))
	require.Error(t, h.Delete(t.Context(), ref))
	assert.Equal(t, []faulty.Call{
		{Index: 0, Name: "Create", Ref: ref, When: faulty.Before},
		{Index: 0, Name: "Create", Ref: ref, When: faulty.After},
		{Index: 1, Name: "Delete", Ref: ref, When: faulty.Before},
	}, seen)
}

// policed has the ability that memory has not.
type policed struct{ *memory.Memory }

func (policed) CheckPolicy(context.Context, string, string) error { return nil }

func (p policed) CreateWithPolicy(ctx context.Context, r hypervisor.Ref, size volspec.Size, format, _ string) error {
	return p.Create(ctx, r, size, format)
}

func TestStoragePoliciesAreAnAbilityOfItsOwn(t *testing.T) {
	_, ok := hypervisor.As[hypervisor.StoragePolicies](faulty.New(world(), faulty.Plan{}))
	assert.False(t, ok, "an ability that the decorated lacks")
	m := world()
	h := faulty.New(policed{m}, faulty.Plan{Faults: []faulty.Fault{{Call: 1, When: faulty.After}}})
	p, ok := hypervisor.As[hypervisor.StoragePolicies](h)
	require.True(t, ok)
	require.NoError(t, p.CheckPolicy(t.Context(), "one", "gold"))
	err := p.CreateWithPolicy(t.Context(), ref, volspec.MiB, volspec.Thin, "gold")
	assert.Equal(t, errkind.Unavailable, errkind.Of(err))
	_, err = m.Stat(t.Context(), ref)
	require.NoError(t, err, "carried out, the reply is lost")
	assert.Equal(t, []string{"CheckPolicy", "CreateWithPolicy"}, h.Calls())
}
