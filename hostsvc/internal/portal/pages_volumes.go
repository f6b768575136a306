package portal

import (
	"net/http"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var volumesRoutes = []*route{
	{method: http.MethodGet, path: "/volumes", who: tenants, permission: "volume.read", handle: showVolumes},
	{method: http.MethodGet, path: "/volumes/new", who: tenants, permission: "volume.create", handle: newVolume},
	{method: http.MethodPost, path: "/volumes/new", who: tenants, permission: "volume.create", handle: createVolume},
	{method: http.MethodGet, path: "/volumes/{volume}", who: tenants, permission: "volume.read", handle: showVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/backup", who: tenants, permission: "backup.run", form: showVolume, handle: backupVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/resize", who: tenants, permission: "volume.manage", form: showVolume, handle: resizeVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/settings", who: tenants, permission: "volume.manage", form: showVolume, handle: setVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/snapshots", who: tenants, permission: "volume.manage", form: showVolume, handle: snapshotVolume},
	{method: http.MethodGet, path: "/volumes/{volume}/snapshots/{snapshot}/remove", who: tenants, permission: "volume.manage", handle: askSnapshot},
	{method: http.MethodPost, path: "/volumes/{volume}/snapshots/{snapshot}/remove", who: tenants, permission: "volume.manage", handle: removeSnapshot},
	{method: http.MethodGet, path: "/volumes/{volume}/remove", who: tenants, permission: "volume.remove", handle: askVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/remove", who: tenants, permission: "volume.remove", handle: removeVolume},
	{method: http.MethodPost, path: "/volumes/{volume}/undelete", who: tenants, permission: "volume.manage", handle: undeleteVolume},
}

// most is how many things a list without pages shows.
const most = 2000

// volumeRow is a volume with how it is protected.
type volumeRow struct {
	wire.Volume
	Protection wire.Protection
}

type volumesPage struct {
	Rows                      []volumeRow
	All, Found                int // before filters, and that fit them
	Part                      part
	Search, State, Protection string
}

func showVolumes(q *request) error {
	state := q.text("state")
	if state != string(volspec.Trashed) {
		state = ""
	}
	list, err := q.api.Volumes(q.ctx(), hostclient.VolumesQuery{State: state, Limit: most})
	if err != nil {
		return err
	}
	protection, err := q.protection()
	if err != nil {
		return err
	}
	p := volumesPage{All: len(list.Volumes), Search: q.text("q"), State: state, Protection: q.text("protection")}
	for _, v := range list.Volumes {
		row := volumeRow{v, protection[v.Name]}
		if p.Search != "" && !strings.Contains(strings.ToLower(v.Name), strings.ToLower(p.Search)) ||
			p.Protection != "" && row.Protection.State != p.Protection {
			continue
		}
		p.Rows = append(p.Rows, row)
	}
	p.Found = len(p.Rows)
	p.Rows, p.Part = pageOf(q, p.Rows, func(r volumeRow) string { return r.Name + " " + string(r.ID) })
	return q.render("volumes", "Volumes", p)
}

// protection is that of all volumes and VMs of the tenant, by name; nothing
// where the caller may not see backups.
func (q *request) protection() (map[string]wire.Protection, error) {
	if !q.can("backup.read") {
		return nil, nil
	}
	all, err := q.api.Protection(q.ctx(), q.tenant())
	byName := map[string]wire.Protection{}
	for _, p := range all {
		byName[p.Volume] = p
	}
	return byName, err
}

type newVolumePage struct {
	Datastores, Policies []option
}

func newVolume(q *request) error {
	p := newVolumePage{Datastores: []option{{"", "The tenant's default"}}, Policies: []option{{"", "By the jobs' patterns"}}}
	access, err := q.api.AccessRows(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	for _, a := range access {
		if a.AllowCreate && !strings.HasPrefix(a.Datastore, "_") {
			p.Datastores = append(p.Datastores, option{a.Datastore, a.Datastore})
		}
	}
	p.Policies = append(p.Policies, q.policyOptions()...)
	return q.render("volume_new", "Create volume", p)
}

// policyOptions are the tenant's backup jobs, for a choice. One that cannot be
// read is only missing there.
func (q *request) policyOptions() (out []option) {
	all, err := q.api.Policies(q.ctx(), q.tenant())
	if err != nil {
		return nil
	}
	for _, p := range all {
		out = append(out, option{p.Name, p.Name})
	}
	return out
}

func createVolume(q *request) error {
	name, size := q.text("name"), q.size("size")
	if name == "" {
		q.note("name", "A volume needs a name")
	}
	if size == 0 && q.fields["size"] == "" {
		q.note("size", "Write a size with its unit, such as 10gb")
	}
	if err := q.wrong(); err != nil {
		return err
	}
	options := map[string]string{"size": size.Option()}
	for field, option := range map[string]string{"datastore": "datastore", "policy": "backup-policy", "fstype": "fstype", "access": "access"} {
		if v := q.text(field); v != "" {
			options[option] = v
		}
	}
	if q.bool("protect") {
		options["protect"] = "true"
	}
	v, err := q.api.CreateVolume(q.ctx(), q.tenant(), wire.CreateVolume{Name: name, Options: options})
	if err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", v.Name), "Volume "+v.Name+" is there.")
}

type volumePage struct {
	wire.Volume
	Protection wire.Protection
	Snapshots  []wire.Snapshot
	Points     []wire.Point
	Line       timelineChart
	Policies   []option
}

func showVolume(q *request) error {
	v, err := q.api.Volume(q.ctx(), q.tenant(), q.path("volume"))
	if err != nil {
		return err
	}
	p := volumePage{Volume: v, Policies: append([]option{{"", "By the jobs' patterns"}}, q.policyOptions()...)}
	if v.State == volspec.Ready {
		if p.Snapshots, err = q.api.Snapshots(q.ctx(), q.tenant(), v.Name); err != nil {
			return err
		}
	}
	if q.can("backup.read") {
		protection, err := q.protection()
		if err != nil {
			return err
		}
		p.Protection = protection[v.Name]
		points, err := q.api.Points(q.ctx(), q.tenant(), hostclient.PointsQuery{Volume: v.Name, Limit: 200})
		if err != nil {
			return err
		}
		p.Line = q.timeline(points.Points)
		p.Points = points.Points[:min(len(points.Points), 10)]
	}
	return q.render("volume", "Volume "+v.Name, p)
}

func backupVolume(q *request) error {
	return q.backUp(wire.RunBackup{Volumes: []string{q.path("volume")}})
}

// backUp begins a backup and leads to its job, or to all if there are more.
func (q *request) backUp(r wire.RunBackup) error {
	r.Repository, r.Full = q.text("repository"), q.bool("full")
	jobs, err := q.api.Backup(q.ctx(), q.tenant(), r)
	return q.allBegun(jobs, err, "The backup has begun.")
}

func resizeVolume(q *request) error {
	size := q.size("size")
	if size == 0 && q.fields["size"] == "" {
		q.note("size", "Write a size with its unit, such as 20gb")
	}
	if err := q.wrong(); err != nil {
		return err
	}
	v, err := q.api.ResizeVolume(q.ctx(), q.tenant(), q.path("volume"), wire.Resize{Size: size})
	if err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", v.Name), "The volume has "+bytesText(v.SizeBytes)+" now.")
}

func setVolume(q *request) error {
	protect, policy := q.bool("protect"), q.text("policy")
	v, err := q.api.SetVolume(q.ctx(), q.tenant(), q.path("volume"), wire.SetVolume{Protect: &protect, BackupPolicy: &policy})
	if err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", v.Name), "The settings are saved.")
}

func snapshotVolume(q *request) error {
	name := q.text("snapshot")
	if name == "" {
		q.note("snapshot", "A snapshot needs a name")
		return q.wrong()
	}
	if _, err := q.api.CreateSnapshot(q.ctx(), q.tenant(), q.path("volume"), wire.CreateSnapshot{Name: name}); err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", q.path("volume")), "Snapshot "+name+" is there.")
}

func (q *request) volumeCrumbs() []action {
	return []action{{Label: "Volumes", URL: "/volumes"}, {Label: q.path("volume"), URL: pathOf("volumes", q.path("volume"))}}
}

func askSnapshot(q *request) error {
	return q.ask(confirm{
		Title: "Delete snapshot " + q.path("snapshot"), Crumbs: q.volumeCrumbs(), Button: "Delete snapshot",
		Effects: []string{"The frozen state is gone for good.", "The volume itself, its other snapshots and its recovery points stay."},
		Back:    pathOf("volumes", q.path("volume")),
	})
}

func removeSnapshot(q *request) error {
	if err := q.api.DeleteSnapshot(q.ctx(), q.tenant(), q.path("volume"), q.path("snapshot")); err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", q.path("volume")), "Snapshot "+q.path("snapshot")+" is deleted.")
}

func askVolume(q *request) error {
	v, err := q.api.Volume(q.ctx(), q.tenant(), q.path("volume"))
	if err != nil {
		return err
	}
	c := confirm{
		Title: "Remove volume " + v.Name, Crumbs: q.volumeCrumbs(), Back: pathOf("volumes", q.path("volume")),
		Button:  "Move to the trash",
		Effects: []string{"The volume goes to the trash, from which it can be brought back until its time there ends.", "Its recovery points stay."},
	}
	if v.State == volspec.Trashed {
		c.Title, c.Button, c.Type, c.Fields = "Destroy volume "+v.Name, "Destroy volume", v.Volume, map[string]string{"purge": "yes"}
		c.Effects = []string{"Its content and its snapshots are gone for good.", "Its recovery points stay, and it can be restored from them."}
	}
	return q.ask(c)
}

func removeVolume(q *request) error {
	name, purge := q.path("volume"), q.bool("purge")
	if purge {
		v, err := q.api.Volume(q.ctx(), q.tenant(), name)
		if err != nil {
			return err
		}
		if !q.confirmed(v.Volume) {
			return q.wrong()
		}
	}
	if err := q.api.RemoveVolume(q.ctx(), q.tenant(), name, purge); err != nil {
		return err
	}
	if purge {
		return q.redirect("/volumes?state=trashed", "The volume is destroyed.")
	}
	return q.redirect("/volumes", "Volume "+name+" is in the trash.")
}

func undeleteVolume(q *request) error {
	v, err := q.api.UndeleteVolume(q.ctx(), q.tenant(), q.path("volume"), wire.Undelete{NewName: q.text("name")})
	if errkind.Is(err, errkind.Exists) {
		return errkind.Wrap(errkind.Exists, err, "a volume of this name is there again: rename or remove that one first")
	}
	if err != nil {
		return err
	}
	return q.redirect(pathOf("volumes", v.Name), "Volume "+v.Name+" is back.")
}

// names are the short names of volumes or VMs, sorted, for choices.
func names[T any](all []T, name func(T) string) []string {
	out := make([]string, 0, len(all))
	for _, x := range all {
		out = append(out, name(x))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
