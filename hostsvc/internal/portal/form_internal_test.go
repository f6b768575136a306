package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// typed is a request whose form has one field.
func typed(text string) *request {
	r := httptest.NewRequest(http.MethodPost, "https://portal.example/jobs", strings.NewReader(url.Values{"x": {text}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return &request{r: r, w: httptest.NewRecorder()}
}

// What was read out of a field is read again out of what is shown for it, and
// what cannot be read is noted there.
func FuzzFields(f *testing.F) {
	for _, text := range []string{"", "0", " 10 ", "-1", "+1", "1e3", "9223372036854775808", "10 GiB", "1.5gb", "20mb", "a, b;c\n d", "\x00", "\xff", "\u0661"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		q := typed(text)
		if n := q.optionalInt("x"); n != nil {
			assert.GreaterOrEqual(t, *n, int64(0))
			assert.Equal(t, *n, typed(strconv.FormatInt(*n, 10)).int("x"))
		} else if q.text("x") != "" {
			assert.Error(t, q.wrong())
		}
		q = typed(text)
		if n := q.optionalSize("x"); n != nil {
			again := typed(n.Option())
			if *n != 0 {
				assert.Equal(t, *n, again.size("x"))
				assert.NoError(t, again.wrong())
			}
			assert.GreaterOrEqual(t, int64(*n), int64(0))
		} else if strings.ReplaceAll(q.text("x"), " ", "") != "" {
			assert.NotEmpty(t, q.fields["x"])
		}
		words := q.words("x")
		assert.Equal(t, words, typed(strings.Join(words, ", ")).words("x"))
	})
}

// The words of a schedule, and patterns, mean the same after a form was shown
// with them.
func FuzzDraft(f *testing.F) {
	for _, text := range []string{"", "01:00", "Mon,Fri 22:30", "Mon,Mon 00:00", "every 06h", "every 99999999999999999999h", "Mon..Fri 22:00", `a\,b, [c-d]*`, "a\nb", `\\, x`, "[", `a\`, "\xff"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := newDraft("UTC")
		d.describe(text)
		assert.Equal(t, text, d.schedule())
		d.words()
		d.checkWhen(typed(text))
		all := patterns(nil, text)
		if !utf8.ValidString(text) || slices.ContainsFunc(all, func(p string) bool { _, err := path.Match(p, "x"); return err != nil }) {
			return // the API refuses it
		}
		assert.Equal(t, all, patterns(nil, joined(all)))
		for _, p := range []string{text, text + ","} {
			if strings.ContainsAny(p, "/\n\r") || strings.TrimSpace(p) != p || p == "" {
				continue
			}
			ok, err := path.Match(literal(p), p)
			require.NoError(t, err)
			assert.True(t, ok, "%q", p)
		}
	})
}

// Nothing that a visitor says about where to go leads away from here.
func FuzzLocal(f *testing.F) {
	for _, to := range []string{"/", "/jobs?x=1", "//evil.example", `/\evil.example`, "https://evil.example/", "/%2fevil.example", "/\tevil", "javascript:alert(1)", "/%5cevil.example", "/a/..//evil.example", "\xff"} {
		f.Add(to)
	}
	f.Fuzz(func(t *testing.T, to string) {
		base, err := url.Parse("https://portal.example/login")
		require.NoError(t, err)
		q := typed("")
		q.w = httptest.NewRecorder()
		require.NoError(t, q.redirect(local(to), ""))
		where := q.w.(*httptest.ResponseRecorder).Header().Get("Location")
		got, err := base.Parse(where)
		require.NoError(t, err, "%q", where)
		assert.Equal(t, "https://portal.example", got.Scheme+"://"+got.Host, "%q", where)
		assert.NotContains(t, where[:min(2, len(where))], "//")
		assert.NotContains(t, where, `\`)
	})
}

// Cookies that a browser brings are a taste: they never break a page.
func FuzzTaste(f *testing.F) {
	for _, value := range []string{"", "Europe%2FBerlin", "..%2F..%2Fetc%2Fpasswd", "%zz", "Local", "e30", "eyJ0ZXh0IjoieCJ9", "eyJ0ZXh0IjoxfQ"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		q := typed("")
		q.r.Header.Set("Cookie", zoneCookie+"="+value+"; "+flashCookie+"="+value)
		assert.NotNil(t, q.zone())
		if said := q.takeFlash(); said != nil {
			q.setFlash(*said)
			set := q.w.(*httptest.ResponseRecorder).Result().Cookies()
			next := typed("")
			next.r.AddCookie(set[len(set)-1])
			assert.Equal(t, said, next.takeFlash())
		}
	})
}
