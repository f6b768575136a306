package portal_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// fillAccount gives a world the answers about who asks.
func (w *world) fillAccount() {
	now := time.Now().UTC()
	w.answers["GET /session/sessions"] = []wire.OpenSession{
		{ID: "s1", Created: now.Add(-time.Hour), Seen: now, Expires: now.Add(time.Hour), From: "192.0.2.7", Agent: "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", Current: true},
		{ID: "s9", Created: now.Add(-2 * time.Hour), Seen: now.Add(-time.Hour), Expires: now.Add(time.Hour), From: "198.51.100.3", Agent: "<script>alert(1)</script>"},
	}
	w.answers["GET /session/tokens"] = []wire.Token{
		{ID: "t1", Name: "backup script", Scope: "backup.read backup.run", Created: now, Expires: now.Add(1000 * time.Hour), LastUsed: now, LastFrom: "192.0.2.9"},
		{ID: "t2", Name: "old", Created: now.Add(-1000 * time.Hour), Expires: now.Add(-time.Hour)},
	}
	w.answers["POST /session/totp"] = wire.Secret{Secret: "JBSWY3DPEHPK3PXP", URI: "otpauth://totp/Mooring:someone?secret=JBSWY3DPEHPK3PXP&issuer=Mooring"}
}

// answer makes the API do f with a request's body.
func answer[In, Out any](f func(In) (Out, error)) func([]byte) (any, error) {
	return func(body []byte) (any, error) {
		var in In
		if len(body) > 0 {
			if err := json.Unmarshal(body, &in); err != nil {
				return nil, err
			}
		}
		return f(in)
	}
}

func TestPagesAboutOneself(t *testing.T) {
	for name, c := range callers {
		if c.Visitor {
			continue
		}
		w := newWorld(t, c)
		w.fillAccount()
		for _, path := range []string{"/account", "/account/password", "/account/factor", "/account/factor/remove", "/account/sessions", "/account/tokens", "/account/tokens/t1/remove"} {
			t.Run(name+path, func(t *testing.T) {
				a := w.get(path)
				assert.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
				checkPage(t, a.Body.String())
			})
		}
	}
	w := newWorld(t, owner)
	w.fillAccount()
	page := w.get("/account/sessions").Body.String()
	assert.Contains(t, page, "Firefox on Linux")
	assert.NotContains(t, page, "<script>alert", "what a browser calls itself is no markup")
	assert.Equal(t, http.StatusNotFound, w.get("/account/tokens/other/remove").Code)
}

func TestARequiredSecondFactorIsSetUpFirst(t *testing.T) {
	c := owner
	c.MustFactor = true
	w := newWorld(t, c)
	for _, path := range []string{"/", "/account", "/account/tokens", "/account/factor/remove", "/volumes"} {
		assert.Equal(t, "/account/factor", w.get(path).Header().Get("Location"), path)
	}
	page := w.get("/account/factor").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "A second factor is required of you")
	assert.Equal(t, http.StatusOK, w.get("/account/password").Code)
	w.answers["PUT /session/totp"] = wire.Session{}
	assert.Equal(t, "/", w.post("/account/factor/confirm", "code", "123456").Header().Get("Location"))
}

func TestAGeneratedPasswordIsChangedFirst(t *testing.T) {
	c := owner
	c.MustChange = true
	w := newWorld(t, c)
	for _, path := range []string{"/", "/account", "/account/tokens", "/volumes"} {
		assert.Equal(t, "/account/password", w.get(path).Header().Get("Location"), path)
	}
	page := w.get("/account/password").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "Change your password")

	w.answers["PUT /session/password"] = answer(func(r wire.ChangePassword) (wire.Message, error) {
		if r.New == "short" {
			return wire.Message{}, errkind.New(errkind.Invalid, "the password is too short: use at least 12 characters")
		}
		return wire.Message{}, nil
	})
	a := w.post("/account/password", "old", "generated", "new", "short", "again", "short")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "The password is too short")
	a = w.post("/account/password", "old", "generated", "new", "one", "again", "other")
	assert.Contains(t, a.Body.String(), "This is not the same password")
	a = w.post("/account/password", "old", "generated", "new", "a long new password", "again", "a long new password")
	assert.Equal(t, "/", a.Header().Get("Location"))
	a = w.post("/account/tokens", "name", "x", "days", "1")
	assert.Equal(t, http.StatusForbidden, a.Code, "nor by a form")
}

func TestASecondFactorIsShownOnceAsPictureAndText(t *testing.T) {
	w := newWorld(t, owner)
	w.fillAccount()
	a := w.post("/account/factor")
	require.Equal(t, http.StatusOK, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "JBSW Y3DP EHPK 3PXP")
	assert.Regexp(t, `<path class="qr-mark" d="M4 4h7v1h-7z`, a.Body.String(), "the corner of a code")
	assert.Equal(t, "no-store", a.Header().Get("Cache-Control"))
	assert.NotContains(t, w.get("/account/factor").Body.String(), "JBSW")

	w.answers["PUT /session/totp"] = answer(func(r wire.ConfirmTOTP) (wire.Session, error) {
		if r.Code != "123456" {
			return wire.Session{}, errkind.New(errkind.Denied, "the code is wrong: check the clock")
		}
		return wire.Session{}, nil
	})
	a = w.post("/account/factor/confirm", "code", "000 000")
	assert.Contains(t, a.Body.String(), "The code is wrong: check the clock")
	a = w.post("/account/factor/confirm", "code", "123 456")
	assert.Equal(t, http.StatusSeeOther, a.Code)
}

func TestATokenIsShownOnce(t *testing.T) {
	w := newWorld(t, owner)
	w.fillAccount()
	var asked wire.CreateToken
	w.answers["POST /session/tokens"] = answer(func(r wire.CreateToken) (wire.Token, error) {
		asked = r
		return wire.Token{Name: r.Name, Secret: "mrg_secret"}, nil
	})
	a := w.post("/account/tokens", "name", "script", "days", "30", "scoped", "some", "scope", "backup.read", "scope", "backup.run")
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "mrg_secret")
	assert.Empty(t, a.Header().Values("Set-Cookie"), "a secret is in no cookie")
	assert.Equal(t, wire.CreateToken{Name: "script", Days: 30, Scope: "backup.read backup.run"}, asked)
	assert.NotContains(t, w.get("/account/tokens").Body.String(), "mrg_secret")

	a = w.post("/account/tokens", "name", "script", "days", "x", "scoped", "some")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	assert.Contains(t, a.Body.String(), "2 fields are not right")
	assert.Contains(t, a.Body.String(), `value="script"`)

	w.post("/account/tokens", "name", "script", "days", "30", "scoped", "all")
	assert.Equal(t, volspec.Scope(""), asked.Scope)
}

func TestTheSecondStepOfALogInHoldsNoPassword(t *testing.T) {
	w := newWorld(t, visitor)
	w.login = func(r wire.Login) (wire.Session, string, error) {
		switch r.Code {
		case "":
			return wire.Session{NeedsCode: true}, "", nil
		case "123456":
			assert.Equal(t, "right password", r.Password)
			return wire.Session{}, "the-secret", nil
		}
		return wire.Session{}, "", errkind.New(errkind.Denied, "the code is wrong")
	}
	a := w.post("/login", "user", "owner", "password", "right password", "next", "/jobs")
	require.Equal(t, http.StatusOK, a.Code)
	page := a.Body.String()
	checkPage(t, page)
	assert.NotContains(t, page, "right password")
	step := ""
	for _, n := range parse(t, page).all("input") {
		if attr(n, "name") == "step" {
			step = attr(n, "value")
		}
	}
	require.NotEmpty(t, step)
	a = w.post("/login", "step", step, "code", "000000", "next", "/jobs")
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "The code is wrong.")
	assert.Contains(t, a.Body.String(), step, "there can be another try")
	a = w.post("/login", "step", step, "code", "123456", "next", "/jobs")
	assert.Equal(t, "/jobs", a.Header().Get("Location"))
	a = w.post("/login", "step", step, "code", "123456")
	assert.Equal(t, http.StatusForbidden, a.Code, "a log-in that has ended is forgotten")
}
