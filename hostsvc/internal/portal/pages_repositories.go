package portal

import (
	"io"
	"net/http"
	"slices"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
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
	Part         part
}

func showRepositories(q *request) error {
	p := repositoryListPage{Group: q.tenant() == ""}
	l, err := q.api.RepositoryList(q.ctx(), q.tenant(), q.listQuery())
	if err != nil {
		return err
	}
	p.Repositories, p.Part = l.Rows, partOf(q, l)
	if p.Group {
		return q.render("repositories", "Repositories", p)
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

// placeKinds are the kinds of places that a tenant may name; a recovery kit says
// it by itself. Folders of the service's machine are the master's to give.
var placeKinds = []option{{"kit", "Recovery kit"}, {"s3", "Object store"}, {"sftp", "SFTP server"}}

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

// location reads where a new repository of a kind lies, and what opens that
// place: the fields of repository-fields.
func (q *request) location(kind string) (l wire.Location, c wire.Credentials, err error) {
	need := func(field, what string) string {
		v := q.text(field)
		if v == "" {
			q.note(field, "%s", what)
		}
		return v
	}
	l.Type = kind
	switch kind {
	case "directory":
		l.Path = need("path", "Write the folder")
	case "s3":
		l.Endpoint, l.Bucket = need("endpoint", "Write the host of the object store"), need("bucket", "Write the bucket")
		l.Region, l.Prefix, l.Insecure = q.text("region"), q.text("prefix"), q.bool("insecure")
		need("access_key", "Write the access key")
	case "sftp":
		l.Host, l.User = need("host", "Write the host"), need("user", "Write the user")
		l.Path, l.HostKey = need("path", "Write the folder on the server"), need("host_key", "Write the key of the host")
		l.Port = int(min(q.int("port"), 65536))
	default:
		return l, c, errkind.New(errkind.Invalid, "a repository cannot be of the type %q: choose a folder, S3 or SFTP", kind)
	}
	return l, q.credentials(), nil
}

// credentials reads the fields of credential-fields.
func (q *request) credentials() wire.Credentials {
	return wire.Credentials{AccessKey: q.text("access_key"), SecretKey: q.secret("secret_key"), Password: q.secret("password"), PrivateKey: q.secret("private_key")}
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
		var err error
		if r.Location, r.Credentials, err = q.location(q.text("type")); err != nil {
			return err
		}
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
	r, err := q.api.SetCredentials(q.ctx(), q.tenant(), q.path("repository"), q.credentials())
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
	r, err := q.api.Repository(q.ctx(), q.tenant(), name)
	if err != nil {
		return err
	}
	var also *box
	if r.Location.Type != "directory" {
		also = &box{"credentials", "With the credentials of its place", "The kit alone is then enough to read the repository. Without them, whoever uses it needs credentials of the place as well."}
	}
	return q.ask(confirm{
		Box: also, Title: "Download the recovery kit of " + name, Crumbs: q.repositoryCrumbs(), Kind: "primary", Button: "Download recovery kit",
		Text: "The kit opens the repository without this service: it is what you need when everything else is lost.",
		Effects: []string{
			"Whoever has it can read all recovery points of the repository: print it, or keep it in a safe place.",
			"Do not keep it on a machine whose data are in the repository.",
			"The download is written to the audit log.",
		},
		Back: pathOf("repositories", name),
	})
}

func sendKit(q *request) error {
	name := q.path("repository")
	ctx := afresh(q.ctx()) // each download is in the audit log
	kit, err := q.api.RepositoryKit(ctx, q.tenant(), name, wire.KitOptions{Credentials: q.bool("credentials")})
	if err != nil {
		return err
	}
	return q.send("recovery-kit-"+name+".txt", io.NopCloser(strings.NewReader(kit.Text)))
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
		Back: pathOf("repositories", r.Name),
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
