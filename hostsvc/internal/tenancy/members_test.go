package tenancy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestAddAndRemoveVMs(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g", "Photon1")
	w.group("other", "Photon2")
	add := func(names ...string) error { return w.AddVMs(ctx, root, "g", names) }
	rm := func(names ...string) error { return w.RemoveVMs(ctx, root, "g", names) }
	refused(t, w.AddVMs(ctx, root, "none", []string{"Photon3"}), errkind.NotFound, "Vmgroup none does not exist")
	refused(t, add(), errkind.Invalid, "VM list cannot be empty")
	refused(t, add("Photon3", "Photon3"), errkind.Invalid, "VMs ['Photon3', 'Photon3'] contain duplicates, they should be unique")
	refused(t, add("Photon3", "nope"), errkind.NotFound, "Cannot find vm nope")
	refused(t, add("Photon3", "Photon1"), errkind.Exists, "VM 'Photon1' has already been associated with tenant 'g', cannot add it again")
	refused(t, add("Photon3", "Photon2"), errkind.Exists, "VM 'Photon2' has already been associated with tenant 'other', can't add it")
	refused(t, rm(), errkind.Invalid, "VM list cannot be empty")
	refused(t, rm("Photon1", "Photon1"), errkind.Invalid, "VMs ['Photon1', 'Photon1'] contain duplicates, they should be unique")
	refused(t, rm("Photon1", "Photon2"), errkind.NotFound, "VM 'Photon2' has not been associated with tenant 'g', cannot remove it")
	refused(t, rm("Photon1", "nope"), errkind.NotFound, "Cannot find vm nope")
	assert.Equal(t, []string{"Photon1"}, w.members("g"), "all or nothing")

	v := w.volume("other", "v", "Photon3", volspec.Ready)
	refused(t, add("Photon3"), errkind.InUse, "Cannot add VM to vmgroup VM 'Photon3' has volumes mounted.")
	w.drop(v)
	require.NoError(t, add("Photon3"))
	v = w.volume("g", "v", "Photon3", volspec.Ready)
	refused(t, rm("Photon1", "Photon3"), errkind.InUse, "Cannot complete vmgroup vm rm. VM 'Photon3' has volumes mounted.")
	w.drop(v)
	assert.Equal(t, []string{"Photon1", "Photon3"}, w.members("g"))
	require.NoError(t, rm("Photon3", "id-Photon1"), "an id is as good as a name")
	assert.Empty(t, w.members("g"))
}

func TestForgottenAndRenamedVMs(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g", "Photon1", "Photon2", "Photon3")
	w.vms = w.vms[1:]        // Photon1 is gone from the hypervisor
	w.vms[0].Name = "Second" // Photon2 has another name
	require.NoError(t, w.ReplaceVMs(ctx, root, "g", []string{"Photon1", "Second", "Photon3"}), "nothing changes")
	refused(t, w.AddVMs(ctx, root, "g", []string{"Photon1"}), errkind.NotFound, "Cannot find vm Photon1")
	require.NoError(t, w.RemoveVMs(ctx, root, "g", []string{"Photon1"}), "by the name it had")
	require.NoError(t, w.RemoveVMs(ctx, root, "g", []string{"Second"}), "by the name it has")
	assert.Equal(t, []string{"Photon3"}, w.members("g"))

	w.vms = append(w.vms, hypervisor.VM{ID: "twin", Name: "Photon3"})
	refused(t, w.AddVMs(ctx, root, "g", []string{"Photon3"}), errkind.Invalid, "VM 'Photon3' is ambiguous: give the id of one of id-Photon3, twin")
	require.NoError(t, w.AddVMs(ctx, root, "g", []string{"twin"}))
	refused(t, w.RemoveVMs(ctx, root, "g", []string{"Photon3"}), errkind.Invalid, "VM 'Photon3' is ambiguous")
	require.NoError(t, w.RemoveVMs(ctx, root, "g", []string{"id-Photon3"}))
	require.NoError(t, w.RemoveVMs(ctx, root, "g", []string{"Photon3"}), "one is left")
}

func TestReplaceVMs(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g", "Photon1", "Photon2")
	w.group("other", "Photon4")
	replace := func(names ...string) error { return w.ReplaceVMs(ctx, root, "g", names) }
	refused(t, replace(), errkind.Invalid, "Replace VM cannot be empty")
	refused(t, w.ReplaceVMs(ctx, root, "none", []string{"Photon1"}), errkind.NotFound, "Vmgroup none does not exist")
	refused(t, replace("Photon3", "nope"), errkind.NotFound, "Cannot find vm nope")
	refused(t, replace("Photon3", "Photon4"), errkind.Exists, "VM 'Photon4' has already been associated with tenant 'other', can't add it")
	assert.Equal(t, []string{"Photon1", "Photon2"}, w.members("g"))

	stays := w.volume("g", "stays", "Photon1", volspec.Ready)
	require.NoError(t, replace("Photon1", "Photon3"), "a VM that stays may have volumes mounted")
	assert.Equal(t, []string{"Photon1", "Photon3"}, w.members("g"))
	refused(t, replace("Photon3"), errkind.InUse, "Cannot complete vmgroup vm replace. VM 'Photon1' has volumes mounted.")
	w.drop(stays)
	w.volume("other", "comes", "Photon5", volspec.Ready)
	refused(t, replace("Photon5"), errkind.InUse, "Cannot complete vmgroup vm replace. VM 'Photon5' has volumes mounted.")
	assert.Equal(t, []string{"Photon1", "Photon3"}, w.members("g"))
}

func TestRemove(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	refused(t, w.Remove(ctx, root, "none", true, true), errkind.NotFound, "Vmgroup none does not exist")
	w.group("g", "Photon1")
	w.volume("g", "v", "", volspec.Ready)
	w.volume("g", "t", "", volspec.Trashed)
	refused(t, w.Remove(ctx, root, "g", false, true), errkind.InUse, "Cannot delete non-empty vmgroup g. Remove VMs from the vmgroup before deleting it.")
	err := w.Remove(ctx, root, "g", true, false)
	refused(t, err, errkind.InUse, "The vmgroup has volumes in it, these must be removed/migrated before deleting the vmgroup.")
	assert.ErrorContains(t, err, "It has 2, 1 of them in the trash")
	assert.Equal(t, []string{"Photon1"}, w.members("g"), "force alone has dropped nobody")

	require.NoError(t, w.Remove(ctx, root, "g", true, true))
	_, err = w.Get(ctx, "g")
	refused(t, err, errkind.NotFound, "Vmgroup g does not exist")
	w.group("again", "Photon1")
}

// A volume in use: nothing has happened, the group is as it was.
func TestRemoveStoppedBeforeAnything(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g", "Photon1")
	w.volume("g", "v", "Photon1", volspec.Ready)
	before := w.get("g")
	inUse := errkind.New(errkind.InUse, "Failed to remove volume v, in use by VM = Photon1.")
	w.remove = func(context.Context, volspec.Caller, volspec.VMGroupID) error {
		require.NoError(t, w.cat.Volumes().View(ctx, func(tx volume.Tx) error {
			g, err := tx.GroupByName("g")
			assert.True(t, g.Removing, "nobody creates while volumes go")
			return err
		}))
		return inUse
	}
	require.ErrorIs(t, w.Remove(ctx, root, "g", true, true), inUse)
	assert.Equal(t, before, w.get("g"))
	require.NoError(t, w.AddVMs(ctx, root, "g", []string{"Photon2"}), "it can be used as before")
}

// Interrupted in the middle: the group waits for the removal to be repeated,
// even if the repetition is stopped too.
func TestRemoveIsResumed(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.group("g", "Photon1")
	first := w.volume("g", "v1", "", volspec.Ready)
	w.volume("g", "v2", "", volspec.Ready)
	w.remove = func(context.Context, volspec.Caller, volspec.VMGroupID) error {
		w.drop(first)
		return errkind.New(errkind.Unavailable, "the datastore went away")
	}
	for range 2 {
		err := w.Remove(ctx, root, "g", true, true)
		refused(t, err, errkind.Unavailable, "The removal of vmgroup g has begun and must be ended: repeat 'mooring vmgroup rm --name=g --remove-volumes --force': the datastore went away")
		for what, err := range map[string]error{
			"vm add":     w.AddVMs(ctx, root, "g", []string{"Photon2"}),
			"vm rm":      w.RemoveVMs(ctx, root, "g", []string{"Photon1"}),
			"vm replace": w.ReplaceVMs(ctx, root, "g", []string{"Photon2"}),
			"access add": w.AddAccess(ctx, root, "g", wire.SetAccess{Datastore: "datastore1"}),
			"update":     func() error { _, err := w.Update(ctx, root, "g", wire.UpdateVMGroup{NewName: p("h")}); return err }(),
			"restore":    func() error { _, err := w.RestoreGroup(ctx, w.get("g").ID, "g"); return err }(),
		} {
			assert.Equal(t, errkind.InUse, errkind.Of(err), what)
			assert.ErrorContains(t, err, "Vmgroup g is being removed", what)
		}
	}
	w.remove = w.purge
	require.NoError(t, w.Remove(ctx, root, "g", true, true))
	_, err := w.Get(ctx, "g")
	refused(t, err, errkind.NotFound, "Vmgroup g does not exist")
}

// Volumes that appear when they should not, such as those of a scan, are not
// lost sight of.
func TestRemoveFindsNewVolumes(t *testing.T) {
	w := newWorld(t)
	w.group("g")
	w.volume("g", "v", "", volspec.Ready)
	w.remove = func(ctx context.Context, c volspec.Caller, g volspec.VMGroupID) error {
		return errors.Join(w.purge(ctx, c, g), func() error { w.volume("g", "new", "", volspec.Ready); return nil }())
	}
	refused(t, w.Remove(t.Context(), root, "g", false, true), errkind.Unavailable, "Vmgroup g changed while it was being removed: repeat the command")
	w.remove = w.purge
	require.NoError(t, w.Remove(t.Context(), root, "g", false, true))
}
