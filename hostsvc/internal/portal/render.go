package portal

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

//go:embed templates static
var files embed.FS

// renderer is a parsed set of templates whose functions know one request: the
// zone of its user, what was typed into its form. It renders one page at a
// time; there are as many as pages are rendered at once.
type renderer struct {
	set    *template.Template
	assets map[string]asset
	q      *request  // of the page that is rendered now
	now    time.Time // one for a whole page
	ids    map[string]int
}

// idle keeps renderers: to make one takes much longer than to render a page.
var idle = make(chan *renderer, 8)

func takeRenderer() *renderer {
	select {
	case r := <-idle:
		return r
	default:
		return newRenderer()
	}
}

// release keeps r for another page.
func (r *renderer) release() {
	r.q = nil
	select {
	case idle <- r:
	default: // there are enough
	}
}

func newRenderer() *renderer {
	r := &renderer{assets: assets()}
	r.set = template.Must(template.New("").Funcs(r.funcs()).ParseFS(files, "templates/*.html"))
	return r
}

// frame is what the layout shows around a page.
type frame struct {
	Title, Template, Path string
	Body                  template.HTML
	Product               string
	Logo                  bool
	Theme, Version        string
	User, Search          bool
	Session               wire.Session
	Nav                   []navGroup
	Missing, Setup        string // see request.missing
	Flash                 *flash
	Problem               string
}

// render ends a request by a page: the template with a name, which gets data,
// inside the layout.
func (q *request) render(name, title string, data any) error {
	r := takeRenderer()
	defer r.release()
	r.q, r.now, r.ids = q, time.Now(), map[string]int{}

	var body, page bytes.Buffer
	if err := r.set.ExecuteTemplate(&body, name+".html", data); err != nil {
		return errkind.Wrap(errkind.Internal, err, "page %s", name)
	}
	f := q.frame(name, title)
	f.Body = template.HTML(body.String()) //nolint:gosec // made by a template, so escaped
	if err := r.set.ExecuteTemplate(&page, "layout.html", f); err != nil {
		return errkind.Wrap(errkind.Internal, err, "layout of page %s", name)
	}
	h := q.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	q.w.WriteHeader(cmp.Or(q.status, http.StatusOK))
	_, _ = q.w.Write(page.Bytes()) // a peer that went away is its own affair
	return nil
}

func (q *request) frame(name, title string) frame {
	f := frame{
		Title: title, Template: name, Product: cmp.Or(q.welcome.Product, "Mooring"), Logo: q.welcome.Logo,
		Theme: q.theme(), Version: q.p.o.Version, Path: q.address(), Flash: q.takeFlash(),
	}
	if q.problem != nil {
		f.Problem = sentence(errkind.Text(q.problem))
	}
	if q.user() {
		f.User, f.Session = true, q.session
		f.Nav, f.Search = q.nav(), q.opens("/search")
		f.Missing, f.Setup = q.missing()
	}
	return f
}

// address is where the page that is shown can be asked for again without doing
// anything.
func (q *request) address() string {
	switch {
	case q.at != "":
		return q.at
	case q.r.Method == http.MethodPost && q.pageOf(q.route.path) == nil:
		return q.back()
	}
	return q.r.URL.RequestURI()
}

// missing is what keeps the service of the tenant from running, and where that
// is mended by the one who asks; "" if nothing does.
func (q *request) missing() (words, setup string) {
	if q.tenant() == "" || q.caller.Held() || !q.can("vmgroup.read") {
		return "", ""
	}
	r := q.tenantNow().Readiness
	_, words, _ = strings.Cut(r.Message, ": ")
	if slices.Contains(r.Missing, wire.PartRepositories) && q.opens("/repositories") && q.can("backup.manage") {
		setup = "/repositories"
	}
	return title(strings.TrimSuffix(words, ".")), setup
}

// tenantWait is how long a page waits for what is told of the tenant beside its
// content: a hypervisor that does not answer must not keep every page.
const tenantWait = 2 * time.Second

// tenantNow describes the tenant that the pages are about; of one that cannot be
// read in time only the name is known.
func (q *request) tenantNow() wire.Tenant {
	if q.described != nil {
		return *q.described
	}
	ctx, cancel := context.WithTimeout(q.ctx(), tenantWait)
	defer cancel()
	t, err := q.api.Tenant(ctx, q.tenant())
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("whether the tenant is configured is not known")
		t = wire.Tenant{Name: q.tenant()}
	}
	q.described = &t
	return t
}

// contentRefused tells a user of the master who acts for a tenant whether that
// keeps the content of its recovery points from its provider.
func (q *request) contentRefused() bool {
	return q.session.As != "" && q.tenantNow().Security.ContentRefused
}

// theme is light or dark, "" as the system has it.
func (q *request) theme() string {
	c, err := q.r.Cookie(themeCookie)
	if err != nil || c.Value != "light" && c.Value != "dark" {
		return ""
	}
	return c.Value
}
