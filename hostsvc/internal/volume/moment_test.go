package volume_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// busyWriter is volume db, formatted, with a little data, attached to vm1.
func busyWriter(t testing.TB, w *world) volspec.VolumeID {
	attached(t, w)
	require.NoError(t, w.hv.Write(vm1.VM, w.serial(t, "db"), 0, []byte("data")))
	return w.id(t, "db")
}

func readOnlyLibrary(t testing.TB, w *world) volspec.VolumeID {
	w.mustCreate(t, vm1, "db", "access", "read-only")
	a, err := w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.format(t, vm1, a)
	require.NoError(t, w.hv.Write(vm1.VM, a.Serial, 0, []byte("data")))
	require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
	a, err = w.attach(t, vm1, "db")
	require.NoError(t, err)
	require.True(t, a.ReadOnly)
	return w.id(t, "db")
}

const (
	fsLevel = volspec.FilesystemConsistent
	crash   = volspec.CrashConsistent
)

func TestWhatASnapshotForBackupIsWorth(t *testing.T) {
	plain := func(t testing.TB, w *world) volspec.VolumeID { withVolume(t, w); return w.id(t, "db") }
	silent := errkind.New(errkind.Unavailable, "VM vm1 does not ask for orders")
	for name, c := range map[string]struct {
		prepare func(testing.TB, *world) volspec.VolumeID
		adjust  func(*world)
		require volspec.Consistency
		want    volspec.Consistency // "" is a refusal of kind
		kind    errkind.Kind
		text    string // part of the note or of the refusal
		asked   int
	}{
		"never formatted":            {prepare: plain, want: fsLevel, require: fsLevel},
		"never formatted, copied":    {prepare: plain, adjust: copying, want: fsLevel},
		"detached, copied":           {prepare: func(t testing.TB, w *world) volspec.VolumeID { written(t, w); return w.id(t, "db") }, adjust: copying, want: fsLevel},
		"read-only":                  {prepare: readOnlyLibrary, want: fsLevel, require: fsLevel},
		"read-only, copied":          {prepare: readOnlyLibrary, adjust: copying, want: fsLevel},
		"holder gone":                {prepare: busyWriter, adjust: func(w *world) { w.hv.SetPower(vm1.VM, hypervisor.Off); copying(w) }, want: fsLevel},
		"frozen":                     {prepare: busyWriter, want: fsLevel, require: fsLevel, asked: 1},
		"asked for no freeze":        {prepare: busyWriter, require: crash, want: crash, text: "was not asked"},
		"silent":                     {prepare: busyWriter, adjust: func(w *world) { w.guests.silent, w.guests.err = true, silent }, want: crash, text: "VM vm1 does not ask for orders", asked: 1},
		"silent, consistency wanted": {prepare: busyWriter, adjust: func(w *world) { w.guests.silent, w.guests.err = true, silent }, require: fsLevel, kind: errkind.Unavailable, text: "start or upgrade the plugin in VM vm1", asked: 1},
		"nobody freezes":             {prepare: busyWriter, adjust: func(w *world) { w.opts.Freezer = nil }, want: crash, text: "cannot ask guests to freeze"},
		"thawed early":               {prepare: busyWriter, adjust: func(w *world) { w.guests.held, w.guests.note = false, "it thawed early" }, want: crash, text: "it thawed early", asked: 1},
		"thawed early, wanted":       {prepare: busyWriter, adjust: func(w *world) { w.guests.held, w.guests.note = false, "it thawed early" }, require: fsLevel, kind: errkind.Unavailable, text: "it thawed early", asked: 1},
		"lost after the deed":        {prepare: busyWriter, adjust: func(w *world) { w.guests.err = silent }, want: crash, text: "does not ask", asked: 1},
		"copied":                     {prepare: busyWriter, adjust: copying, want: fsLevel, asked: 1},
		"copied, asked for no freeze": {
			prepare: busyWriter, adjust: copying, require: crash, want: fsLevel, asked: 1,
		},
		"copied, silent":       {prepare: busyWriter, adjust: func(w *world) { copying(w); w.guests.silent, w.guests.err = true, silent }, kind: errkind.Unavailable, text: "so the guest must freeze", asked: 1},
		"copied, thawed early": {prepare: busyWriter, adjust: func(w *world) { copying(w); w.guests.held = false }, kind: errkind.Unavailable, text: "the copy is dropped", asked: 1},
		"copy would take long": {
			prepare: busyWriter, adjust: func(w *world) { copying(w); w.opts.FreezeCopyLimit = 0 }, kind: errkind.Unsupported,
			text: "make the datastore a managed one (size = in its configuration), move the volume to a datastore on xfs or btrfs, or back it up while it is detached",
		},
		"copy would fill the datastore": {
			prepare: func(t testing.TB, w *world) volspec.VolumeID { written(t, w); return w.id(t, "db") },
			adjust: func(w *world) {
				d := hvStore("fast", false)
				d.Capacity = 6 * volspec.KiB // a page is taken, a third is free
				w.hv.SetDatastore(d)
			}, kind: errkind.Quota, text: "cannot be backed up: a snapshot on datastore fast is a copy of 4 KiB",
		},
		"datastore away": {prepare: plain, adjust: func(w *world) { w.hv.SetDatastore(offline("fast")) }, kind: errkind.Unavailable, text: "offline"},
		"being formatted": {prepare: func(t testing.TB, w *world) volspec.VolumeID {
			withVolume(t, w)
			a, err := w.attach(t, vm1, "db")
			require.NoError(t, err)
			require.NoError(t, w.svc.SetFormat(t.Context(), vm1, "db", wire.SetFormat{Epoch: a.Epoch, State: volspec.Formatting}))
			return w.id(t, "db")
		}, kind: errkind.InUse, text: "being formatted"},
		"attached and still blank, copied": {prepare: func(t testing.TB, w *world) volspec.VolumeID {
			w.mustCreate(t, vm1, "db", "diskformat", "zeroedthick")
			_, err := w.attach(t, vm1, "db")
			require.NoError(t, err)
			return w.id(t, "db")
		}, adjust: copying, want: fsLevel},
		"in the trash": {prepare: func(t testing.TB, w *world) volspec.VolumeID {
			id := plain(t, w)
			require.NoError(t, w.svc.Remove(t.Context(), vm1, "", "db", false))
			return id
		}, kind: errkind.NotFound, text: "not found"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := c.prepare(t, w)
			if c.adjust != nil {
				c.adjust(w)
				w.svc = volume.New(w.opts)
			}
			got, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", c.require)
			assert.Equal(t, c.asked, w.guests.asked, "times that the guest was asked")
			if c.want == "" {
				requireKind(t, c.kind, err)
				assert.Contains(t, err.Error(), c.text)
				hasOwned(0)(t, w)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got.Consistency)
			if c.text == "" {
				assert.Empty(t, got.Note)
			}
			assert.Contains(t, got.Note, c.text)
			assert.Equal(t, id, got.Volume.ID)
			assert.Equal(t, got.Volume.Size, got.Size)
			assert.WithinDuration(t, time.Now(), got.At, time.Minute)
			if c.asked > 0 && c.want == fsLevel {
				assert.Equal(t, w.guests.stall, got.Stall)
				assert.Equal(t, 10*time.Second, w.guests.length)
				assert.Positive(t, w.guests.epoch)
			}
			again, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", c.require)
			require.NoError(t, err, "repeated")
			assert.Equal(t, got.Consistency, again.Consistency)
			assert.Equal(t, got.At, again.At)
			assert.Equal(t, c.asked, w.guests.asked, "the guest is not asked twice")
			_, err = w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "another", "")
			requireKind(t, errkind.Exists, err)
			w.agree(t)
		})
	}
}

// While the guest is waited for, it can unmount and detach: it may be doing so
// already, and would wait for us as we for it.
func TestDetachDoesNotWaitForAFreeze(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	w.guests.before = func() {
		w.guests.before = nil
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, w.svc.Detach(ctx, vm1, "db", wire.Detach{}))
	}
	got, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", fsLevel)
	require.NoError(t, err, "planned anew")
	assert.Equal(t, fsLevel, got.Consistency)
	assert.Equal(t, 1, w.guests.asked, "detached by then")
	assert.Empty(t, got.Volume.AttachedTo)
	w.agree(t)
}

func TestAnotherAttachmentIsAskedAnew(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	w.guests.before = func() {
		w.guests.before = nil
		require.NoError(t, w.svc.Detach(t.Context(), vm1, "db", wire.Detach{}))
		_, err := w.attach(t, vm1, "db")
		require.NoError(t, err)
	}
	got, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", fsLevel)
	require.NoError(t, err)
	assert.Equal(t, 2, w.guests.asked, "the first answer was about another mount")
	assert.Equal(t, "vm1", got.Volume.AttachedTo)
	v, err := w.svc.Get(t.Context(), vm1, "", "db")
	require.NoError(t, err)
	assert.Equal(t, v.Epoch, w.guests.epoch)
	w.agree(t)
}

// A round passes by what somebody works on under the lock.
func TestRoundsDoNotWaitForASnapshot(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	slow := &slowSnapshots{Hypervisor: w.hv, Snapshotter: w.hv, begun: make(chan struct{}), goOn: make(chan struct{})}
	w.opts.Hypervisor = slow
	w.svc = volume.New(w.opts)
	done := make(chan error, 1)
	go func() {
		_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", "")
		done <- err
	}()
	<-slow.begun
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	w.svc.Round(ctx)
	assert.NoError(t, ctx.Err())
	close(slow.goOn)
	require.NoError(t, <-done)
	w.agree(t)
}

// What waits for a volume waits for the lease at most.
func TestOthersWaitForTheLeaseOnly(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	unlocked := make(chan error, 1)
	w.guests.lease = func(ctx context.Context) { // the deed comes late
		go func() { unlocked <- w.svc.Detach(context.WithoutCancel(ctx), vm1, "db", wire.Detach{}) }()
		assert.NoError(t, <-unlocked, "nothing is locked before the deed")
	}
	_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", fsLevel)
	require.NoError(t, err)
	w.agree(t)
}

func TestASnapshotThatIsEndedLeavesNothing(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	ctx, cancel := context.WithCancel(t.Context())
	w.guests.lease = func(context.Context) { cancel() }
	_, err := w.svc.TakeBackupSnapshot(ctx, id, "snap-1", "job", "")
	requireKind(t, errkind.Unavailable, err)
	hasOwned(0)(t, w)
	w.agree(t)
}

// A copy of a detached disk takes its time: others are told, not kept waiting,
// and rounds go on.
func TestACopyKeepsNobodyWaiting(t *testing.T) {
	w := newWorld(t)
	written(t, w)
	copying(w)
	id := w.id(t, "db")
	slow := &slowSnapshots{Hypervisor: w.hv, Snapshotter: w.hv, begun: make(chan struct{}), goOn: make(chan struct{})}
	w.opts.Hypervisor = slow
	w.opts.AttachWait = 0
	w.svc = volume.New(w.opts)
	done := make(chan error, 1)
	go func() {
		_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", "")
		done <- err
	}()
	<-slow.begun
	_, err := w.attach(t, vm1, "db")
	requireKind(t, errkind.InUse, err)
	assert.EqualError(t, err, "volume db@fast is busy: its snapshot is still in progress, repeat the command in a moment")
	requireKind(t, errkind.InUse, w.svc.Remove(t.Context(), vm1, "", "db", false))
	w.svc.Round(t.Context())
	hasOwned(0)(t, w) // not while it is being taken
	close(slow.goOn)
	require.NoError(t, <-done)
	hasOwned(1)(t, w)
	_, err = w.attach(t, vm1, "db")
	require.NoError(t, err)
	w.agree(t)
}

type slowSnapshots struct {
	hypervisor.Hypervisor
	hypervisor.Snapshotter
	begun, goOn chan struct{}
}

func (s *slowSnapshots) Unwrap() hypervisor.Hypervisor { return s.Hypervisor }

func (s *slowSnapshots) Snapshot(ctx context.Context, r hypervisor.Ref, id volspec.SnapshotID) error {
	close(s.begun)
	<-s.goOn
	return s.Snapshotter.Snapshot(ctx, r, id)
}

// A disk that only another host service can see is backed up there.
func TestSnapshotsBelongToTheHostServiceOfTheHolder(t *testing.T) {
	w := newWorld(t)
	id := busyWriter(t, w)
	require.NoError(t, w.store.Update(t.Context(), func(tx volume.Tx) error {
		r, err := tx.Volume(id)
		r.Holder.Installation, r.Holder.VM = "elsewhere", "vm-77"
		if err != nil {
			return err
		}
		return tx.PutVolume(r)
	}))
	_, err := w.svc.TakeBackupSnapshot(t.Context(), id, "snap-1", "job", "")
	requireKind(t, errkind.Unavailable, err)
	assert.Contains(t, err.Error(), "of another mooringd")
}
