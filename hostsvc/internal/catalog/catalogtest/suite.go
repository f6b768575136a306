// Package catalogtest is the contract of a catalog: what volume.Store,
// tenancy.Store, backup.Store, job.Store, enroll.Store, overview.Store and others promise, over one database, whatever keeps it.
package catalogtest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/hostsvc/internal/account/oidc"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/idempotency"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/notify"
	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
)

// Catalog is what is tested.
type Catalog interface {
	Volumes() volume.Store
	Tenancy() tenancy.Store
	AuditLog() audit.Store
	Jobs() job.Store
	Backup() backup.Store
	Enrolment() enroll.Store
	Accounts() account.Store
	Overview() overview.Store
	Idempotency() idempotency.Store
	Providers() oidc.Store
	Notify() notify.Store
	Transporters() transporter.Store
	Check(ctx context.Context) error
	Close() error
}

// Backend opens catalogs. Open makes an empty one, which the test closes by
// tb.Cleanup; Again opens the same database a second time, as another process
// would.
type Backend struct {
	Open  func(tb testing.TB) Catalog
	Again func(tb testing.TB, c Catalog) Catalog
}

// Run runs the suite.
func Run(t *testing.T, b Backend) {
	t.Run("records", func(t *testing.T) { records(t, b) })
	t.Run("keys", func(t *testing.T) { keys(t, b) })
	t.Run("paging", func(t *testing.T) { paging(t, b) })
	t.Run("order", func(t *testing.T) { order(t, b) })
	t.Run("usage", func(t *testing.T) { usage(t, b) })
	t.Run("absent", func(t *testing.T) { absent(t, b) })
	t.Run("foreign text", func(t *testing.T) { foreignText(t, b) })
	t.Run("snapshots", func(t *testing.T) { snapshots(t, b) })
	t.Run("audit", func(t *testing.T) { auditLines(t, b) })
	t.Run("audit chains", func(t *testing.T) { auditChains(t, b) })
	t.Run("facts", func(t *testing.T) { facts(t, b) })
	t.Run("instances", func(t *testing.T) { instances(t, b) })
	t.Run("backup", func(t *testing.T) { backupRecords(t, b) })
	t.Run("recovery points", func(t *testing.T) { recoveryPoints(t, b) })
	t.Run("sets of recovery points", func(t *testing.T) { setsOfPoints(t, b) })
	t.Run("jobs", func(t *testing.T) { jobRecords(t, b) })
	t.Run("lists of jobs", func(t *testing.T) { jobLists(t, b) })
	t.Run("old jobs", func(t *testing.T) { jobTrim(t, b) })
	t.Run("marks of schedules", func(t *testing.T) { jobMarks(t, b) })
	t.Run("remembered answers", func(t *testing.T) { rememberedAnswers(t, b) })
	t.Run("OIDC providers", func(t *testing.T) { providers(t, b) })
	t.Run("who is notified", func(t *testing.T) { notifyTargets(t, b) })
	t.Run("counts of jobs", func(t *testing.T) { jobCounts(t, b) })
	t.Run("runs of the calendar", func(t *testing.T) { calendarRuns(t, b) })
	t.Run("last jobs", func(t *testing.T) { lastJobs(t, b) })
	t.Run("good points", func(t *testing.T) { goodPoints(t, b) })
	t.Run("things", func(t *testing.T) { things(t, b) })
	t.Run("counts of what is protected", func(t *testing.T) { protectedIsCounted(t, b) })
	t.Run("health of tenants", func(t *testing.T) { tenantHealth(t, b) })
	t.Run("search", func(t *testing.T) { search(t, b) })
	t.Run("details of tenants", func(t *testing.T) { tenantDetails(t, b) })
	t.Run("facts about tenants", func(t *testing.T) { tenantFacts(t, b) })
	t.Run("pages of tenants", func(t *testing.T) { tenantPages(t, b) })
	t.Run("users", func(t *testing.T) { userRecords(t, b) })
	t.Run("users of tenants", func(t *testing.T) { usersOfTenants(t, b) })
	t.Run("enrolment", func(t *testing.T) { enrolmentRecords(t, b) })
	t.Run("runners", func(t *testing.T) { runners(t, b) })
	t.Run("transporters", func(t *testing.T) { transporters(t, b) })
	t.Run("runners of transporters", func(t *testing.T) { boundRunners(t, b) })
	t.Run("allowances", func(t *testing.T) { allowances(t, b) })
	t.Run("schedulers", func(t *testing.T) { schedulers(t, b) })
	t.Run("rollback", func(t *testing.T) { rollback(t, b) })
	t.Run("view is read-only", func(t *testing.T) { readOnly(t, b) })
	t.Run("ended request", func(t *testing.T) { ended(t, b) })
	t.Run("exact limit", func(t *testing.T) { exactLimit(t, b) })
	t.Run("snapshot isolation", func(t *testing.T) { isolation(t, b) })
	t.Run("model", func(t *testing.T) { model(t, b) })
}

// The groups that most tests use.
const (
	groupA = volspec.VMGroupID("aaaaaaaa-0000-4000-8000-000000000000")
	groupB = volspec.VMGroupID("bbbbbbbb-0000-4000-8000-000000000000")
)

func open(t *testing.T, b Backend) Catalog {
	t.Helper()
	c := b.Open(t)
	groups(t, c, func(tx tenancy.Tx) error {
		for id, name := range map[volspec.VMGroupID]string{groupA: "A", groupB: "B"} {
			if err := tx.PutGroup(volspec.VMGroup{ID: id, Name: name}); err != nil {
				return err
			}
		}
		return nil
	})
	t.Cleanup(func() { require.NoError(t, c.Check(context.Background())) })
	return c
}

func groups(t require.TestingT, c Catalog, fn func(tenancy.Tx) error) {
	require.NoError(t, c.Tenancy().Update(context.Background(), fn))
}

func volumes(t require.TestingT, c Catalog, fn func(volume.Tx) error) {
	require.NoError(t, c.Volumes().Update(context.Background(), fn))
}

func view(t require.TestingT, c Catalog, fn func(volume.Tx) error) {
	require.NoError(t, c.Volumes().View(context.Background(), fn))
}

func id(n int) volspec.VolumeID {
	return volspec.VolumeID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", n))
}

func record(n int, g volspec.VMGroupID, ds, name string) volume.Record {
	return volume.Record{
		ID: id(n), Key: volume.Key{Group: g, Datastore: ds, Name: name}, State: volspec.Ready, Format: volspec.Blank,
		Size: volspec.Size(n) * volspec.MiB, Created: time.Unix(int64(n)+1, 0).UTC(),
	}
}
