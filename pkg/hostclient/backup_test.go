package hostclient

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// What every method about backup puts on the wire.
func TestEveryMethodOfBackup(t *testing.T) {
	var got, answer string
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		got = strings.TrimSuffix(r.Method+" "+strings.TrimPrefix(r.RequestURI, "/api/v1/")+" "+string(body), " ")
		_, _ = io.WriteString(w, answer)
	})
	a, ctx, yes := admin(t, path, Options{}), t.Context(), true
	only := func(_ any, err error) error { return err }
	const ref = "db@2026-11-24T10:00:00Z"
	for want, call := range map[string]func() error{
		"[] GET repositories":                                           func() error { return only(a.Repositories(ctx, "")) },
		"[] GET repositories?vmgroup=a+b":                               func() error { return only(a.Repositories(ctx, "a b")) },
		"[] GET vmgroups/g/repositories":                                func() error { return only(a.GroupRepositories(ctx, "g")) },
		`{} POST repositories/r/assign {"vmgroup":"g"}`:                 func() error { return only(a.AssignRepository(ctx, "r", wire.Assign{VMGroup: "g"})) },
		"{} DELETE repositories/r":                                      func() error { return a.RemovePrepared(ctx, "r") },
		"{} GET vmgroups/g/repositories/r":                              func() error { return only(a.Repository(ctx, "g", "r")) },
		"{} DELETE vmgroups/g/repositories/r":                           func() error { return a.DetachRepository(ctx, "g", "r") },
		"{} POST vmgroups/g/repositories/r/check":                       func() error { return only(a.CheckRepository(ctx, "g", "r")) },
		`{} POST vmgroups/g/repositories/r/kit {"credentials":true}`:    func() error { return only(a.RepositoryKit(ctx, "g", "r", wire.KitOptions{Credentials: true})) },
		`{} PUT vmgroups/g/repositories/r/credentials {"password":"p"}`: func() error { return only(a.SetCredentials(ctx, "g", "r", wire.Credentials{Password: "p"})) },
		"{} GET vmgroups/g/backup-usage":                                func() error { return only(a.BackupUsage(ctx, "g")) },
		`{} PUT vmgroups/g/backup-limit {"max_stored":"1kb"}`:           func() error { return only(a.SetBackupLimit(ctx, "g", wire.SetBackupLimit{MaxStored: 1024})) },
		"[] GET vmgroups/g/protection":                                  func() error { return only(a.Protection(ctx, "g")) },
		"[] GET alarms":                                                 func() error { return only(a.Alarms(ctx)) },
		"[] GET vmgroups/g/alarms":                                      func() error { return only(a.GroupAlarms(ctx, "g")) },
		"{} GET self-backup":                                            func() error { return only(a.SelfBackup(ctx)) },
		"{} POST self-backup":                                           func() error { return only(a.SelfBackupNow(ctx)) },
		"{} POST self-backup/kit":                                       func() error { return only(a.SelfBackupKit(ctx)) },
		"{} POST keys/rotate":                                           func() error { return only(a.RotateKey(ctx)) },
		"{} GET vmgroups/g/points?after=x&limit=2&repository=r&volume=v": func() error {
			return only(a.Points(ctx, "g", PointsQuery{Volume: "v", Repository: "r", After: "x", Limit: 2}))
		},
		"{} GET vmgroups/g/points/db@2026-11-24T10:00:00Z":           func() error { return only(a.Point(ctx, "g", ref)) },
		`{} PATCH vmgroups/g/points/p {"hold":true}`:                 func() error { return only(a.SetPoint(ctx, "g", "p", wire.SetPoint{Hold: &yes})) },
		"{} DELETE vmgroups/g/points/p":                              func() error { return a.DeletePoint(ctx, "g", "p") },
		`[] POST vmgroups/g/backups {"volumes":["v"],"full":true}`:   func() error { return only(a.Backup(ctx, "g", wire.RunBackup{Volumes: []string{"v"}, Full: true})) },
		`{} POST vmgroups/g/points/p/verify {"mode":"quick"}`:        func() error { return only(a.VerifyPoint(ctx, "g", "p", wire.RunVerify{Mode: "quick"})) },
		"{} POST vmgroups/g/points/p/drill":                          func() error { return only(a.DrillPoint(ctx, "g", "p")) },
		`{} POST vmgroups/g/points/p/restore {"name":"n"}`:           func() error { return only(a.RestorePoint(ctx, "g", "p", wire.RunRestore{Name: "n"})) },
		`{} POST vmgroups/g/points/p/copy {"repository":"r"}`:        func() error { return only(a.CopyPoint(ctx, "g", "p", wire.RunCopy{Repository: "r"})) },
		"{} GET vmgroups/g/points/p/files?after=x&limit=2&path=%2Fa": func() error { return only(a.Files(ctx, "g", "p", "/a", "x", 2)) },
		"[] GET vmgroups/g/policies":                                 func() error { return only(a.Policies(ctx, "g")) },
		"{} GET vmgroups/g/policies/p":                               func() error { return only(a.Policy(ctx, "g", "p")) },
		"{} DELETE vmgroups/g/policies/p":                            func() error { return a.RemovePolicy(ctx, "g", "p") },
		"{} GET vmgroups/g/policies/p/preview":                       func() error { return only(a.PreviewPolicy(ctx, "g", "p")) },
		`{} POST vmgroups/g/prune {"policy":"p","dry_run":true}`:     func() error { return only(a.Prune(ctx, "g", wire.Prune{Policy: "p", DryRun: true})) },
		"{} GET jobs?after=x&kind=backup&limit=3&object=v&since=1970-01-01T00%3A00%3A01Z&state=failed&until=1970-01-01T00%3A00%3A02Z": func() error {
			return only(a.Jobs(ctx, JobsQuery{"failed", "backup", "v", time.Unix(1, 0), time.Unix(2, 0), "x", 3}))
		},
		"{} GET vmgroups/g/jobs":             func() error { return only(a.GroupJobs(ctx, "g", JobsQuery{})) },
		"{} GET vmgroups/g/jobs/j?wait_ms=5": func() error { return only(a.Job(ctx, "g", "j", 5)) },
		"{} POST vmgroups/g/jobs/j/cancel":   func() error { return only(a.CancelJob(ctx, "g", "j")) },
	} {
		answer = want[:2]
		require.NoError(t, call(), want)
		assert.Equal(t, want[3:], got)
	}
	for _, f := range []func() (Download, error){
		func() (Download, error) { return a.File(ctx, "g", ref, "/etc/a b") },
		func() (Download, error) { return a.Tar(ctx, "g", ref, []string{"/a", "/b"}) },
		func() (Download, error) { return a.Image(ctx, "g", ref) },
	} {
		answer = "whole"
		d, err := f()
		require.NoError(t, err)
		data, err := io.ReadAll(d)
		require.NoError(t, err)
		assert.Equal(t, "whole", string(data))
		assert.EqualValues(t, 5, d.Size)
		require.NoError(t, d.Close())
	}
	assert.Equal(t, "GET vmgroups/g/points/db@2026-11-24T10:00:00Z/image", got)
}

// A refused download is an error with the service's sentence; nothing of it
// is taken for content.
func TestRefusedDownload(t *testing.T) {
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind":"not-found","detail":"there is no file x"}`)
	})
	_, err := admin(t, path, Options{}).File(t.Context(), "g", "p", "x")
	assert.Equal(t, "not-found: there is no file x", string(errkind.Of(err))+": "+errkind.Text(err))

	_, err = admin(t, socket(t), Options{}).File(t.Context(), "g", "p", "x")
	assert.Contains(t, errkind.Text(err), "is mooringd running?")
}

// Options' time limit is for answers, not for content.
func TestDownloadsOutliveTheTimeout(t *testing.T) {
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "a")
		_ = http.NewResponseController(w).Flush()
		time.Sleep(100 * time.Millisecond)
		_, _ = io.WriteString(w, "b")
	})
	d, err := admin(t, path, Options{Timeout: 20 * time.Millisecond}).Image(t.Context(), "g", "p")
	require.NoError(t, err)
	defer d.Close()
	data, err := io.ReadAll(d)
	require.NoError(t, err)
	assert.Equal(t, "ab", string(data))
	assert.EqualValues(t, -1, d.Size)
}

func TestEventsEndWhenTheyAreGivenUp(t *testing.T) {
	path := socket(t)
	host(t, path, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, ": hello\n\ndata: {\"state\":\"running\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	a := admin(t, path, Options{})
	for j, err := range a.JobEvents(t.Context(), "g", "j") {
		require.NoError(t, err)
		assert.Equal(t, "running", j.State)
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range a.JobEvents(ctx, "g", "j") {
		last = err
		cancel()
	}
	require.ErrorIs(t, last, context.Canceled)
	assert.Contains(t, errkind.Text(last), "was given up")
}
