package volume_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func (w *world) ref(v wire.Volume) hypervisor.Ref {
	return hypervisor.Ref{Datastore: v.Datastore, Group: w.dev, Volume: v.ID}
}

func TestOneHolder(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	_, err = w.attach(t, vm2, "db")
	requireKind(t, errkind.InUse, err)
	assert.Contains(t, err.Error(), "volume db@fast is attached to VM vm1 since ")

	released := make(chan error)
	go func() {
		b, err := w.svc.Attach(t.Context(), vm2, "db", wire.Attach{WaitMS: 5000})
		if err == nil {
			assert.Greater(t, b.Epoch, a.Epoch)
		}
		released <- err
	}()
	time.Sleep(50 * time.Millisecond)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch}))
	require.NoError(t, <-released, "the waiting attach gets the disk")
	w.agree(t)
}

func TestSilentHolderIsNotRobbedButFenced(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	_, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.hv.SetBusy(w.ref(v), true)
	w.svc.Round(t.Context())
	requireKind(t, errkind.InUse, w.svc.ForceDetach(t.Context(), admin, "dev", "db", wire.DetachVolume{}))
	require.NoError(t, w.svc.ForceDetach(t.Context(), admin, "dev", "db", wire.DetachVolume{Force: true}))
	require.NoError(t, w.svc.ForceDetach(t.Context(), admin, "dev", "db", wire.DetachVolume{Force: true}), "twice")
	_, err = w.attach(t, vm2, "db")
	require.NoError(t, err)
	lines, err := w.audit(t, "dev", 20)
	require.NoError(t, err)
	var actions []string
	for _, l := range lines {
		actions = append(actions, l.Action)
	}
	assert.Contains(t, actions, "volume detach --force")
	w.agree(t)
}

func TestGoneHoldersLoseTheDisk(t *testing.T) {
	for name, gone := range map[string]func(*world){
		"off":      func(w *world) { w.hv.SetPower(vm1.VM, hypervisor.Off) },
		"deleted":  func(w *world) { w.hv.RemoveVM(vm1.VM) },
		"rebooted": func(w *world) { w.hv.Reboot(vm1.VM) },
	} {
		t.Run(name+", at the next attach", func(t *testing.T) {
			w := newWorld(t)
			w.mustCreate(t, vm1, "db")
			a, err := w.attach(t, vm1, "db")
			require.NoError(t, err)
			gone(w)
			b, err := w.attach(t, vm2, "db")
			require.NoError(t, err)
			assert.Greater(t, b.Epoch, a.Epoch)
			require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{Epoch: a.Epoch}), "a late detach of the old holder")
			v, err := w.svc.Get(t.Context(), vm2, "", "db")
			require.NoError(t, err)
			assert.Equal(t, "vm2", v.AttachedTo)
			w.agree(t)
		})
		t.Run(name+", at the next round", func(t *testing.T) {
			w := newWorld(t)
			w.mustCreate(t, vm1, "db")
			_, err := w.attach(t, vm1, "db")
			require.NoError(t, err)
			gone(w)
			w.svc.Round(t.Context())
			v, err := w.svc.Get(t.Context(), vm2, "", "db")
			require.NoError(t, err)
			assert.Equal(t, "detached", v.AttachState)
			w.agree(t)
		})
	}
	t.Run("unknown power releases nothing", func(t *testing.T) {
		w := newWorld(t)
		w.mustCreate(t, vm1, "db")
		_, err := w.attach(t, vm1, "db")
		require.NoError(t, err)
		w.hv.SetPower(vm1.VM, hypervisor.Unknown)
		_, err = w.attach(t, vm2, "db")
		requireKind(t, errkind.InUse, err)
	})
}

func TestDetachIsNeverDenied(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	orphan := vm1
	orphan.VMName = "vm1"
	w.leave(t, vm1.VM)
	_, err = w.attach(t, orphan, "db")
	requireKind(t, errkind.Denied, err)
	require.NoError(t, w.svc.Detach(t.Context(), orphan, "db", wire.Detach{Epoch: a.Epoch}))
	w.agree(t)
}

func TestFormattedOnceAndNeverAgain(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	set := func(epoch int64, s volspec.Format) error {
		return w.svc.SetFormat(t.Context(), vm1, "db", wire.SetFormat{Epoch: epoch, State: s})
	}
	requireKind(t, errkind.Invalid, set(a.Epoch, volspec.Formatted))
	requireKind(t, errkind.InUse, set(a.Epoch+1, volspec.Formatting))
	require.NoError(t, set(a.Epoch, volspec.Formatting))
	requireKind(t, errkind.InUse, set(a.Epoch, volspec.Formatting))

	// A grant that was not used is given back, and the disk is kept.
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("who knows")))
	require.NoError(t, set(a.Epoch, volspec.Blank))
	require.NoError(t, set(a.Epoch, volspec.Blank), "a repeated report")
	kept, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, a, kept)
	got, err := w.hv.Read(vm1.VM, a.Serial, 0, 9)
	require.NoError(t, err)
	assert.Equal(t, "who knows", string(got))
	require.NoError(t, set(a.Epoch, volspec.Formatting))

	// The guest died during mkfs: it comes back and gets a new blank disk.
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("half a filesystem")))
	b, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Greater(t, b.Epoch, a.Epoch)
	assert.Equal(t, volspec.Blank, b.Format)
	got, err = w.hv.Read(vm1.VM, b.Serial, 0, 4)
	require.NoError(t, err)
	assert.Equal(t, []byte{0, 0, 0, 0}, got)

	requireKind(t, errkind.InUse, set(a.Epoch, volspec.Formatted))
	w.format(t, vm1, b)
	require.NoError(t, set(b.Epoch, volspec.Formatted), "a repeated report")
	requireKind(t, errkind.Exists, set(b.Epoch, volspec.Formatting))
	requireKind(t, errkind.Exists, set(b.Epoch, volspec.Blank))
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("data")))
	w.hv.Reboot(vm1.VM)
	c, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	assert.Equal(t, volspec.Formatted, c.Format)
	got, err = w.hv.Read(vm1.VM, c.Serial, 0, 4)
	require.NoError(t, err)
	assert.Equal(t, "data", string(got))
	_ = v
	w.agree(t)
}

func TestReadOnlyHoldsBelowTheGuest(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "lib", "access", "read-only")
	a, err := w.attach(t, vm1, "lib")
	require.NoError(t, err)
	assert.False(t, a.ReadOnly, "writable once, for its mkfs")
	w.format(t, vm1, a)
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "lib", wire.Detach{Epoch: a.Epoch}))
	a, err = w.attach(t, vm1, "lib")
	require.NoError(t, err)
	assert.True(t, a.ReadOnly)
	require.Error(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("x")))
	rw := volspec.ReadWrite
	_, err = w.svc.Set(t.Context(), admin, "dev", "lib", wire.SetVolume{Access: &rw})
	require.NoError(t, err)
	again, err := w.attach(t, vm1, "lib")
	require.NoError(t, err)
	assert.True(t, again.ReadOnly, "a change takes effect at the next attach")
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "lib", wire.Detach{}))
	again, err = w.attach(t, vm1, "lib")
	require.NoError(t, err)
	assert.False(t, again.ReadOnly)
}

func TestDiskPluggedInBehindOurBack(t *testing.T) {
	w := newWorld(t)
	v := w.mustCreate(t, vm1, "db")
	_, err := w.hv.Attach(t.Context(), vm2.VM, w.ref(v), false)
	require.NoError(t, err)
	w.hv.SetBusy(w.ref(v), true)
	w.svc.Round(t.Context())
	got, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, "vm2", got.AttachedTo, "in use: the hypervisor is right")
	w.hv.SetBusy(w.ref(v), false)
	require.NoError(t, w.hv.Detach(t.Context(), vm2.VM, w.ref(v)))
	w.svc.Round(t.Context())
	w.agree(t)
}

// Two host services share a catalog, each with VMs that only it knows.
func TestVMsOfAnotherHostServiceAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	w.mustCreate(t, vm1, "db")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)

	there := memory.New(memory.Options{
		Datastores: []hypervisor.Datastore{{Name: "fast", Reflink: true}},
		VMs:        []hypervisor.VM{{ID: vm2.VM, Name: "vm2", Datastore: "fast"}},
	})
	opts := w.opts
	opts.Hypervisor, opts.Installation, opts.Instance = there, "elsewhere", "elsewhere-1"
	other := volume.New(opts)
	require.NoError(t, other.Recover(t.Context()))
	other.Round(t.Context())
	_, err = other.Attach(t.Context(), vm2, "db", wire.Attach{})
	requireKind(t, errkind.InUse, err)
	err = other.ForceDetach(t.Context(), admin, "dev", "db", wire.DetachVolume{Force: true})
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, err.Error(), "of another mooringd")
	v, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, a.Epoch, v.Epoch)
	assert.Equal(t, "attached", v.AttachState)

	// Not even when the one that has it died in the middle of a detach.
	require.NoError(t, w.store.Update(t.Context(), func(tx volume.Tx) error {
		r, err := tx.Volume(v.ID)
		if err != nil {
			return err
		}
		r.Op = volume.Op{Kind: volume.OpDetach, Instance: "dead", VM: vm1.VM}
		return tx.PutVolume(r)
	}))
	requireKind(t, errkind.InUse, func() error { _, err := other.Attach(t.Context(), vm2, "db", wire.Attach{}); return err }())
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	w.agree(t)
}
