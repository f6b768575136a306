package portal_test

import (
	"net/url"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// data are a tenant's things, all of which have name in every word that a tenant
// chooses.
func (w *world) fillData(name string) {
	now := time.Now().UTC().Truncate(time.Second)
	vol := name + "@fast"
	ago := func(h int) time.Time { return now.Add(-time.Duration(h) * time.Hour) }
	point := func(id, of string, h int, s volspec.PointState) wire.Point {
		return wire.Point{ID: volspec.PointID(id), Kind: "volume", VMGroup: "acme", Repository: name, Volume: of, Created: ago(h), State: s, Consistency: "filesystem",
			SizeBytes: 10 << 30, DataBytes: 4 << 30, StoredBytes: 200 << 20, Policy: name, FSType: "ext4", Tracking: "changed blocks", VerifiedAt: ago(h - 1)}
	}
	bad := point("p3", vol, 72, volspec.Damaged)
	bad.Damage, bad.Hold = "2 blocks are lost: "+name, true
	whole := point("p4", "vm/"+name, 5, volspec.Proven)
	whole.Kind, whole.VM = "vm", name
	whole.Disks = []wire.PointDisk{{Key: "1", Label: name, SizeBytes: 1 << 30, Point: "p5", State: "verified"}, {Key: "2", Label: "data", State: "left-out", Damage: "independent disk"}}
	points := []wire.Point{point("p1", vol, 1, volspec.Completed), whole, point("p2", vol, 25, volspec.Proven), bad}
	v := wire.Volume{ID: "v1", Name: vol, Volume: name, Datastore: "fast", VMGroup: "acme", State: volspec.Ready, Format: volspec.Formatted, SizeBytes: 10 << 30, UsedBytes: 3 << 30,
		Spec: volspec.Spec{FSType: "ext4", BackupPolicy: name}, Created: ago(500), CreatedBy: name, AttachedTo: name, AttachState: "attached", Snapshots: 1, Health: "the filesystem is smaller: " + name}
	gone := v
	gone.State, gone.TrashedAt, gone.PurgeAfter, gone.AttachedTo = volspec.Trashed, ago(2), now.Add(time.Hour), ""
	policy := wire.Policy{Name: name, VMGroup: "acme", Volumes: []string{name, "*"}, VMs: []string{name}, Exclude: []string{"x" + name}, Repository: name, Schedule: "01:30", Timezone: "Europe/Berlin",
		RPO: "26h", Overlap: "skip", Consistency: "filesystem", Keep: wire.Keep{Daily: 7, Weekly: 4, Within: "48h"}, Verify: wire.VerifyPolicy{Schedule: "weekly", Mode: "full"},
		Copy: wire.CopyPolicy{Repository: name + "2", Schedule: "daily"}, Limit: 20 << 20, Priority: 3}
	preview := wire.PolicyPreview{Policy: policy, Volumes: []string{vol}, VMs: []string{name}, Next: []wire.PolicyRun{{Task: "backup", At: now.Add(time.Hour)}},
		Points: []wire.KeepDecision{{Point: "p1", Volume: vol, Repository: name, Created: ago(1), Keep: true, Reasons: []string{"daily: " + name}}, {Point: "p2", Volume: vol, Created: ago(25)}}}
	job := wire.Job{ID: "j1", VMGroup: "acme", Kind: "backup", Object: vol, Policy: name, State: "running", Stage: "write", Created: ago(1), Begun: ago(1),
		Progress: wire.JobProgress{DoneBytes: 1 << 30, TotalBytes: 4 << 30, Rate: 30 << 20, ETASeconds: 100}, Steps: []wire.JobStep{{Name: "snapshot", Begun: ago(1), Ended: now, Error: name}, {Name: "write", Begun: now}}}
	failed := job
	failed.ID, failed.State, failed.Ended, failed.Error, failed.Warnings, failed.ResultJSON, failed.Point = "j2", "failed", now, "step write: "+name, []string{name}, `{"summary":"`+jsonText(name)+`","jobs":["j1"]}`, "p1"
	runs := []wire.Run{{Time: ago(30), Ended: ago(29), VMGroup: "acme", Policy: name, Task: "backup", State: "done", Job: "j2"}, {Time: ago(6), VMGroup: "acme", Policy: name, Task: "backup", State: "missed"},
		{Time: ago(1), VMGroup: "acme", Task: "restore", Object: name, State: "running", Job: "j1"}, {Time: now.Add(time.Hour), VMGroup: "acme", Policy: name, Task: "drill", State: "due"}}
	repo := wire.Repository{ID: "r1", Name: name, VMGroup: "acme", State: "online", Detail: name, Location: wire.Location{Type: "s3", Endpoint: "s3.example", Bucket: name, Prefix: name}, Points: 4, Logical: 40 << 30, Stored: 2 << 30, Created: ago(900), Checked: ago(1)}
	other := wire.Repository{ID: "r2", Name: name + "2", State: "offline", Location: wire.Location{Type: "sftp", Host: "h", User: name, Path: name}, Kit: now}
	vm := wire.VM{ID: "m1", Name: name, VMGroup: "acme", Power: "on", Attached: 1, LastSeen: now, Plugin: "1.0"}
	files := wire.FileList{Files: []wire.File{{Name: name, Type: "file", Size: 10, Mode: 0o644, ModTime: now}, {Name: "d" + name, Type: "dir", Mode: 0o755}, {Name: "l", Type: "symlink", Target: name}}, Next: name}
	protection := []wire.Protection{{Volume: vol, VolumeID: "v1", Policies: []string{name}, State: "failed", LastPoint: ago(1), LastProblem: name}, {Volume: "vm/" + name, VMID: "m1", State: "ok", LastPoint: ago(5)}}
	found := []wire.Found{}
	for _, k := range []string{"vmgroup", "volume", "vm", "policy", "repository", "point", "job", "user"} {
		found = append(found, wire.Found{Kind: k, VMGroup: "acme", Name: name, Detail: name})
	}
	p := func(segments ...string) string {
		out := "GET /vmgroups/acme"
		for _, s := range segments {
			out += "/" + s
		}
		return out
	}
	for path, a := range map[string]any{
		"GET /volumes": wire.VolumeList{Volumes: []wire.Volume{v, gone}}, p("protection"): protection, p("policies"): []wire.Policy{policy}, p("access"): []wire.Access{{Datastore: "fast", AllowCreate: true}, {Datastore: "_ALL", AllowCreate: true}},
		p("volumes", vol): v, p("volumes", "v1"): gone, p("volumes", vol, "snapshots"): []wire.Snapshot{{ID: "s1", Name: name, Created: ago(3), Size: 1 << 20}},
		p("points"): wire.PointList{Points: points, Next: name}, p("points", "p1"): points[0], p("points", "p4"): whole, p("points", "p3"): bad, p("points", "p1", "files"): files,
		p("vms"): []wire.VM{vm}, p("folders"): []wire.Folder{{Folder: volspec.Folder("/dc/" + name), VMs: []wire.VM{{ID: "m2", Name: name + "2", Power: "off"}}}},
		p("policies", name): policy, p("policies", name, "preview"): preview, "POST /vmgroups/acme/policy-preview": preview,
		"GET /calendar": wire.Calendar{Runs: runs, More: true}, "GET /jobs": wire.JobList{Jobs: []wire.Job{job, failed}, Next: name}, p("jobs"): wire.JobList{Jobs: []wire.Job{job, failed}, Next: name},
		p("jobs", "j1"): job, p("jobs", "j2"): failed, p("repositories"): []wire.Repository{repo, other}, "GET /repositories": []wire.Repository{repo, other},
		p("repositories", name): repo, p("repositories", name+"2"): other, p("backup-usage"): wire.BackupUsage{VMGroup: "acme", Stored: 3 << 30, MaxStored: 4 << 30, Reserved: 1}, "GET /search": found,
	} {
		w.answers[path] = a
	}
}

func jsonText(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }

// segment is a name in an address.
func segment(name string) string { return url.PathEscape(name) }

// dataPages are the addresses of all pages about a tenant's things.
func dataPages(name string) []string {
	n, v := segment(name), segment(name+"@fast")
	return []string{
		"/volumes", "/volumes?q=zzz", "/volumes?protection=failed", "/volumes?state=trashed", "/volumes/new", "/volumes/" + v, "/volumes/v1", "/volumes/" + v + "/remove", "/volumes/v1/remove", "/volumes/" + v + "/snapshots/" + n + "/remove",
		"/vms", "/vms?q=zzz", "/vms/" + n, "/jobs", "/jobs/new", "/jobs/new?from=" + url.QueryEscape(name), "/jobs/" + n, "/jobs/" + n + "/edit", "/jobs/" + n + "/remove",
		"/calendar", "/calendar?view=week", "/calendar?view=table&date=2026-03-29", "/calendar?policy=" + url.QueryEscape(name), "/activities", "/activities?state=failed&after=x", "/activities/j1", "/activities/j2",
		"/points", "/points?of=" + url.QueryEscape(name), "/points/p1", "/points/p3", "/points/p4", "/points/p1/delete", "/points/p3/delete",
		"/recover", "/recover?of=" + url.QueryEscape(name), "/recover/p1", "/recover/p4", "/recover/p1/files", "/recover/p1/files?path=" + url.QueryEscape("/"+name+"/b"),
		"/repositories", "/repositories/new", "/repositories/new?type=s3", "/repositories/new?type=sftp", "/repositories/new?attach=yes", "/repositories/new?attach=yes&type=sftp", "/repositories/" + n, "/repositories/" + segment(name+"2"), "/repositories/" + n + "/kit", "/repositories/" + n + "/detach",
		"/search", "/search?q=" + url.QueryEscape(name),
	}
}
