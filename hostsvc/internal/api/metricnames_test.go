package api

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/volspec/volspectest"
	"mooring.dev/mooring/pkg/wire"
)

// stores are datastores of these names.
type stores []string

func (stores) Status(context.Context) (wire.Status, error) { return wire.Status{Ready: true}, nil }

func (s stores) Datastores(context.Context) (all []wire.Datastore, err error) {
	for _, name := range s {
		all = append(all, wire.Datastore{Name: name, State: "online"})
	}
	return all, nil
}

var online = regexp.MustCompile(`(?m)^mooring_datastore_online\{datastore="((?:[^"\\\n]|\\["\\n])*)",state="online"\} 1$`)

// A label is the word that a hypervisor calls its datastore, and no other line.
func TestNamesAreWordsInMetrics(t *testing.T) {
	ask := func(names []string) string {
		w := httptest.NewRecorder()
		newMetrics("1.2.3", stores(names)).handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		require.Equal(t, http.StatusOK, w.Code, w.Body.String())
		return w.Body.String()
	}
	names := slices.Sorted(maps.Values(volspectest.Hostile))
	text := ask(names)
	var have []string
	for _, m := range online.FindAllStringSubmatch(text, -1) {
		have = append(have, strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(m[1]))
	}
	assert.ElementsMatch(t, names, have)
	assert.Len(t, regexp.MustCompile(`(?m)^mooring_ready `).FindAllString(text, -1), 1)
	plain := 0
	for line := range strings.Lines(ask([]string{"plain"})) {
		if strings.HasPrefix(line, "mooring_datastore_") {
			plain++
		}
	}
	assert.Equal(t, plain*len(names), strings.Count("\n"+text, "\nmooring_datastore_"))
}
