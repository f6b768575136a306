package api

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"strings"

	"mooring.dev/mooring/hostsvc/internal/account"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// SessionCookie is the cookie with the secret of a session.
const SessionCookie = "__Host-mooring"

// SetSessionCookie puts the secret of a session into an answer. The cookie ends
// with the browser; how long the session lives only the service knows.
func SetSessionCookie(h http.Header, secret string) {
	h.Add("Set-Cookie", sessionCookie(secret).String())
}

// ClearSessionCookie lets the browser forget the session.
func ClearSessionCookie(h http.Header) {
	c := sessionCookie("")
	c.MaxAge = -1
	h.Add("Set-Cookie", c.String())
}

func sessionCookie(secret string) *http.Cookie {
	return &http.Cookie{Name: SessionCookie, Value: secret, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

// Credentials finds who shows a session or a token; denied is whoever shows one
// that does not count any more.
type Credentials interface {
	BySession(ctx context.Context, secret, from string) (volspec.Caller, error)
	ByToken(ctx context.Context, secret, from string) (volspec.Caller, error)
}

// PeoplePeers makes whoever shows the cookie of a session or a bearer token its
// user, and everybody else a visitor. A request with a cookie that changes
// something must come from our own pages and say so by the session's CSRF token.
func PeoplePeers(by Credentials) Identity {
	cross := http.NewCrossOriginProtection()
	return func(ctx context.Context, r *http.Request) (volspec.Caller, error) {
		from, _, err := net.SplitHostPort(r.RemoteAddr)
		if err != nil {
			from = r.RemoteAddr
		}
		visitor := volspec.Caller{Visitor: true, Actor: "visitor:" + from, From: from}
		cookies, tokens := r.CookiesNamed(SessionCookie), r.Header.Values("Authorization")
		switch {
		case len(cookies)+len(tokens) > 1:
			return volspec.Caller{}, errkind.New(errkind.Invalid, "the request shows more than one proof of who makes it: send a cookie or an Authorization header, and one only")
		case len(tokens) == 1:
			scheme, secret, _ := strings.Cut(tokens[0], " ")
			if !strings.EqualFold(scheme, "Bearer") {
				return volspec.Caller{}, errkind.New(errkind.Invalid, "the Authorization header is not understood: write Bearer and a token")
			}
			c, err := by.ByToken(ctx, strings.TrimSpace(secret), from)
			if errkind.Is(err, errkind.Denied) {
				return visitor, err // another token may do it
			}
			return c, err
		}
		if err := cross.Check(r); err != nil { // also before a log-in
			return volspec.Caller{}, errkind.New(errkind.Denied, "the request comes from another site and is not obeyed: make it from here")
		}
		if len(cookies) == 0 {
			return visitor, nil
		}
		secret := cookies[0].Value
		c, err := by.BySession(ctx, secret, from)
		if errkind.Is(err, errkind.Denied) {
			return visitor, nil // the cookie says nothing any more
		}
		if err == nil && !safe(r.Method) && subtle.ConstantTimeCompare([]byte(r.Header.Get(wire.HeaderCSRF)), []byte(account.CSRF(secret))) != 1 {
			return volspec.Caller{}, errkind.New(errkind.Denied, "the request does not show the session's token in the header %s: read it from GET /session", wire.HeaderCSRF)
		}
		return c, err
	}
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }
