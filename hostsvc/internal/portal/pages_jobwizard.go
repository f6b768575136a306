package portal

import (
	"maps"
	"slices"
	"strconv"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/wire"
)

// The steps of the wizard.
const (
	stepWhat = iota
	stepWhere
	stepWhen
	stepKeep
	stepChecks
	stepReview
)

var jobSteps = []struct {
	label  string
	fields []string // that its form shows
}{
	{"What", []string{"name", "volumes", "vms", "patterns", "vm_patterns", "exclude"}},
	{"Where", []string{"repository"}},
	{"When", []string{"when", "time", "days", "hours", "expression", "zone"}},
	{"How long", []string{"last", "hourly", "daily", "weekly", "monthly", "yearly", "within", "rpo", "limit", "priority", "overlap", "off"}},
	{"Checks", []string{"consistency", "verify", "mode", "drill", "copy_to", "copy_when"}},
	{"Review", nil},
}

// hidden is a field that another step shows.
type hidden struct{ Name, Value string }

type jobWizardPage struct {
	draft
	Cancel string
	Edit   string // name of the job that is changed, "" for a new one
	Step   int
	Final  bool
	Steps  []action
	Hidden []hidden

	AllVolumes, AllVMs []string
	Repositories       []wire.Repository
	Copies, AllDays    []option
	Schedules          []option
	Preview            *wire.PolicyPreview
	Words, Steady      string
	Keeps              []string
}

func beginJob(q *request) error {
	d := newDraft(q.zone().String())
	if from := q.text("from"); from != "" {
		p, err := q.api.Policy(q.ctx(), q.tenant(), from)
		if err != nil {
			return err
		}
		d = draftOf(p)
		d.Name = "copy of " + p.Name
	}
	if v := q.text("volume"); v != "" {
		d.Volumes = []string{v}
	}
	return q.jobWizard(d, stepWhat)
}

func beginEdit(q *request) error {
	p, err := q.api.Policy(q.ctx(), q.tenant(), q.path("job"))
	if err != nil {
		return err
	}
	return q.jobWizard(draftOf(p), stepWhat)
}

// stepJob takes the form of a step and shows the next one. A form that is not
// right is shown again.
func stepJob(q *request) error {
	d := q.draft()
	step, err := strconv.Atoi(q.text("step"))
	if err != nil || step < 0 || step > stepReview {
		return errkind.New(errkind.Invalid, "the form is not complete: begin again")
	}
	q.route = q.jobRoute(d, step)
	switch to := q.text("to"); to {
	case "back":
		return q.jobWizard(d, max(step-1, 0))
	case "next":
		if d.check(q, step); q.wrong() != nil {
			return q.wrong()
		}
		if step == stepChecks { // what only the service knows to be wrong
			if _, err := q.api.PreviewNew(q.ctx(), q.tenant(), d.policy(q)); err != nil {
				return err
			}
		}
		return q.jobWizard(d, min(step+1, stepReview))
	case "save":
		return q.saveJob(d)
	}
	return errkind.New(errkind.Invalid, "the form is not complete: begin again")
}

// jobRoute is the route with the step's form as the one that is shown again.
func (q *request) jobRoute(d draft, step int) *route {
	rt := *q.route
	rt.form = func(q *request) error { return q.jobWizard(d, step) }
	return &rt
}

func (q *request) saveJob(d draft) error {
	p := d.policy(q)
	if err := q.wrong(); err != nil {
		return err
	}
	edit := q.path("job")
	if edit == "" {
		made, err := q.api.CreatePolicy(q.ctx(), q.tenant(), p)
		if err != nil {
			return err
		}
		return q.redirect(pathOf("jobs", made.Name), "Job "+made.Name+" is there.")
	}
	if p.Name != edit {
		return errkind.New(errkind.Invalid, "a job keeps its name, since runs and recovery points refer to it: clone it to have another one")
	}
	was, err := q.api.Policy(q.ctx(), q.tenant(), edit)
	if err != nil {
		return err
	}
	if p.Copy.Repository != "" && p.Copy.Repository == was.Copy.Repository {
		p.Copy.Keep = was.Copy.Keep // which the wizard does not show
	}
	if p.Verify.Mode == was.Verify.Mode {
		p.Verify.Share = was.Verify.Share
	}
	if _, err := q.api.ReplacePolicy(q.ctx(), q.tenant(), edit, p); err != nil {
		return err
	}
	return q.redirect(pathOf("jobs", edit), "Job "+edit+" is changed.")
}

// jobWizard shows one step.
func (q *request) jobWizard(d draft, step int) error {
	p := jobWizardPage{draft: d, Cancel: "/jobs", Edit: q.path("job"), Step: step, Final: step == stepReview, Words: d.words(), AllDays: weekdays}
	title := "Create job"
	if p.Edit != "" {
		p.Cancel = pathOf("jobs", p.Edit)
		title = "Edit job " + p.Edit
	}
	for _, s := range jobSteps {
		p.Steps = append(p.Steps, action{Label: s.label})
	}
	fields := d.fields()
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if slices.Contains(jobSteps[step].fields, name) {
			continue
		}
		for _, v := range fields[name] {
			p.Hidden = append(p.Hidden, hidden{name, v})
		}
	}
	if err := q.fillStep(&p, step); err != nil {
		return err
	}
	return q.render("job_wizard", title+": "+jobSteps[step].label, p)
}

// fillStep finds the choices of a step.
func (q *request) fillStep(p *jobWizardPage, step int) (err error) {
	switch step {
	case stepWhat:
		list, err := q.api.Volumes(q.ctx(), hostclient.VolumesQuery{Limit: most})
		if err != nil {
			return err
		}
		vms, err := q.vms()
		if err != nil {
			return err
		}
		p.AllVolumes = names(list.Volumes, func(v wire.Volume) string { return v.Name })
		p.AllVMs = names(vms, func(v vmRow) string { return v.Name })
		p.Volumes, p.Patterns = known(p.Volumes, p.Patterns, p.AllVolumes)
		p.VMs, p.VMPatterns = known(p.VMs, p.VMPatterns, p.AllVMs)
	case stepWhere:
		p.Repositories, err = q.api.GroupRepositories(q.ctx(), q.tenant())
	case stepChecks:
		repos, err := q.api.GroupRepositories(q.ctx(), q.tenant())
		if err != nil {
			return err
		}
		p.Copies = []option{{"", "No copy"}}
		for _, r := range repos {
			if r.Name != p.Repository {
				p.Copies = append(p.Copies, option{r.Name, r.Name})
			}
		}
		p.Schedules = []option{{"", "Never"}, {"daily", "Daily"}, {"weekly", "Weekly, on Monday"}, {"monthly", "Monthly, on the first"}}
		for _, own := range []string{p.Verify, p.Drill, p.CopyWhen} {
			if !slices.ContainsFunc(p.Schedules, func(o option) bool { return o.Value == own }) {
				p.Schedules = append(p.Schedules, option{own, own})
			}
		}
	case stepReview:
		preview, failed := q.api.PreviewNew(q.ctx(), q.tenant(), p.policy(q))
		switch {
		case failed == nil:
			preview.Next = slices.DeleteFunc(preview.Next, func(r wire.PolicyRun) bool { return r.Task != "backup" })
			preview.Next = preview.Next[:min(len(preview.Next), 5)]
			p.Preview, p.Steady, p.Keeps = &preview, p.steady(q), keepWords(preview.Policy.Keep)
		case q.problem == nil: // otherwise what is wrong is shown already
			err = failed
		}
	}
	return err
}

// known ticks the names among patterns, and leaves the rest as it was typed.
func known(ticked []string, typed string, all []string) ([]string, string) {
	var rest []string
	for _, p := range patterns(nil, typed) {
		if i := slices.IndexFunc(all, func(name string) bool { return literal(name) == p }); i >= 0 {
			ticked = append(ticked, all[i])
		} else {
			rest = append(rest, p)
		}
	}
	return ticked, joined(rest)
}

// Ticks tells whether a name is among those that are chosen.
func (p jobWizardPage) Ticks(all []string, name string) bool { return slices.Contains(all, name) }
