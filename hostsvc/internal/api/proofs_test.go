package api

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// oneSecret knows one user by one secret.
type oneSecret struct{}

func (oneSecret) BySession(_ context.Context, secret, _ string) (volspec.Caller, error) {
	if secret != "good" {
		return volspec.Caller{}, errkind.New(errkind.Denied, "the session has ended: log in again")
	}
	return callerAdmin, nil
}

func (o oneSecret) ByToken(ctx context.Context, secret, from string) (volspec.Caller, error) {
	return o.BySession(ctx, secret, from)
}

// Whoever shows anything but one good proof is a visitor or refused.
func FuzzProofs(f *testing.F) {
	f.Add("__Host-mooring=good", "")
	f.Add("", "Bearer good")
	f.Add("__Host-mooring=good; __Host-mooring=good", "")
	f.Add("__Host-mooring=good", "Bearer bad")
	f.Add(`a=b; __Host-mooring="good"; c`, "")
	f.Add("__host-mooring=good", "bearer  good ")
	f.Add("__Host-mooring=\xff\x00,;", "Basic Z29vZA==")
	id := PeoplePeers(oneSecret{})
	f.Fuzz(func(t *testing.T, cookie, authorization string) {
		r := &http.Request{Method: http.MethodGet, Header: http.Header{}, RemoteAddr: "192.0.2.7:1"}
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		c, err := id(t.Context(), r)
		if err != nil {
			assert.Contains(t, []errkind.Kind{errkind.Invalid, errkind.Denied}, errkind.Of(err), "%v", err)
			assert.False(t, c.Admin)
			return
		}
		if !c.Visitor {
			assert.Equal(t, callerAdmin, c)
			assert.Len(t, append(r.CookiesNamed(SessionCookie), make([]*http.Cookie, len(r.Header.Values("Authorization")))...), 1)
			assert.Contains(t, cookie+authorization, "good")
		}
	})
}
