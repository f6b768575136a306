package portal

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

var recoveryRoutes = []*route{
	{method: http.MethodGet, path: "/recover", who: tenants, permission: "backup.content", handle: chooseRecovery},
	{method: http.MethodGet, path: "/recover/{point}", who: tenants, permission: "backup.restore", handle: showTarget},
	{method: http.MethodPost, path: "/recover/{point}", who: tenants, permission: "backup.restore", handle: reviewRecovery},
	{method: http.MethodPost, path: "/recover/{point}/begin", who: tenants, permission: "backup.restore", form: reviewAgain, handle: beginRecovery},
	{method: http.MethodGet, path: "/recover/{point}/files", who: tenants, permission: "backup.content", handle: showFiles},
	{method: http.MethodGet, path: "/recover/{point}/file", who: tenants, permission: "backup.content", handle: sendFile},
	{method: http.MethodGet, path: "/recover/{point}/tar", who: tenants, permission: "backup.content", handle: sendTar},
}

// recoverySteps are shown on all pages of a recovery.
var recoverySteps = []action{{Label: "What"}, {Label: "Which point"}, {Label: "How"}, {Label: "Review"}}

type choosePage struct {
	Steps  []action
	Step   int
	Of     string
	Lanes  []lane
	Points []wire.Point
	Line   timelineChart
	Next   string
	First  bool
}

// chooseRecovery asks what to recover, then from which point.
func chooseRecovery(q *request) error {
	p := choosePage{Steps: recoverySteps, Of: q.text("of"), First: q.text("after") != ""}
	limit := 1000
	if p.Of != "" {
		p.Step, limit = 1, 50
	}
	list, err := q.api.Points(q.ctx(), q.tenant(), hostclient.PointsQuery{Volume: p.Of, After: q.text("after"), Limit: limit})
	if err != nil {
		return err
	}
	p.Points, p.Next = list.Points, list.Next
	if p.Of == "" {
		p.Lanes = q.lanes(list.Points)
	} else {
		p.Line = q.timeline(list.Points)
	}
	return q.render("recover", "Recover", p)
}

type targetPage struct {
	wire.Point
	Steps      []action
	Step       int
	Whole      bool // a VM
	InPlace    bool // may it go where it was
	Datastores []option
	Parts      []option // what of a VM can be brought back
	Name       string
}

// target finds what a recovery can do with a point.
func (q *request) target() (targetPage, error) {
	pt, err := q.api.Point(q.ctx(), q.tenant(), q.path("point"))
	if err != nil {
		return targetPage{}, err
	}
	p := targetPage{Point: pt, Steps: recoverySteps, Step: 2, Whole: pt.Kind == "vm", InPlace: q.can("backup.manage"), Datastores: []option{{"", "Where it was"}}}
	name := p.Bare()
	if before, _, found := strings.Cut(name, "@"); found && !p.Whole {
		name = before
	}
	p.Name = name + "-restored"
	if p.Whole {
		p.Parts = []option{{"", "The whole VM"}}
		for _, d := range pt.Disks {
			if d.Point != "" {
				p.Parts = append(p.Parts, option{d.Key, d.Label + " (" + bytesText(d.SizeBytes) + ")"})
			}
		}
	}
	access, err := q.api.AccessRows(q.ctx(), q.tenant())
	if err != nil {
		return p, err
	}
	for _, a := range access {
		if a.AllowCreate && !strings.HasPrefix(a.Datastore, "_") {
			p.Datastores = append(p.Datastores, option{a.Datastore, a.Datastore})
		}
	}
	return p, nil
}

func showTarget(q *request) error {
	p, err := q.target()
	if err != nil {
		return err
	}
	return q.render("recover_target", "Recover "+p.Volume, p)
}

type reviewPage struct {
	targetPage
	How, NewName, Datastore string
	Disk                    string // key of the only one that is brought back
	Effects                 []string
}

// recovery reads the form of how to recover.
func (q *request) recovery(p targetPage) wire.RunRestore {
	r := wire.RunRestore{}
	if p.Whole {
		if r.Disk = q.text("disk"); r.Disk != "" && p.part(r.Disk) == "" {
			q.note("disk", "The point does not hold this disk")
		}
	}
	switch q.text("how") {
	case "new":
		if r.Name = q.text("name"); r.Name == "" {
			q.note("name", "It needs a name")
		}
		if d := q.text("datastore"); p.Whole && r.Disk == "" {
			r.Datastore = d
		} else if d != "" {
			r.Options = map[string]string{"datastore": d}
		}
	case "in-place":
		r.InPlace = true
	default:
		q.note("how", "Choose how to recover")
	}
	return r
}

// reviewRecovery says what will be done, before it is.
func reviewRecovery(q *request) error {
	p, err := q.target()
	if err != nil {
		return err
	}
	r := q.recovery(p)
	if err := q.wrong(); err != nil {
		return err
	}
	return q.review(p, r)
}

// reviewAgain shows the review of a recovery that did not begin, or where it
// does not say how to recover, the form for that.
func reviewAgain(q *request) error {
	p, err := q.target()
	if err != nil {
		return err
	}
	r := q.recovery(p)
	if !r.InPlace && r.Name == "" {
		return showTarget(q)
	}
	return q.review(p, r)
}

func (q *request) review(p targetPage, r wire.RunRestore) error {
	out := reviewPage{targetPage: p, How: q.text("how"), NewName: r.Name, Datastore: q.text("datastore"), Disk: r.Disk}
	out.Step = 3
	what, name := "volume", p.Volume
	if p.Whole {
		what, name = "VM", p.Bare()
	}
	if !r.InPlace && r.Disk != "" {
		out.Effects = []string{"A new volume " + r.Name + " is made from disk " + p.part(r.Disk) + " of the point; VM " + name + " stays as it is."}
		return q.render("recover_review", "Recover "+p.Volume, out)
	}
	if !r.InPlace {
		out.Effects = []string{"A new " + what + " " + r.Name + " is made from the point; " + what + " " + name + " stays as it is.", "It takes " + bytesText(p.SizeBytes) + " at most."}
		if p.Whole {
			out.Effects = append(out.Effects, "The new VM is powered off.")
		}
		return q.render("recover_review", "Recover "+p.Volume, out)
	}
	out.Effects = []string{
		"Everything that was written to " + what + " " + name + " after " + p.Created.In(q.zone()).Format("2 January 2006, 15:04") + " is replaced.",
		"The present content is kept as a snapshot, as far as the datastore can, until you remove it.",
	}
	if p.Whole {
		out.Effects[1] = "The VM has to be powered off, and all of its disks that the point holds are replaced. What they hold now is kept as files."
		if r.Disk != "" {
			out.Effects[0] = "Everything that was written to disk " + p.part(r.Disk) + " of VM " + name + " after " + p.Created.In(q.zone()).Format("2 January 2006, 15:04") + " is replaced."
			out.Effects[1] = "The VM has to be powered off. Its other disks stay as they are. What the disk holds now is kept as a file."
		}
	} else {
		out.Effects = append(out.Effects, "The volume must not be attached to a VM meanwhile.")
	}
	return q.render("recover_review", "Recover "+p.Volume, out)
}

func beginRecovery(q *request) error {
	p, err := q.target()
	if err != nil {
		return err
	}
	r := q.recovery(p)
	if r.InPlace {
		q.confirmed(p.Bare())
	}
	if err := q.wrong(); err != nil {
		return err
	}
	j, err := q.api.RestorePoint(q.ctx(), q.tenant(), string(p.ID), r)
	return q.begun(j, err, "The recovery has begun.")
}

type filesPage struct {
	Point       string
	Of          string
	Path        string
	Crumbs      []action
	Files       []wire.File
	Next        string
	First       bool
	Dir         string // with a slash at its end
	Unsupported string
}

// filesShown is how many entries of a folder one page has.
const filesShown = 200

func showFiles(q *request) error {
	dir := path.Clean("/" + q.r.FormValue("path"))
	pt, err := q.api.Point(q.ctx(), q.tenant(), q.path("point"))
	if err != nil {
		return err
	}
	p := filesPage{Point: string(pt.ID), Of: pt.Volume, Path: dir, Dir: strings.TrimSuffix(dir, "/") + "/", First: q.text("after") != ""}
	at := func(dir string) string {
		return withQuery(pathOf("recover", pt.ID, "files"), url.Values{"path": {dir}})
	}
	p.Crumbs = []action{{Label: "/", URL: at("/")}}
	walked := ""
	for part := range strings.SplitSeq(strings.Trim(dir, "/"), "/") {
		if part != "" {
			walked += "/" + part
			p.Crumbs = append(p.Crumbs, action{Label: part, URL: at(walked)})
		}
	}
	list, err := q.api.Files(q.ctx(), q.tenant(), string(pt.ID), dir, q.r.FormValue("after"), filesShown)
	if errkind.Is(err, errkind.Unsupported) {
		p.Unsupported = errkind.Text(err)
		return q.render("files", "Files of "+pt.Volume, p)
	}
	if err != nil {
		return err
	}
	p.Files, p.Next = list.Files, list.Next
	return q.render("files", "Files of "+pt.Volume, p)
}

func sendFile(q *request) error {
	d, err := q.api.File(q.ctx(), q.tenant(), q.path("point"), q.r.FormValue("path"))
	if err != nil {
		return err
	}
	return q.send(d.Name, d)
}

func sendTar(q *request) error {
	d, err := q.api.Tar(q.ctx(), q.tenant(), q.path("point"), q.list("path"))
	if err != nil {
		return err
	}
	return q.send(d.Name, d)
}

// Bare is the name that has to be typed before something is replaced.
func (p targetPage) Bare() string { return strings.TrimPrefix(p.Volume, vmPrefix) }

// part is what people call a disk of a VM by its key, "" if the point does not
// hold it.
func (p targetPage) part(key string) string {
	for _, o := range p.Parts {
		if o.Value == key && key != "" {
			return o.Label
		}
	}
	return ""
}
