package backup_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// inState puts the vmgroup of the world into a state.
func (w *world) inState(t *testing.T, s volspec.GroupState) {
	t.Helper()
	require.NoError(t, w.store.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
		g := w.group
		g.State = s
		return tx.PutGroup(g)
	}))
}

// bind binds the vmgroup of the world to transporters.
func (w *world) bind(t *testing.T, names ...string) {
	t.Helper()
	require.NoError(t, w.store.Transporters().Update(t.Context(), func(tx transporter.Tx) error { return tx.Bind(w.group.ID, names) }))
}

// A vmgroup that is not configured protects nothing; one that is disabled or
// deleted begins nothing and keeps what it has. Both go on when they may.
func TestVMGroupsThatBeginNoJobs(t *testing.T) {
	for name, tc := range map[string]struct {
		stop, resume func(t *testing.T, w *world)
		says         string
		kind         errkind.Kind
		frozen       bool // or it only does not protect
	}{
		"not configured": {
			func(t *testing.T, w *world) { w.bind(t) },
			func(t *testing.T, w *world) { w.bind(t, wire.BuiltInTransporter) },
			"Your service is not configured: a transporter", errkind.Unconfigured, false,
		},
		"disabled": {
			func(t *testing.T, w *world) { w.inState(t, volspec.GroupDisabled) },
			func(t *testing.T, w *world) { w.inState(t, volspec.GroupEnabled) },
			"vmgroup Dev is disabled and begins no job", errkind.Denied, true,
		},
		"deleted": {
			func(t *testing.T, w *world) { w.inState(t, volspec.GroupDeleted) },
			func(t *testing.T, w *world) { w.inState(t, volspec.GroupEnabled) },
			"vmgroup Dev is deleted and begins no job", errkind.Denied, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.tenants = w.allowances().t
			w.disks.add(w.group, "db", 1<<20)
			require.NoError(t, w.store.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error {
				return tx.PutMember(volspec.Member{VM: "a VM", Group: w.group.ID})
			}))
			proc := w.start(t, &plug{})
			proc.makeRepository(t, "main")
			_, err := proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "all", Volumes: []string{"*"}, Repository: "main", Schedule: "daily", Keep: wire.Keep{Last: 1}}, false)
			require.NoError(t, err)
			point := proc.run(t, "db@d1")
			require.Equal(t, job.Done, point.State, point.Error)
			all, err := proc.Scheduled(t.Context())
			require.NoError(t, err)
			require.Len(t, all, 1)

			tc.stop(t, w)
			refused := func(err error) {
				t.Helper()
				require.Equal(t, tc.kind, errkind.Of(err), err)
				assert.Contains(t, errkind.Text(err), tc.says)
			}
			_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Volumes: []string{"db@d1"}})
			refused(err)
			_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Policy: "all"})
			refused(err)
			left, err := proc.Scheduled(t.Context())
			require.NoError(t, err)
			assert.Empty(t, left, "schedules do not run")
			require.NoError(t, proc.queue.Tick(t.Context(), time.Now().Add(48*time.Hour), left))
			runs, err := proc.queue.List(t.Context(), job.Query{Kind: "policy"})
			require.NoError(t, err)
			assert.Empty(t, runs)
			id := string(proc.pointsOf(t, "db@d1")[0].ID)
			_, err = proc.Verify(t.Context(), admin, "Dev", id, wire.RunVerify{})
			if tc.frozen {
				refused(err)
			} else {
				require.NoError(t, err, "what is there can be proved")
			}
			frozen, err := proc.Frozen(t.Context(), w.group.ID)
			require.NoError(t, err)
			assert.Equal(t, tc.frozen, frozen)

			tc.resume(t, w)
			_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{Policy: "all"})
			require.NoError(t, err)
		})
	}
}
