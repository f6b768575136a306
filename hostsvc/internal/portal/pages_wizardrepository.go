package portal

import "mooring.dev/mooring/pkg/wire"

// repositoriesPage is the data of setup_repositories.html. Kind is the form that
// is shown: directory, s3, sftp or prepared.
type repositoriesPage struct {
	setup
	Repositories []wire.Repository
	Prepared     []wire.Repository
	Kind         string
	Kinds        []action
}

func setupRepositories(q *request) error {
	z, err := q.setup(2)
	if err != nil {
		return err
	}
	p := repositoriesPage{setup: z, Kind: q.text("kind")}
	if p.Repositories, err = q.api.GroupRepositories(q.ctx(), z.Name); err != nil {
		return err
	}
	all, err := q.api.Repositories(q.ctx(), "")
	if err != nil {
		return err
	}
	for _, r := range all {
		if r.VMGroup == "" {
			p.Prepared = append(p.Prepared, r)
		}
	}
	here := z.Steps[2].URL
	p.Action = here
	for _, k := range []struct{ kind, label string }{{"directory", "New: folder"}, {"s3", "New: S3"}, {"sftp", "New: SFTP"}, {"prepared", "Existing"}} {
		p.Kinds = append(p.Kinds, action{Label: k.label, URL: here + "?kind=" + k.kind})
		if p.Kind == k.kind {
			p.Action = here + "?kind=" + k.kind
		}
	}
	if p.Action == here {
		p.Kind, p.Action = "directory", here+"?kind=directory"
	}
	return q.render("setup_repositories", "Repositories of "+z.Name, p)
}

func saveRepository(q *request) error {
	z, err := q.setup(2)
	if err != nil {
		return err
	}
	kind := q.text("kind")
	if kind == "prepared" {
		name := q.text("prepared")
		if name == "" {
			q.note("prepared", "Choose a repository")
			return q.wrong()
		}
		if _, err := q.api.AssignRepository(q.ctx(), name, wire.Assign{VMGroup: z.Name}); err != nil {
			return err
		}
		return q.redirect(z.Next, "The repository "+name+" belongs to "+z.Name+" now.")
	}
	r := wire.CreateRepository{Name: q.text("name")}
	if r.Name == "" {
		q.note("name", "A repository needs a name")
	}
	if r.Location, r.Credentials, err = q.location(kind); err != nil {
		return err
	}
	if err := q.wrong(); err != nil {
		return err
	}
	if _, err := q.api.CreateRepository(q.ctx(), z.Name, r); err != nil {
		return err
	}
	return q.redirect(z.Next, "The repository "+r.Name+" is created.")
}
