// Package portal is the web interface for people: pages made on the server out
// of the answers of the API, which it asks inside the process in the name of
// whoever is logged in. It decides nothing itself: what a page hides, the API
// refuses too.
package portal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/keylock"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Options are the parts of a portal.
type Options struct {
	API      http.RoundTripper // see api.Server.Inside
	Identify api.Identity      // of the channel for people

	// Login and FirstAdmin open sessions for c, a visitor whose browser calls
	// itself agent, and return them with their secrets.
	Login      func(ctx context.Context, c volspec.Caller, r wire.Login, agent string) (wire.Session, string, error)
	FirstAdmin func(ctx context.Context, c volspec.Caller, r wire.FirstAdmin, agent string) (wire.Session, string, error)

	// Provider logs people in elsewhere; a log-in there may take ProviderLife.
	Provider     Provider
	ProviderLife time.Duration

	// Logo is a PNG, nil for the portal's own.
	Logo func(ctx context.Context) ([]byte, error)

	Version string
}

// maxForm bounds what a browser sends, with files.
const maxForm = 1 << 20

// portal serves the pages.
type portal struct {
	o      Options
	api    *hostclient.Admin
	mux    *http.ServeMux
	cross  *http.CrossOriginProtection
	routes []*route
	steps  *steps
	forms  keylock.Map[form] // that are worked on
}

// New makes the handler of everything that is not the API. It is safe for
// concurrent use and starts nothing.
func New(o Options) http.Handler {
	p := &portal{
		o: o, api: hostclient.NewAdminInside(keyed{o.API}, hostclient.Options{UserAgent: "portal"}),
		mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(), routes: routes(), steps: newSteps(time.Now),
	}
	for _, rt := range p.routes {
		p.mux.HandleFunc(rt.method+" "+rt.path, func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, rt) })
	}
	p.mux.HandleFunc("GET /static/{file}", p.serveAsset)
	p.mux.HandleFunc("GET /logo.png", p.serveLogo)
	p.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { p.serve(w, r, nowhere) })
	return p
}

// policy lets a page load nothing but what the portal itself serves, and run
// nothing that stands in a page.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// ServeHTTP implements http.Handler.
func (p *portal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost:
		p.mux.ServeHTTP(w, r.WithContext(log.WithRequest(r.Context(), "")))
	default: // no browser sends it for a page
		h.Set("Allow", "GET, HEAD, POST")
		http.Error(w, "pages are asked for with GET, and forms sent with POST: programs use the API below /api", http.StatusMethodNotAllowed)
	}
}

// serve answers one request of a page.
func (p *portal) serve(w http.ResponseWriter, r *http.Request, rt *route) {
	w.Header().Set("Cache-Control", "no-store")
	q := &request{p: p, w: w, r: r, route: rt}
	if err := p.answer(r.Context(), q); err != nil {
		q.fail(err) //nolint:contextcheck // the context is that of the request in q
	}
}

// answer is the way of every request: from where, who, may he, do it.
func (p *portal) answer(ctx context.Context, q *request) error {
	if q.r.Method != http.MethodGet && q.r.Method != http.MethodHead {
		if err := p.cross.Check(q.r); err != nil {
			return errkind.New(errkind.Denied, "this form was sent by another site and is not obeyed: open the page here and send it again")
		}
		if err := q.parse(); err != nil {
			return err
		}
	}
	if err := p.identify(ctx, q); err != nil {
		return err
	}
	switch to := q.detour(); {
	case to == "":
	case q.r.Method == http.MethodGet || q.r.Method == http.MethodHead:
		http.Redirect(q.w, q.r, to, http.StatusSeeOther)
		return nil
	case !q.user():
		return errkind.New(errkind.Denied, "your session has ended and nothing was changed: log in and send the form again")
	default:
		return errkind.New(errkind.Denied, "this is not possible before your password is changed: change it first")
	}
	if err := q.route.open(q); err != nil {
		return err
	}
	if q.r.Method != http.MethodPost {
		return q.route.handle(q)
	}
	end, err := q.whole() //nolint:contextcheck // the context is that of the request in q
	if err != nil {
		return err
	}
	defer end()
	if err := q.route.handle(q); err != nil {
		return q.again(err)
	}
	return nil
}

// identify finds out who asks. Who shows an ended session is a visitor.
func (p *portal) identify(ctx context.Context, q *request) error {
	r := q.r
	if q.route.who == visitors && r.Method == http.MethodPost {
		r = r.Clone(ctx) // a log-in is nobody's, whatever cookie is left
		r.Header.Del("Cookie")
	}
	c, err := p.o.Identify(ctx, r)
	if errkind.Is(err, errkind.Denied) && (r.Method != http.MethodPost || q.route.who == anybody) {
		bare := r.Clone(ctx)
		bare.Header.Del("Cookie")
		c, err = p.o.Identify(ctx, bare)
	}
	if err != nil {
		return err
	}
	q.caller = c
	ctx = api.WithCaller(ctx, c)
	q.r = q.r.WithContext(ctx)
	q.api = p.api
	if q.welcome, err = q.api.Welcome(ctx); err != nil || c.Visitor {
		return err
	}
	q.session, err = q.api.Session(ctx)
	return err
}

// parse reads a form. The proof that it comes from one of our pages goes
// where the API looks for it.
func (q *request) parse() error {
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, maxForm)
	err := q.r.ParseForm()
	if strings.HasPrefix(q.r.Header.Get("Content-Type"), "multipart/form-data") {
		err = cmp.Or(err, q.r.ParseMultipartForm(maxForm))
	}
	if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
		return errkind.New(errkind.Invalid, "what was sent is larger than %s: send less", bytesText(maxForm))
	}
	if err != nil {
		return errkind.New(errkind.Invalid, "what was sent is not a form: open the page again and repeat it")
	}
	q.r.Header.Set(wire.HeaderCSRF, q.r.PostForm.Get(csrfField))
	return nil
}

// csrfField is the name of the form field with Session.CSRF.
const csrfField = "csrf"

// detour is where somebody has to go first, "" if nowhere.
func (q *request) detour() string {
	switch who := q.route.who; {
	case !q.user() && q.welcome.First && q.route.path != "/first" && (who != anybody || q.route == nowhere):
		return "/first"
	case who == anybody:
		return ""
	case !q.user() && who != visitors:
		return withQuery("/login", nextQuery(q.r))
	case q.user() && who == visitors:
		return "/"
	case q.caller.MustChange && !q.route.always:
		return "/account/password"
	case q.caller.MustFactor && !q.route.always:
		return "/account/factor"
	}
	return ""
}

type asset struct {
	body        []byte
	kind, stamp string
}

// assets are the files that pages load.
var assets = sync.OnceValue(func() map[string]asset {
	all := map[string]asset{}
	entries, err := files.ReadDir("static")
	if err != nil {
		panic(err) // compiled in
	}
	kinds := map[string]string{"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
	for _, e := range entries {
		body, err := files.ReadFile("static/" + e.Name())
		if err != nil {
			panic(err) // compiled in
		}
		sum := sha256.Sum256(body)
		_, ext, _ := strings.Cut(e.Name(), ".")
		all[e.Name()] = asset{body, kinds[ext], hex.EncodeToString(sum[:6])}
	}
	return all
})

// serveAsset serves a file that never changes under the address that the
// pages name, which has its hash.
func (p *portal) serveAsset(w http.ResponseWriter, r *http.Request) {
	a, ok := assets()[r.PathValue("file")]
	if !ok {
		p.serve(w, r, nowhere)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	w.Header().Set("Cache-Control", "no-cache")
	if r.URL.RawQuery == a.stamp {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(a.body) // a peer that went away is its own affair
}

func (p *portal) serveLogo(w http.ResponseWriter, r *http.Request) {
	var png []byte
	if p.o.Logo != nil {
		var err error
		if png, err = p.o.Logo(r.Context()); err != nil {
			log.G(r.Context()).WithField(log.Err, err.Error()).Warn("the logo cannot be read")
		}
	}
	if len(png) == 0 {
		p.serve(w, r, nowhere)
		return
	}
	w.Header().Set("Content-Type", "image/png")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(png) // a peer that went away is its own affair
}

// user tells whether somebody is logged in.
func (q *request) user() bool { return q.caller != (volspec.Caller{}) && !q.caller.Visitor }
