package portal

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var providerRoutes = []*route{
	{method: http.MethodGet, path: "/oidc/login", who: visitors, handle: beginProvider},
	{method: http.MethodGet, path: "/oidc/callback", who: visitors, handle: endProvider}, // to which a provider sends the browser back
}

// Provider logs people in by OIDC providers.
type Provider interface {
	// Begin says where to send the browser, and what it must keep meanwhile.
	Begin(ctx context.Context, c volspec.Caller, tenant string) (target, kept string, err error)
	// Finish opens a session, with its secret, for what the browser brings back.
	Finish(ctx context.Context, c volspec.Caller, kept string, answer url.Values, agent string) (wire.Session, string, error)
}

// keptCookie holds a log-in while the browser is at the provider.
const keptCookie = "__Host-mooring-oidc"

// keep is sent along when the provider leads the browser back, so it cannot be
// as strict as it could otherwise.
func (q *request) keep(value string, seconds int) {
	http.SetCookie(q.w, &http.Cookie{Name: keptCookie, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func beginProvider(q *request) error {
	target, kept, err := q.p.o.Provider.Begin(q.ctx(), q.caller, q.text("tenant"))
	if err != nil {
		return q.refused(err)
	}
	q.keep(kept, int(q.p.o.ProviderLife/time.Second))
	http.Redirect(q.w, q.r, target, http.StatusSeeOther)
	return nil
}

func endProvider(q *request) error {
	kept, err := q.r.Cookie(keptCookie)
	if err != nil {
		kept = &http.Cookie{}
	}
	q.keep("", -1)
	_, secret, err := q.p.o.Provider.Finish(q.ctx(), q.caller, kept.Value, q.r.URL.Query(), q.r.UserAgent())
	if err != nil {
		return q.refused(err)
	}
	api.SetSessionCookie(q.w.Header(), secret)
	return q.redirect("/", "")
}

// refused shows the log-in once more, with the reason why a provider's was not
// taken.
func (q *request) refused(err error) error {
	kind := errkind.Of(err)
	if kind == errkind.Internal {
		return err
	}
	log.G(q.ctx()).WithField(log.Kind, string(kind)).WithField(log.Err, errkind.Text(err)).Warn("a log-in by a provider was refused")
	q.problem, q.status, q.at = err, kind.HTTPStatus(), "/login"
	if tenant := q.text("tenant"); tenant != "" {
		q.at = pathOf("t", tenant)
	}
	return showLogin(q)
}
