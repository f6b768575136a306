package api

import (
	"context"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// ProviderLogin logs people in by OIDC providers.
type ProviderLogin interface {
	// Begin says where to send the browser, and what it must keep meanwhile.
	Begin(ctx context.Context, c volspec.Caller, tenant string) (target, kept string, err error)
	// Finish opens a session, with its secret, for what the browser brings back.
	Finish(ctx context.Context, c volspec.Caller, kept string, answer url.Values, agent string) (wire.Session, string, error)
}

// keptCookie holds a log-in while the browser is at the provider.
const keptCookie = "__Host-mooring-oidc"

// OIDCPages are the two addresses of the portal that a log-in by a provider
// passes: /oidc/login?tenant=NAME, and /oidc/callback, to which the provider
// sends the browser back. life is how long that may take.
func OIDCPages(by ProviderLogin, life time.Duration) http.Handler {
	mux := http.NewServeMux()
	page := func(do func(w http.ResponseWriter, r *http.Request, c volspec.Caller) (string, error)) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			r = r.WithContext(log.WithRequest(r.Context(), ""))
			w.Header().Set("Cache-Control", "no-store")
			next, err := do(w, r, visitorOf(r))
			if err != nil {
				refuseLogin(w, r, err)
				return
			}
			http.Redirect(w, r, next, http.StatusSeeOther)
		}
	}
	mux.HandleFunc("GET /oidc/login", page(func(w http.ResponseWriter, r *http.Request, c volspec.Caller) (string, error) {
		target, kept, err := by.Begin(r.Context(), c, r.URL.Query().Get("tenant"))
		if err == nil {
			http.SetCookie(w, keep(kept, int(life/time.Second)))
		}
		return target, err
	}))
	mux.HandleFunc("GET /oidc/callback", page(func(w http.ResponseWriter, r *http.Request, c volspec.Caller) (string, error) {
		kept, err := r.Cookie(keptCookie)
		if err != nil {
			kept = &http.Cookie{}
		}
		http.SetCookie(w, keep("", -1))
		_, secret, err := by.Finish(r.Context(), c, kept.Value, r.URL.Query(), r.UserAgent())
		if err == nil {
			SetSessionCookie(w.Header(), secret)
		}
		return "/", err
	}))
	return mux
}

func visitorOf(r *http.Request) volspec.Caller {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	return volspec.Caller{Visitor: true, Actor: "visitor:" + from, From: from}
}

// keep is sent along when the provider leads the browser back, so it cannot be
// as strict as it could otherwise.
func keep(value string, seconds int) *http.Cookie {
	return &http.Cookie{Name: keptCookie, Value: value, Path: "/", MaxAge: seconds, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

var refusedPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Log-in refused</title></head>
<body><main><h1>Log-in refused</h1><p>{{.Detail}}</p><p><a href="/login">Back to the log-in</a></p><p><small>Request {{.Request}}</small></p></main></body></html>
`))

// refuseLogin tells a person why not.
func refuseLogin(w http.ResponseWriter, r *http.Request, err error) {
	p := problemFor(r.Context(), volspec.Caller{Visitor: true}, err)
	log.G(r.Context()).WithField(log.Kind, p.Kind).WithField(log.Err, errkind.Text(err)).Warn("a log-in by a provider was refused")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(p.Status)
	_ = refusedPage.Execute(w, p) // a peer that went away is its own affair
}
