package portal

import (
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

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
	r, err := q.repository(kind)
	if err != nil {
		return err
	}
	if _, err := q.api.CreateRepository(q.ctx(), z.Name, r); err != nil {
		return err
	}
	return q.redirect(z.Next, "The repository "+r.Name+" is created.")
}

// repository reads the form for a new repository of a type.
func (q *request) repository(kind string) (wire.CreateRepository, error) {
	r := wire.CreateRepository{Name: q.text("name"), Location: wire.Location{Type: kind}}
	need := func(name string) string {
		v := q.text(name)
		if v == "" {
			q.note(name, "This is needed")
		}
		return v
	}
	need("name")
	l, c := &r.Location, &r.Credentials
	switch kind {
	case "directory":
		l.Path = need("path")
	case "s3":
		l.Endpoint, l.Bucket, l.Prefix, l.Region = need("endpoint"), need("bucket"), q.text("prefix"), q.text("region")
		l.Insecure = q.bool("insecure")
		c.AccessKey, c.SecretKey = need("access_key"), q.secret("secret_key")
	case "sftp":
		l.Host, l.User, l.Path, l.HostKey = need("host"), need("user"), need("path"), need("host_key")
		l.Port = int(q.int("port"))
		c.Password, c.PrivateKey = q.secret("password"), q.secret("private_key")
	default:
		return r, errkind.New(errkind.Invalid, "a repository cannot be of the type %q: choose a folder, S3 or SFTP", kind)
	}
	return r, q.wrong()
}
