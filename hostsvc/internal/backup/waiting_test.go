package backup_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// away is what a transporter service says.
type away map[volspec.VMGroupID]backup.Away

func (a away) Away(context.Context, ...volspec.VMGroupID) (map[volspec.VMGroupID]backup.Away, error) {
	return a, nil
}

// told keeps what people are told.
type told struct{ all []backup.Event }

func (t *told) Notify(_ context.Context, e backup.Event) { t.all = append(t.all, e) }

func (t *told) kinds() (out []string) {
	for _, e := range t.all {
		out = append(out, e.Kind)
	}
	return out
}

// idleService is one whose queue nobody works on, with what it told people.
func idleService(t *testing.T, w *world, change func(*backup.Options)) (*backup.Service, *job.Runner, *told) {
	t.Helper()
	people := &told{}
	o := backup.Options{Store: w.store.Backup(), Volumes: &volumes{d: w.disks, p: &plug{}}, Zone: "UTC", Allowances: w.allowances(), Notify: people}
	change(&o)
	s := backup.New(o)
	queue := job.New(job.Options{Store: w.store.Jobs(), Instance: uuid.NewString(), Kinds: s.Handlers()})
	s.Use(queue)
	return s, queue, people
}

// A queued job of a vmgroup without a transporter says so; people are told when
// it lasts, and when it is over.
func TestJobsThatWaitForATransporter(t *testing.T) {
	gone := backup.Away{Names: []string{"site-b", "site-c"}, For: time.Hour}
	for name, tc := range map[string]struct {
		away  *backup.Away
		age   time.Duration
		warns string
		alarm bool
	}{
		"one is online":          {nil, time.Hour, "", false},
		"all are away":           {&gone, time.Hour, "none is online (site-b, site-c)", true},
		"the job is new":         {&gone, time.Minute, "none is online (site-b, site-c)", false},
		"they went a moment ago": {&backup.Away{Names: []string{"site-b"}, For: time.Minute}, time.Hour, "none is online (site-b)", false},
		"there is none":          {&backup.Away{}, time.Hour, "no transporter works for vmgroup Dev", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			all := away{"another": gone}
			if tc.away != nil {
				all[w.group.ID] = *tc.away
			}
			s, queue, people := idleService(t, w, func(o *backup.Options) { o.Transporters = all })
			j := job.Job{ID: "waits", Group: w.group.ID, Kind: "verify", State: job.Queued, Created: time.Now().UTC().Add(-tc.age)}
			require.NoError(t, w.store.Jobs().Update(t.Context(), func(tx job.Tx) error { return tx.PutJob(j) }))
			one, err := s.Job(t.Context(), "Dev", j.ID, 0)
			require.NoError(t, err)
			list, err := s.Jobs(t.Context(), "", backup.JobFilter{})
			require.NoError(t, err)
			for _, shown := range []wire.Job{one, list.Jobs[0]} {
				if tc.warns == "" {
					assert.Empty(t, shown.Warnings)
					continue
				}
				require.Len(t, shown.Warnings, 1)
				assert.Contains(t, shown.Warnings[0], tc.warns)
			}
			require.NoError(t, s.WatchTransporters(t.Context()))
			alarms, err := s.Alarms(t.Context(), "Dev")
			require.NoError(t, err)
			if !tc.alarm {
				assert.Empty(t, alarms)
				assert.Empty(t, people.kinds())
				return
			}
			require.Len(t, alarms, 1)
			assert.Equal(t, "transporter-offline", alarms[0].Kind)
			assert.Contains(t, alarms[0].Detail, "site-b, site-c")
			require.NoError(t, s.WatchTransporters(t.Context()))
			assert.Equal(t, []string{"transporter-offline"}, people.kinds(), "once")

			_, err = queue.Cancel(t.Context(), j.ID)
			require.NoError(t, err)
			require.NoError(t, s.WatchTransporters(t.Context()))
			alarms, err = s.Alarms(t.Context(), "Dev")
			require.NoError(t, err)
			assert.Empty(t, alarms)
			assert.Equal(t, []string{"transporter-offline", "transporter-recovered"}, people.kinds())
		})
	}
}
