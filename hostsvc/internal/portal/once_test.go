package portal_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/wire"
)

var onceValue = regexp.MustCompile(`name="once" value="([^"]+)"`)

// A second click makes a browser turn away from the first: its work goes on, the
// second waits for it, and both have one key.
func TestASecondClickWaitsForTheFirst(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	page := w.get("/volumes/new").Body.String()
	forms := onceValue.FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, forms)
	seen := map[string]bool{}
	for _, f := range forms {
		assert.False(t, seen[f[1]], "each form is another one")
		seen[f[1]] = true
	}
	begun, release := make(chan struct{}, 2), make(chan struct{})
	w.answers["POST /vmgroups/acme/volumes"] = func([]byte) (any, error) {
		begun <- struct{}{}
		<-release
		return wire.Volume{Name: "v@fast"}, nil
	}
	click := func(ctx context.Context, name string) *httptest.ResponseRecorder {
		form := url.Values{"csrf": {csrf}, "once": {forms[0][1]}, "name": {name}, "size": {"1gb"}}
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, "https://portal.example/volumes/new", strings.NewReader(form.Encode()))
		r.Header.Set("Cookie", "__Host-mooring=secret")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer := httptest.NewRecorder()
		w.handler.ServeHTTP(answer, r)
		return answer
	}
	gone, turnAway := context.WithCancel(t.Context())
	ended := make(chan *httptest.ResponseRecorder, 2)
	go func() { ended <- click(gone, "v") }()
	<-begun
	turnAway()
	go func() { ended <- click(t.Context(), "v") }()
	assert.Empty(t, begun, "the second does not begin before the first has ended")
	close(release)
	for range 2 {
		a := <-ended
		assert.Equal(t, http.StatusSeeOther, a.Code, "%s", a.Body)
	}
	click(t.Context(), "w")
	require.Len(t, w.keys, 3)
	assert.NotEmpty(t, w.keys[0])
	assert.Equal(t, w.keys[0], w.keys[1])
	assert.NotEqual(t, w.keys[0], w.keys[2], "what was changed is another request")
}
