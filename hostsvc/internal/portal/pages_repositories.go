package portal

import (
	"net/http"
	"slices"

	"mooring.dev/mooring/pkg/wire"
)

var repositoriesRoutes = []*route{
	{method: http.MethodGet, path: "/repositories", who: everyUser, permission: "backup.read", handle: showRepositories},
	{method: http.MethodGet, path: "/repositories/new", who: tenants, permission: "backup.manage", handle: newRepository},
	{method: http.MethodPost, path: "/repositories/new", who: tenants, permission: "backup.manage", handle: createRepository},
	{method: http.MethodGet, path: "/repositories/{repository}", who: tenants, permission: "backup.read", handle: showRepository},
	{method: http.MethodPost, path: "/repositories/{repository}/check", who: tenants, permission: "backup.run", form: showRepository, handle: checkRepository},
	{method: http.MethodPost, path: "/repositories/{repository}/credentials", who: tenants, permission: "backup.manage", form: showRepository, handle: setCredentials},
	{method: http.MethodGet, path: "/repositories/{repository}/kit", who: tenants, permission: "backup.manage", handle: askKit},
	{method: http.MethodPost, path: "/repositories/{repository}/kit", who: tenants, permission: "backup.manage", handle: sendKit},
	{method: http.MethodGet, path: "/repositories/{repository}/detach", who: tenants, permission: "backup.manage", handle: askDetach},
	{method: http.MethodPost, path: "/repositories/{repository}/detach", who: tenants, permission: "backup.manage", handle: detachRepository},
}

type repositoryListPage struct {
	Repositories []wire.Repository
	Usage        wire.BackupUsage
	Group        bool
}

func showRepositories(q *request) error {
	p := repositoryListPage{Group: q.tenant() == ""}
	var err error
	if p.Group {
		p.Repositories, err = q.api.Repositories(q.ctx(), "")
		if err != nil {
			return err
		}
		return q.render("repositories", "Repositories", p)
	}
	if p.Repositories, err = q.api.GroupRepositories(q.ctx(), q.tenant()); err != nil {
		return err
	}
	if p.Usage, err = q.api.BackupUsage(q.ctx(), q.tenant()); err != nil {
		return err
	}
	return q.render("repositories", "Repositories", p)
}

type newRepositoryPage struct {
	Attach bool
	Kind   string
	Kinds  []action
	URL    string // of the kind that is shown
}

// placeKinds are the kinds of places; a recovery kit says it by itself.
var placeKinds = []option{{"kit", "Recovery kit"}, {"directory", "Folder"}, {"s3", "Object store"}, {"sftp", "SFTP server"}}

func newRepository(q *request) error {
	p := newRepositoryPage{Attach: q.bool("attach"), Kind: q.text("type")}
	kinds, more, title := placeKinds, "&attach=yes", "Attach repository"
	if !p.Attach {
		kinds, more, title = placeKinds[1:], "", "Create repository"
	}
	if !slices.ContainsFunc(kinds, func(k option) bool { return k.Value == p.Kind }) {
		p.Kind = kinds[0].Value
	}
	for _, k := range kinds {
		p.Kinds = append(p.Kinds, action{Label: k.Label, URL: "/repositories/new?type=" + k.Value + more})
	}
	p.URL = "/repositories/new?type=" + p.Kind + more
	return q.render("repository_new", title, p)
}

// location reads where a repository lies, and what opens that place.
func (q *request) location() (l wire.Location, c wire.Credentials) {
	l.Type = q.text("type")
	need := func(field, value, what string) {
		if value == "" {
			q.note(field, "%s", what)
		}
	}
	switch l.Type {
	case "directory":
		l.Path = q.text("dir_path")
		need("dir_path", l.Path, "Write the folder on the service's machine")
	case "s3":
		l.Endpoint, l.Region, l.Bucket, l.Prefix, l.Insecure = q.text("endpoint"), q.text("region"), q.text("bucket"), q.text("prefix"), q.bool("insecure")
		need("endpoint", l.Endpoint, "Write the host of the object store")
		need("bucket", l.Bucket, "Write the bucket")
		c.AccessKey, c.SecretKey, c.SessionToken = q.text("access_key"), q.secret("secret_key"), q.secret("session_token")
	case "sftp":
		l.Host, l.Port, l.User, l.Path, l.HostKey = q.text("host"), int(min(q.int("port"), 65536)), q.text("sftp_user"), q.text("sftp_path"), q.text("host_key")
		need("host", l.Host, "Write the host")
		need("sftp_user", l.User, "Write the user")
		c.Password, c.PrivateKey = q.secret("sftp_password"), q.secret("private_key")
	default:
		q.note("type", "Choose the kind of place")
	}
	return l, c
}

func createRepository(q *request) error {
	r := wire.CreateRepository{Name: q.text("name"), Attach: q.bool("attach")}
	if r.Name == "" {
		q.note("name", "A repository needs a name")
	}
	if q.text("type") == "kit" {
		if r.Kit = q.secret("kit"); r.Kit == "" {
			q.note("kit", "Write the whole text of the recovery kit")
		}
	} else {
		r.Location, r.Credentials = q.location()
		r.Key = q.secret("key")
	}
	if err := q.wrong(); err != nil {
		return err
	}
	made, err := q.api.CreateRepository(q.ctx(), q.tenant(), r)
	if err != nil {
		return err
	}
	if r.Attach {
		return q.redirect(pathOf("repositories", made.Name), "Repository "+made.Name+" is attached; its recovery points are there.")
	}
	return q.redirect(pathOf("repositories", made.Name), "Repository "+made.Name+" is there. Download its recovery kit now and keep it elsewhere.")
}

type repositoryPage struct {
	wire.Repository
	Usage wire.BackupUsage
	Jobs  []string // that use it
}

func showRepository(q *request) error {
	r, err := q.api.Repository(q.ctx(), q.tenant(), q.path("repository"))
	if err != nil {
		return err
	}
	p := repositoryPage{Repository: r}
	policies, err := q.api.Policies(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	for _, pol := range policies {
		if pol.Repository == r.Name || pol.Copy.Repository == r.Name {
			p.Jobs = append(p.Jobs, pol.Name)
		}
	}
	if p.Usage, err = q.api.BackupUsage(q.ctx(), q.tenant()); err != nil {
		return err
	}
	return q.render("repository", "Repository "+r.Name, p)
}

func checkRepository(q *request) error {
	r, err := q.api.CheckRepository(q.ctx(), q.tenant(), q.path("repository"))
	if err != nil {
		return err
	}
	return q.redirect(pathOf("repositories", r.Name), "It was looked at: "+stateOf(r.State).Label+".")
}

func setCredentials(q *request) error {
	c := wire.Credentials{AccessKey: q.text("access_key"), SecretKey: q.secret("secret_key"), SessionToken: q.secret("session_token"), PrivateKey: q.secret("private_key"), Password: q.secret("sftp_password")}
	r, err := q.api.SetCredentials(q.ctx(), q.tenant(), q.path("repository"), c)
	if err != nil {
		return err
	}
	return q.redirect(pathOf("repositories", r.Name), "The credentials are changed.")
}

func (q *request) repositoryCrumbs() []action {
	name := q.path("repository")
	return []action{{Label: "Repositories", URL: "/repositories"}, {Label: name, URL: pathOf("repositories", name)}}
}

func askKit(q *request) error {
	name := q.path("repository")
	return q.ask(confirm{
		Title: "Download the recovery kit of " + name, Crumbs: q.repositoryCrumbs(), Kind: "primary", Button: "Download recovery kit",
		Text: "The kit opens the repository without this service: it is what you need when everything else is lost.",
		Effects: []string{
			"Whoever has it can read all recovery points of the repository: print it, or keep it in a safe place.",
			"Do not keep it on a machine whose data are in the repository.",
			"The download is written to the audit log.",
		},
		Action: q.r.URL.EscapedPath(), Back: pathOf("repositories", name),
	})
}

func sendKit(q *request) error {
	name := q.path("repository")
	kit, err := q.api.RepositoryKit(q.ctx(), q.tenant(), name, wire.KitOptions{Credentials: q.bool("credentials")})
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", attachment("recovery-kit-"+name+".txt"))
	_, _ = keepWriting(q.w).Write([]byte(kit.Text)) // a peer that went away is its own affair
	return nil
}

func askDetach(q *request) error {
	r, err := q.api.Repository(q.ctx(), q.tenant(), q.path("repository"))
	if err != nil {
		return err
	}
	effects := []string{
		count(r.Points, "recovery point") + " cannot be seen or recovered here any more, until the repository is attached again.",
		"Its data stay where they are.", "Jobs that write to it fail until they are given another repository.",
	}
	if r.Kit.IsZero() {
		effects = append([]string{"Its recovery kit was never downloaded: without it nobody will ever open the repository again."}, effects...)
	}
	return q.ask(confirm{
		Title: "Detach repository " + r.Name, Crumbs: q.repositoryCrumbs(), Effects: effects, Button: "Detach repository", Type: r.Name,
		Action: q.r.URL.EscapedPath(), Back: pathOf("repositories", r.Name),
	})
}

func detachRepository(q *request) error {
	name := q.path("repository")
	if !q.confirmed(name) {
		return q.wrong()
	}
	if err := q.api.DetachRepository(q.ctx(), q.tenant(), name); err != nil {
		return err
	}
	return q.redirect("/repositories", "Repository "+name+" is detached. Its data stay where they are.")
}
