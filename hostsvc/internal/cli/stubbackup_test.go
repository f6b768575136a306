package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// memBackups is the part of memAdmin that is about backup. A job that is begun
// goes through the states of script, one with every look at it.
type memBackups struct {
	repositories []wire.Repository
	points       []wire.Point
	policies     []wire.Policy
	protection   []wire.Protection
	alarms       []wire.Alarm
	past         []wire.Job
	decisions    []wire.KeepDecision
	files        []wire.File
	content      string
	cut          error // ends a download

	script []wire.Job // what becomes of a job; what is zero in it is as it began
	looks  map[volspec.JobID]int
	begun  map[volspec.JobID]wire.Job
}

func (m *memAdmin) begin(kind, group, object string) wire.Job {
	if m.begun == nil {
		m.begun, m.looks = map[volspec.JobID]wire.Job{}, map[volspec.JobID]int{}
	}
	j := wire.Job{
		ID: volspec.JobID(fmt.Sprintf("50000000-0000-4000-8000-%012d", len(m.begun)+1)), VMGroup: group, Kind: kind, Object: object,
		State: "queued", Created: at(22, 8), Progress: wire.JobProgress{ETASeconds: -1},
	}
	m.begun[j.ID] = j
	return j
}

// Job answers from the script, and never waits.
func (m *memAdmin) Job(ctx context.Context, vmgroup string, id volspec.JobID, waitMS int) (wire.Job, error) {
	if err := ctx.Err(); err != nil {
		return wire.Job{}, errkind.Wrap(errkind.Unavailable, err, "the call was given up")
	}
	if err := m.did("Job", vmgroup, id); err != nil {
		return wire.Job{}, err
	}
	for _, j := range m.past {
		if j.ID == id && j.VMGroup == vmgroup {
			return j, nil
		}
	}
	j, known := m.begun[id]
	if !known || j.VMGroup != vmgroup {
		return wire.Job{}, errkind.New(errkind.NotFound, "Job %s does not exist in vmgroup %s", id, vmgroup)
	}
	n := min(m.looks[id], len(m.script)-1)
	m.looks[id]++
	now := m.script[n]
	now.ID, now.VMGroup, now.Kind, now.Object, now.Created = j.ID, j.VMGroup, j.Kind, j.Object, j.Created
	if strings.HasPrefix(j.Object, "bad") && now.Over() {
		now.State, now.Stage, now.Error, now.ErrorKind, now.Point = "failed", "snapshot", "the filesystem cannot be frozen", "unavailable", ""
	}
	return now, nil
}

func (m *memAdmin) CancelJob(_ context.Context, vmgroup string, id volspec.JobID) (wire.Job, error) {
	return wire.Job{ID: id, VMGroup: vmgroup, State: "running", Cancel: true}, m.did("CancelJob", vmgroup, id)
}

func (m *memAdmin) Jobs(_ context.Context, q hostclient.JobsQuery) (wire.JobList, error) {
	return wire.JobList{Jobs: m.past}, m.did("Jobs", q)
}

func (m *memAdmin) GroupJobs(_ context.Context, vmgroup string, q hostclient.JobsQuery) (wire.JobList, error) {
	return wire.JobList{Jobs: m.past}, m.did("GroupJobs", vmgroup, q)
}

func (m *memAdmin) inGroup(group string) (found []wire.Repository) {
	for _, r := range m.repositories {
		if group == "" || r.VMGroup == group {
			found = append(found, r)
		}
	}
	return found
}

func (m *memAdmin) Repositories(_ context.Context, vmgroup string) ([]wire.Repository, error) {
	return m.inGroup(vmgroup), m.did("Repositories", vmgroup)
}

func (m *memAdmin) GroupRepositories(_ context.Context, vmgroup string) ([]wire.Repository, error) {
	return m.inGroup(vmgroup), m.did("GroupRepositories", vmgroup)
}

func (m *memAdmin) Repository(_ context.Context, vmgroup, name string) (wire.Repository, error) {
	if err := m.did("Repository", vmgroup, name); err != nil {
		return wire.Repository{}, err
	}
	for _, r := range m.inGroup(vmgroup) {
		if r.Name == name {
			return r, nil
		}
	}
	return wire.Repository{}, errkind.New(errkind.NotFound, "Repository %s does not exist in vmgroup %s", name, vmgroup)
}

func (m *memAdmin) CreateRepository(_ context.Context, vmgroup string, r wire.CreateRepository) (wire.Repository, error) {
	return wire.Repository{Name: r.Name, VMGroup: vmgroup, State: "online", Location: r.Location}, m.did("CreateRepository", vmgroup, r)
}

func (m *memAdmin) DetachRepository(_ context.Context, vmgroup, name string) error {
	return m.did("DetachRepository", vmgroup, name)
}

func (m *memAdmin) CheckRepository(ctx context.Context, vmgroup, name string) (wire.Repository, error) {
	if err := m.did("CheckRepository", vmgroup, name); err != nil {
		return wire.Repository{}, err
	}
	return m.Repository(ctx, vmgroup, name)
}

func (m *memAdmin) RepositoryKit(_ context.Context, vmgroup, name string, o wire.KitOptions) (wire.Kit, error) {
	return wire.Kit{Text: "the kit of " + name + "\n"}, m.did("RepositoryKit", vmgroup, name, o)
}

func (m *memAdmin) SetCredentials(_ context.Context, vmgroup, name string, c wire.Credentials) (wire.Repository, error) {
	return wire.Repository{Name: name, VMGroup: vmgroup}, m.did("SetCredentials", vmgroup, name, c)
}

func (m *memAdmin) PrepareRepository(_ context.Context, r wire.CreateRepository) (wire.Repository, error) {
	return wire.Repository{Name: r.Name, State: "prepared", Location: r.Location}, m.did("PrepareRepository", r)
}

func (m *memAdmin) AssignRepository(_ context.Context, name string, a wire.Assign) (wire.Repository, error) {
	return wire.Repository{Name: name, VMGroup: a.VMGroup}, m.did("AssignRepository", name, a)
}

func (m *memAdmin) RemovePrepared(_ context.Context, name string) error {
	return m.did("RemovePrepared", name)
}

func (m *memAdmin) BackupUsage(_ context.Context, vmgroup string) (wire.BackupUsage, error) {
	u := wire.BackupUsage{VMGroup: vmgroup}
	if vmgroup == "Dev" {
		u.Stored, u.Reserved, u.Bounded, u.MaxStored = int64(3*volspec.GiB), int64(volspec.MiB), true, int64(50*volspec.GiB)
	}
	return u, m.did("BackupUsage", vmgroup)
}

func (m *memAdmin) SetBackupLimit(_ context.Context, vmgroup string, l wire.SetBackupLimit) (wire.BackupUsage, error) {
	return wire.BackupUsage{VMGroup: vmgroup, Bounded: l.MaxStored > 0, MaxStored: int64(l.MaxStored)}, m.did("SetBackupLimit", vmgroup, l)
}

func (m *memAdmin) Points(_ context.Context, vmgroup string, q hostclient.PointsQuery) (wire.PointList, error) {
	if err := m.did("Points", vmgroup, q); err != nil {
		return wire.PointList{}, err
	}
	var found []wire.Point
	for _, p := range m.points {
		if p.VMGroup == vmgroup && (q.Volume == "" || strings.HasPrefix(p.Volume, q.Volume+"@")) && (q.Repository == "" || p.Repository == q.Repository) {
			found = append(found, p)
		}
	}
	return wire.PointList{Points: found}, nil
}

func (m *memAdmin) Point(_ context.Context, vmgroup, ref string) (wire.Point, error) {
	if err := m.did("Point", vmgroup, ref); err != nil {
		return wire.Point{}, err
	}
	if vmgroup == "Dev" && (strings.HasPrefix(ref, "vm/web01@") || ref == string(vmPoint.ID)) {
		return vmPoint, nil
	}
	for _, p := range m.points {
		short, _, _ := strings.Cut(p.Volume, "@")
		if p.VMGroup == vmgroup && (string(p.ID) == ref || strings.HasPrefix(ref, short+"@")) {
			return p, nil
		}
	}
	return wire.Point{}, errkind.New(errkind.NotFound, "Recovery point %s does not exist in vmgroup %s", ref, vmgroup)
}

// vmPoint is the point of a VM: only asked for by name or id.
var vmPoint = wire.Point{
	ID: "40000000-0000-4000-8000-0000000000aa", Kind: "vm", VMGroup: "Dev", Repository: "main", Volume: "vm/web01", VM: "web01", VMID: "v",
	Created: at(22, 2), State: "completed", Consistency: "crash", SizeBytes: 48 << 30, DataBytes: 9 << 30, ReadBytes: 1 << 30, NewBytes: 1 << 20, StoredBytes: 1 << 19,
	Tracking: "Hard disk 1: changed extents since yesterday",
	Disks: []wire.PointDisk{
		{Key: "2000", Label: "Hard disk 1", SizeBytes: 16 << 30, Datastore: "ds1", Point: "40000000-0000-4000-8000-0000000000ab", State: "completed"},
		{Key: "2001", Label: "Hard disk 2", State: "left-out", Damage: "it is independent: make it dependent"},
	},
}

func (m *memAdmin) SetPoint(ctx context.Context, vmgroup, ref string, s wire.SetPoint) (wire.Point, error) {
	if err := m.did("SetPoint", vmgroup, ref, s); err != nil {
		return wire.Point{}, err
	}
	return m.Point(ctx, vmgroup, ref)
}

func (m *memAdmin) DeletePoint(_ context.Context, vmgroup, ref string) error {
	return m.did("DeletePoint", vmgroup, ref)
}

func (m *memAdmin) Backup(_ context.Context, vmgroup string, r wire.RunBackup) ([]wire.Job, error) {
	if err := m.did("Backup", vmgroup, r); err != nil {
		return nil, err
	}
	var jobs []wire.Job
	for _, v := range append(r.Volumes, map[bool][]string{true: {"db@fast", "logs@slow"}}[r.Policy != ""]...) {
		jobs = append(jobs, m.begin("backup", vmgroup, v))
	}
	for _, v := range r.VMs {
		jobs = append(jobs, m.begin("vm-backup", vmgroup, "vm/"+v))
	}
	return jobs, nil
}

func (m *memAdmin) VerifyPoint(_ context.Context, vmgroup, ref string, r wire.RunVerify) (wire.Job, error) {
	return m.begin("verify", vmgroup, ref), m.did("VerifyPoint", vmgroup, ref, r)
}

func (m *memAdmin) DrillPoint(_ context.Context, vmgroup, ref string) (wire.Job, error) {
	return m.begin("drill", vmgroup, ref), m.did("DrillPoint", vmgroup, ref)
}

func (m *memAdmin) RestorePoint(_ context.Context, vmgroup, ref string, r wire.RunRestore) (wire.Job, error) {
	if ref == string(vmPoint.ID) {
		return m.begin("vm-restore", vmgroup, "restore vm/"+cmp.Or(r.Name, "web01")), m.did("RestorePoint", vmgroup, ref, r)
	}
	return m.begin("restore", vmgroup, r.Name), m.did("RestorePoint", vmgroup, ref, r)
}

func (m *memAdmin) CopyPoint(_ context.Context, vmgroup, ref string, r wire.RunCopy) (wire.Job, error) {
	return m.begin("copy", vmgroup, ref), m.did("CopyPoint", vmgroup, ref, r)
}

func (m *memAdmin) Files(_ context.Context, vmgroup, ref, path, after string, limit int) (wire.FileList, error) {
	if after == "" && len(m.files) > 1 { // two pages
		return wire.FileList{Files: m.files[:1], Next: m.files[0].Name}, m.did("Files", vmgroup, ref, path, after, limit)
	}
	return wire.FileList{Files: m.files[1:]}, m.did("Files", vmgroup, ref, path, after, limit)
}

// broken ends with an error instead of its end.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

func (m *memAdmin) download(err error) (hostclient.Download, error) {
	if err != nil {
		return hostclient.Download{}, err
	}
	var r io.Reader = strings.NewReader(m.content)
	if m.cut != nil {
		r = io.MultiReader(r, broken{m.cut})
	}
	return hostclient.Download{ReadCloser: io.NopCloser(r), Name: "x", Size: int64(len(m.content))}, nil
}

func (m *memAdmin) File(_ context.Context, vmgroup, ref, path string) (hostclient.Download, error) {
	return m.download(m.did("File", vmgroup, ref, path))
}

func (m *memAdmin) Tar(_ context.Context, vmgroup, ref string, paths []string) (hostclient.Download, error) {
	return m.download(m.did("Tar", vmgroup, ref, paths))
}

func (m *memAdmin) Image(_ context.Context, vmgroup, ref string) (hostclient.Download, error) {
	return m.download(m.did("Image", vmgroup, ref))
}

func (m *memAdmin) Policies(_ context.Context, vmgroup string) ([]wire.Policy, error) {
	if vmgroup != "Dev" {
		return nil, m.did("Policies", vmgroup)
	}
	return m.policies, m.did("Policies", vmgroup)
}

func (m *memAdmin) Policy(_ context.Context, vmgroup, name string) (wire.Policy, error) {
	if err := m.did("Policy", vmgroup, name); err != nil {
		return wire.Policy{}, err
	}
	for _, p := range m.policies {
		if vmgroup == "Dev" && p.Name == name {
			return p, nil
		}
	}
	return wire.Policy{}, errkind.New(errkind.NotFound, "Policy %s does not exist in vmgroup %s", name, vmgroup)
}

func (m *memAdmin) CreatePolicy(_ context.Context, vmgroup string, p wire.Policy) (wire.Policy, error) {
	return p, m.did("CreatePolicy", vmgroup, p)
}

func (m *memAdmin) ReplacePolicy(_ context.Context, vmgroup, name string, p wire.Policy) (wire.Policy, error) {
	return p, m.did("ReplacePolicy", vmgroup, name, p)
}

func (m *memAdmin) RemovePolicy(_ context.Context, vmgroup, name string) error {
	return m.did("RemovePolicy", vmgroup, name)
}

func (m *memAdmin) preview(p wire.Policy) wire.PolicyPreview {
	return wire.PolicyPreview{Policy: p, Volumes: []string{"db@fast", "logs@slow"}, Next: []wire.PolicyRun{{Task: "backup", At: at(23, 2)}}, Points: m.decisions}
}

func (m *memAdmin) PreviewPolicy(ctx context.Context, vmgroup, name string) (wire.PolicyPreview, error) {
	if err := m.did("PreviewPolicy", vmgroup, name); err != nil {
		return wire.PolicyPreview{}, err
	}
	p, err := m.Policy(ctx, vmgroup, name)
	return m.preview(p), err
}

func (m *memAdmin) PreviewNew(_ context.Context, vmgroup string, p wire.Policy) (wire.PolicyPreview, error) {
	return wire.PolicyPreview{Policy: p}, m.did("PreviewNew", vmgroup, p)
}

func (m *memAdmin) Prune(_ context.Context, vmgroup string, p wire.Prune) (wire.Pruned, error) {
	if err := m.did("Prune", vmgroup, p); err != nil || vmgroup != "Dev" {
		return wire.Pruned{}, err
	}
	removed := 0
	if !p.DryRun {
		removed = 1
	}
	return wire.Pruned{Decisions: m.decisions, Removed: removed}, nil
}

func (m *memAdmin) Protection(_ context.Context, vmgroup string) ([]wire.Protection, error) {
	if vmgroup != "Dev" {
		return nil, m.did("Protection", vmgroup)
	}
	return m.protection, m.did("Protection", vmgroup)
}

func (m *memAdmin) Alarms(context.Context) ([]wire.Alarm, error) { return m.alarms, m.did("Alarms") }

func (m *memAdmin) GroupAlarms(_ context.Context, vmgroup string) ([]wire.Alarm, error) {
	return m.alarms, m.did("GroupAlarms", vmgroup)
}

var catalogCopies = wire.SelfBackup{
	Configured: true, Place: "directory /mnt/copies", Repository: "r", Every: "24h0m0s", Keep: 14, Next: time.Date(2026, 11, 27, 2, 0, 0, 0, time.UTC),
	Copies: []wire.CatalogCopy{{ID: pid(9), Created: time.Date(2026, 11, 26, 2, 0, 0, 0, time.UTC), Size: 3 << 20, Rows: 1234}},
}

func (m *memAdmin) SelfBackup(context.Context) (wire.SelfBackup, error) {
	return catalogCopies, m.did("SelfBackup")
}

func (m *memAdmin) SelfBackupNow(context.Context) (wire.SelfBackup, error) {
	return catalogCopies, m.did("SelfBackupNow")
}

func (m *memAdmin) SelfBackupKit(context.Context) (wire.Kit, error) {
	return wire.Kit{Text: "the kit of the service\n"}, m.did("SelfBackupKit")
}

func (m *memAdmin) RotateKey(context.Context) (wire.Rotated, error) {
	return wire.Rotated{KeyID: "k2", Resealed: 3}, m.did("RotateKey")
}

func pid(n int) volspec.PointID {
	return volspec.PointID(fmt.Sprintf("40000000-0000-4000-8000-%012d", n))
}

// vault is something of everything that backup shows.
func vault() memBackups {
	gib := int64(volspec.GiB)
	off := false
	return memBackups{
		repositories: []wire.Repository{
			{
				ID: "30000000-0000-4000-8000-000000000001", Name: "main", VMGroup: "Dev", State: "online", Location: wire.Location{Type: "directory", Path: "/srv/backup/dev"},
				Unique: "aabb", Format: "kopia 3, BLAKE3, AES256-GCM", Points: 3, Logical: 9 * gib, UniqueBytes: 5 * gib, Stored: 3 * gib,
				Created: at(1, 1), Checked: at(22, 1), Maintained: at(21, 1), Kit: at(1, 2),
			},
			{
				ID: "30000000-0000-4000-8000-000000000002", Name: "offsite", VMGroup: "Dev", State: "offline", Detail: "connection refused",
				Location: wire.Location{Type: "s3", Endpoint: "s3.example.org", Bucket: "dev", Prefix: "m/"}, Created: at(2, 1), Source: "/etc/mooring/mooring.toml",
			},
			{ID: "30000000-0000-4000-8000-000000000003", Name: "shelf1", State: "prepared", Location: wire.Location{Type: "sftp", Host: "vault", Port: 2222, User: "m", Path: "/b"}},
		},
		points: []wire.Point{
			{
				ID: pid(2), VMGroup: "Dev", Repository: "main", Volume: "db@fast", VolumeID: "10000000-0000-4000-8000-000000000001", Created: at(22, 2),
				State: volspec.Verified, Consistency: volspec.FilesystemConsistent, SizeBytes: gib, DataBytes: gib / 2, ReadBytes: gib / 8, NewBytes: gib / 16,
				StoredBytes: gib / 32, Tracking: "changed extents", StallMS: 1240, FSType: "ext4", VerifiedAt: at(22, 3), Policy: "nightly",
			},
			{
				ID: pid(1), VMGroup: "Dev", Repository: "main", Volume: "db@fast", Created: at(21, 2), State: volspec.Damaged, Consistency: volspec.CrashConsistent, Hold: true,
				SizeBytes: gib, DataBytes: gib / 2, Tracking: "full read: no base", Damage: "128 KiB at 4 MiB cannot be read", CopyOf: pid(9),
			},
		},
		policies: []wire.Policy{
			{
				Name: "nightly", Volumes: []string{"*"}, Exclude: []string{"*-test"}, Repository: "main", Schedule: "02:30", Timezone: "Europe/Berlin", Overlap: "skip", RPO: "26h",
				Consistency: "filesystem", Keep: wire.Keep{Last: 3, Daily: 7, Within: "48h"}, Verify: wire.VerifyPolicy{Schedule: "Sun 06:00", Mode: "sampled", Share: 0.1},
				DrillSched: "monthly", Copy: wire.CopyPolicy{Repository: "offsite", Keep: wire.Keep{Monthly: 12}}, Limit: 50 * volspec.MiB, Priority: 5,
			},
			{Name: "by-name", Enabled: &off, Repository: "main", Source: "/etc/mooring/mooring.toml"},
		},
		protection: []wire.Protection{
			{Volume: "db@fast", Policies: []string{"nightly", "by-name"}, State: "ok", LastPoint: at(22, 2), LastState: "verified", RPOSeconds: 26 * 3600, AgeSeconds: 7200, LastJob: "done"},
			{Volume: "logs@slow", Policies: []string{"nightly"}, State: "late", LastPoint: at(19, 2), LastState: "completed", RPOSeconds: 26 * 3600, AgeSeconds: 4 * 86400, LastJob: "failed", LastProblem: "the datastore is offline"},
			{Volume: "new@fast", State: "unprotected", AgeSeconds: -1},
			{Volume: "cache@fast", Policies: []string{"nightly"}, State: "failed", AgeSeconds: -1, LastJob: "failed", LastProblem: "no room"},
		},
		alarms: []wire.Alarm{{VMGroup: "Dev", Kind: "rpo-missed", Object: "logs@slow", Since: at(20, 4), Detail: "no good recovery point for longer than 26h"}},
		past: []wire.Job{{
			ID: "60000000-0000-4000-8000-000000000001", VMGroup: "Dev", Kind: "backup", Object: "logs@slow", Policy: "nightly", State: "failed", Stage: "snapshot",
			Created: at(22, 2), Begun: at(22, 2), Ended: at(22, 3), Attempts: 2, Error: "the datastore is offline", ErrorKind: "unavailable", Warnings: []string{"frozen for 9s"},
			Steps: []wire.JobStep{{Name: "prepare", Begun: at(22, 2), Ended: at(22, 2)}, {Name: "snapshot", Begun: at(22, 2), Ended: at(22, 3), Error: "the datastore is offline"}},
		}},
		decisions: []wire.KeepDecision{
			{Point: pid(2), Volume: "db@fast", Repository: "main", Created: at(22, 2), Keep: true, Reasons: []string{"last 1", "daily 2017-08-22"}},
			{Point: pid(3), Volume: "db@fast", Repository: "main", Created: at(2, 2), Reasons: []string{"no rule keeps it"}},
		},
		files: []wire.File{
			{Name: "etc", Type: "dir", Mode: 0o1755, ModTime: at(1, 1), Size: 4096},
			{Name: "link", Type: "symlink", Mode: 0o777, ModTime: at(1, 1), Target: "etc/\x1b[31mx"},
			{Name: "su", Type: "file", Mode: 0o4755, UID: 1, GID: 2, Size: 123456, ModTime: at(2, 1)},
			{Name: "odd", Type: "file", Mode: 0o6644, Size: 1, ModTime: at(2, 1)},
		},
		content: "the content",
		script: []wire.Job{
			{State: "running", Stage: "snapshot", Progress: wire.JobProgress{ETASeconds: -1}},
			{State: "running", Stage: "copy", Progress: wire.JobProgress{DoneBytes: gib / 4, TotalBytes: gib, Rate: 100 << 20, ETASeconds: 7}},
			{
				State: "done", Stage: "done", Begun: at(22, 8), Ended: at(22, 8).Add(12 * time.Second), Point: string(pid(7)), Summary: "12 MiB were new",
				Progress: wire.JobProgress{DoneBytes: gib, TotalBytes: gib, ReadBytes: gib / 8, StoredBytes: gib / 32},
			},
		},
	}
}
