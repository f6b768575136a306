package backup_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// allowances are the real ones of the world's catalog.
type allowances struct{ t *tenancy.Service }

func (w *world) allowances() allowances {
	o := tenancy.Options{Store: w.store.Tenancy()}
	if w.vms != nil {
		o.Hosts = w.vms.Memory
	}
	return allowances{tenancy.New(o)}
}

func (a allowances) Admission(ctx context.Context) func(backup.AllowanceTx, volspec.VMGroup, ...backup.Object) error {
	admit := a.t.Admission(ctx)
	return func(tx backup.AllowanceTx, g volspec.VMGroup, all ...backup.Object) error {
		newcomers := make([]tenancy.Newcomer, len(all))
		for i, o := range all {
			newcomers[i] = tenancy.Newcomer(o)
		}
		return admit(tx, g, newcomers...)
	}
}

func (a allowances) SetStorage(ctx context.Context, tx backup.AllowanceTx, g volspec.VMGroup, limit int64) error {
	return a.t.SetStorage(ctx, tx, g, limit)
}

func (w *world) allow(t *testing.T, a wire.Amounts) {
	t.Helper()
	_, err := w.allowances().t.SetAllowance(t.Context(), admin, "Dev", a)
	require.NoError(t, err)
}

// What is named is backed up whole or not at all; what is protected goes on;
// what has no recovery point any more makes room.
func TestAllowanceOfWhatIsNamed(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	w.addVM(w.group, "mail", "")
	w.disks.add(w.group, "db", 1<<20)
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	w.allow(t, wire.Amounts{VMs: new(int64(1)), Volumes: new(int64(0))})
	_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web", "mail"}})
	require.Equal(t, errkind.Quota, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "VM mail cannot be protected: vmgroup Dev uses 1 of the 1 protected VMs")
	_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Volumes: []string{"db@d1"}})
	assert.Equal(t, errkind.Quota, errkind.Of(err))
	open, err := proc.queue.List(t.Context(), job.Query{})
	require.NoError(t, err)
	assert.Empty(t, open)

	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	w.allow(t, wire.Amounts{VMs: new(int64(0))})
	require.Equal(t, job.Done, proc.runVM(t, "web").State, "less than is used takes nothing away")
	w.allow(t, wire.Amounts{VMs: new(int64(1))})
	_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"mail"}})
	assert.Equal(t, errkind.Quota, errkind.Of(err))
	for _, p := range proc.pointsOf(t, "") {
		require.NoError(t, proc.DeletePoint(t.Context(), admin, "Dev", string(p.ID)))
	}
	require.Equal(t, job.Done, proc.runVM(t, "mail").State)
}

// A host's sockets are needed once, however many of its VMs are protected.
func TestAllowanceOfSockets(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	w.addVM(w.group, "mail", "")
	w.vms.SetHost(w.addVM(w.group, "far", ""), hypervisor.Host{ID: "h2", Name: "esx2", Sockets: 2})
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	w.allow(t, wire.Amounts{Sockets: new(int64(2))})
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	require.Equal(t, job.Done, proc.runVM(t, "mail").State)
	_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"far"}})
	assert.Equal(t, errkind.Quota, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "VM far cannot be protected: it runs on host esx2 with 2 sockets, vmgroup Dev uses 1 of the 2 sockets")
	w.allow(t, wire.Amounts{Sockets: new(int64(3))})
	require.Equal(t, job.Done, proc.runVM(t, "far").State)
}

// Of a policy the jobs of what is too much have failed with the reason, the
// others run; by command and by schedule.
func TestAllowanceOfPolicies(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a", "b", "c"} {
		w.addVM(w.group, name, "")
	}
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	_, err := proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "all", VMs: []string{"*"}, Repository: "main", Schedule: "daily", Keep: wire.Keep{Last: 5}}, false)
	require.NoError(t, err)
	w.allow(t, wire.Amounts{VMs: new(int64(2))})
	jobs, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Policy: "all"})
	require.NoError(t, err)
	require.Len(t, jobs, 3)
	states := map[job.State]int{}
	for _, j := range jobs {
		done := proc.finish(t, j.ID)
		states[done.State]++
		if done.State == job.Failed {
			assert.Equal(t, errkind.Quota, done.Kept)
			assert.Contains(t, done.Error, "cannot be protected: vmgroup Dev uses 2 of the 2 protected VMs")
		}
	}
	assert.Equal(t, map[job.State]int{job.Done: 2, job.Failed: 1}, states)
	alarms, err := proc.Alarms(t.Context(), "Dev")
	require.NoError(t, err)
	require.Len(t, alarms, 1, "the VM's, and none that storage is full")
	assert.Equal(t, "job-failed", alarms[0].Kind)

	run := proc.scheduled(t, 2)
	assert.Equal(t, job.Partial, run.State)
	assert.Contains(t, run.Error, "cannot be protected: vmgroup Dev uses 2 of the 2 protected VMs")
	w.allow(t, wire.Amounts{VMs: new(int64(3))})
	assert.Equal(t, job.Done, proc.scheduled(t, 4).State)
	assert.Eventually(t, func() bool {
		alarms, err := proc.Alarms(t.Context(), "Dev")
		return err == nil && len(alarms) == 0
	}, time.Minute, 10*time.Millisecond)
}

// A repository that is attached brings what it holds: it must fit as if it was
// backed up here.
func TestAllowanceOfAttachedRepositories(t *testing.T) {
	w := newWorld(t)
	w.addVM(w.group, "web", "")
	w.addVM(w.group, "mail", "")
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	require.Equal(t, job.Done, proc.runVM(t, "mail").State)
	k, err := proc.Kit(t.Context(), admin, "Dev", "main", wire.KitOptions{Credentials: true})
	require.NoError(t, err)
	proc.end()

	after := newWorld(t)
	next := after.start(t, &plug{})
	attach := func() error {
		_, err := next.CreateRepository(t.Context(), admin, "Dev", wire.CreateRepository{Name: "old", Kit: k.Text})
		return err
	}
	for name, a := range map[string]wire.Amounts{"VMs": {VMs: new(int64(1))}, "storage": {Storage: new(int64(1000))}} {
		after.allow(t, a)
		err := attach()
		assert.Equal(t, errkind.Quota, errkind.Of(err), name)
		assert.Contains(t, errkind.Text(err), "repository old was not attached", name)
	}
	after.allow(t, wire.Amounts{VMs: new(int64(2)), Storage: new(int64(1 << 30))})
	require.NoError(t, attach())
	a, err := after.allowances().t.Allowance(t.Context(), "Dev")
	require.NoError(t, err)
	assert.EqualValues(t, 2, a.VMs.Used)
	assert.Positive(t, a.Storage.Used)
}
