package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/hostsvc/internal/repository"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const (
	day = 24 * time.Hour
	// ran is for how many days there are the jobs of each policy.
	ran = 10
	// audited is how many lines of the audit log each tenant has.
	audited = 10
)

// first is the tenant of which the others are copies.
type first struct {
	now              time.Time
	datastore        string
	policies, points int
}

// id is a UUID with the tenant's mark.
func (t *first) id(kind, n, m int) string {
	return fmt.Sprintf("%s-%04x-4000-8%03x-%012x", markOf(0), kind, n, m)
}

func (t *first) group() volspec.VMGroupID { return volspec.VMGroupID(t.id(0, 0, 0)) }

func (t *first) repository() volspec.RepositoryID { return volspec.RepositoryID(t.id(1, 0, 0)) }

func (t *first) policy(n int) volspec.PolicyID { return volspec.PolicyID(t.id(2, n, 0)) }

func (t *first) volume(n int) volspec.VolumeID { return volspec.VolumeID(t.id(3, n, 0)) }

// due is when a policy ran, so many days ago.
func (t *first) due(n, ago int) time.Time {
	at := time.Date(t.now.Year(), t.now.Month(), t.now.Day(), n%24, 0, 0, 0, time.UTC)
	if at.After(t.now) {
		at = at.Add(-day)
	}
	return at.Add(-time.Duration(ago) * day)
}

func (t *first) make(ctx context.Context, cat *catalog.Catalog) error {
	if err := cat.Tenancy().Update(ctx, t.putGroup); err != nil {
		return err
	}
	if err := cat.Volumes().Update(ctx, t.putVolumes); err != nil {
		return err
	}
	if err := cat.Backup().Update(ctx, t.putBackups); err != nil {
		return err
	}
	return cat.Jobs().Update(ctx, t.putJobs)
}

func (t *first) putGroup(tx tenancy.Tx) error {
	g := volspec.VMGroup{ID: t.group(), Name: "tenant-" + markOf(0), DefaultDatastore: t.datastore}
	if err := tx.PutGroup(g); err != nil {
		return err
	}
	d := tenancy.Details{Profile: wire.Profile{Email: g.Name + "@example.com", Labels: []string{"customer"}}}
	if err := tx.PutDetails(g.ID, d); err != nil {
		return err
	}
	return tx.Bind(g.ID, []string{wire.BuiltInTransporter})
}

func (t *first) putVolumes(tx volume.Tx) error {
	for n := range t.policies {
		err := tx.PutVolume(volume.Record{
			ID: t.volume(n), Key: volume.Key{Group: t.group(), Name: fmt.Sprintf("db%02d", n), Datastore: t.datastore},
			State: volspec.Ready, Format: volspec.Formatted, Size: 10 << 30, Used: 3 << 30, Created: t.now.Add(-60 * day), CreatedBy: "admin",
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *first) putBackups(tx backup.Tx) error {
	place := "/none/" + markOf(0)
	r := backup.Repo{
		ID: t.repository(), Group: t.group(), Name: "main", State: "online", Place: place, Stored: 1 << 40,
		Body: backup.RepoBody{Location: repository.Location{Type: repository.Directory, Path: place}, Points: t.policies * t.points, Created: t.now.Add(-60 * day), Checked: t.now, Maintained: t.now},
	}
	if err := tx.PutRepository(r); err != nil {
		return err
	}
	for n := range t.policies {
		on := true
		spec := wire.Policy{
			Name: fmt.Sprintf("job%02d", n), Enabled: &on, Volumes: []string{fmt.Sprintf("db%02d", n)}, Repository: r.Name,
			Schedule: fmt.Sprintf("%02d:00", n%24), Timezone: "UTC", RPO: "26h", Overlap: "skip", Consistency: "filesystem", Priority: 3,
			Keep: wire.Keep{Daily: t.points},
		}
		p := backup.Policy{ID: t.policy(n), Group: t.group(), Name: spec.Name, PolicyBody: backup.PolicyBody{Spec: spec, Changed: t.now.Add(-60 * day)}}
		if err := tx.PutPolicy(p); err != nil {
			return err
		}
		for ago := range t.points {
			if err := tx.PutPoint(t.point(n, ago)); err != nil {
				return err
			}
		}
	}
	const kind, object = "drill-failed", "db00"
	return tx.PutAlarm(backup.Alarm{
		ID: fmt.Sprintf("%s/%s/%s", t.group(), kind, object), Group: t.group(), Kind: kind, Object: object, Since: t.now, Told: t.now, Detail: "the filesystem is damaged",
	})
}

func (t *first) point(n, ago int) backup.Point {
	at := t.due(n, ago).Add(time.Minute)
	p := backup.Point{
		ID: volspec.PointID(t.id(4, n, ago)), Group: t.group(), Repository: t.repository(),
		VolumeID: t.volume(n), Volume: fmt.Sprintf("db%02d", n), Datastore: t.datastore, Created: at, State: volspec.Verified,
	}
	p.Body.VerifiedAt = at
	p.Body.Point = repository.Point{
		ID: p.ID, Created: at, Ended: at.Add(time.Minute), Size: 10 << 30, Consistency: volspec.FilesystemConsistent, Tracking: "snapshots",
		Source: repository.Source{Tenant: string(t.group()), TenantName: "tenant-" + markOf(0), Volume: p.VolumeID, Name: p.Volume + "@" + p.Datastore},
		Stats:  repository.Stats{Read: 100 << 20, Stored: 40 << 20, New: 90 << 20, Data: 3 << 30},
		Meta:   params(map[string]any{"spec": volspec.Spec{}, "format": volspec.Formatted, "stall_ms": 12, "policy": fmt.Sprintf("job%02d", n)}),
	}
	return p
}

// putJobs adds the runs of policies, each with its part, and that they are up
// to date. A few failed.
func (t *first) putJobs(tx job.Tx) error {
	for n := range t.policies {
		if err := tx.PutMark(t.policy(n), "backup", t.now.Add(-60*day), t.now); err != nil {
			return err
		}
		for ago := range ran {
			for _, j := range t.run(n, ago) {
				if err := tx.PutJob(j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *first) run(n, ago int) []job.Job {
	at, name := t.due(n, ago), fmt.Sprintf("job%02d", n)
	all := []job.Job{
		{
			ID: volspec.JobID(t.id(5, n, ago)), Kind: "policy", Object: fmt.Sprintf("%s backup", t.policy(n)),
			Unique: fmt.Sprintf("%s backup %d", t.policy(n), at.Unix()),
			Params: params(map[string]any{"policy": t.policy(n), "policy_name": name, "name": name + " backup", "task": "backup", "due": at}),
		},
		{
			ID: volspec.JobID(t.id(6, n, ago)), Kind: "backup", Object: string(t.volume(n)),
			Unique: fmt.Sprintf("%s backup %d %s", t.policy(n), at.Unix(), t.volume(n)),
			Params: params(map[string]any{"policy_name": name, "name": fmt.Sprintf("db%02d@%s", n, t.datastore)}),
		},
	}
	for i := range all {
		j := &all[i]
		j.Group, j.Policy, j.Priority, j.State = t.group(), t.policy(n), 3, job.Done
		if (n+ago)%25 == 24 {
			j.State = job.Failed
		}
		j.Created, j.Begun, j.EndedAt = at, at, at.Add(time.Minute)
		j.Progress = job.Progress{Read: 100 << 20, Stored: 40 << 20}
	}
	return all
}

// putQueue adds jobs that wait.
func (t *first) putQueue(tx job.Tx, queued int) error {
	for i := range queued {
		n := i % t.policies
		err := tx.PutJob(job.Job{
			ID: volspec.JobID(t.id(7, n, i)), Group: t.group(), Kind: "backup", Object: string(t.volume(n)), State: job.Queued, Created: t.now,
			Priority: 3, Unique: fmt.Sprint("queued ", i), Params: params(map[string]any{"name": fmt.Sprintf("db%02d@%s", n, t.datastore)}),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// putAudit adds lines of every tenant, in turn.
func (t *first) putAudit(tx tenancy.Tx, tenants int) error {
	for i := range audited {
		for n := range tenants {
			name := "tenant-" + markOf(n)
			err := tx.AddAudit(volspec.Audit{
				Time: t.now.Add(-time.Duration(audited-i) * time.Hour), Actor: "user:" + name + "/admin", VMGroup: name, Action: "policy set", Object: fmt.Sprintf("job%02d", i), Outcome: "ok",
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func params(v map[string]any) json.RawMessage {
	b, _ := json.Marshal(v) // words, numbers and times only: cannot fail
	return b
}
