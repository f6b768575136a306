package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Every list can be had in pages; what is one answer and no list of things is
// not.
func TestEveryListComesInPages(t *testing.T) {
	whole := []string{"GET /doctor", "GET /audit/verify", "GET /search"}
	for _, e := range endpoints {
		if e.method != http.MethodGet || e.out == nil || e.stream != nil {
			continue
		}
		name := e.name()
		if e.out.Kind() == reflect.Slice && !slices.Contains(whole, name) {
			assert.True(t, e.parted, name)
		}
		if e.parted {
			for _, p := range rowParams {
				assert.Contains(t, e.query, p, name)
			}
		}
	}
}

// readers is a list that changes while somebody reads it.
type readers []wire.User

func (u *readers) ask(t *testing.T, query string) (names []string, next string, err error) {
	t.Helper()
	q, err := url.ParseQuery(query)
	require.NoError(t, err)
	c := &call{query: q, answer: http.Header{}}
	h := rows(func(context.Context, *Server, *call) ([]wire.User, error) { return slices.Clone(*u), nil }, "name", "id")
	got, err := h.run(t.Context(), nil, c, nil)
	if err != nil {
		return nil, "", err
	}
	for _, v := range got.([]wire.User) {
		names = append(names, v.Name)
	}
	return names, c.answer.Get(wire.HeaderNext), nil
}

func TestListsInPages(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	u := readers{
		{ID: "1", Name: "jo", Role: volspec.Operator, Sessions: 10, LastLogin: day.Add(time.Hour).In(time.FixedZone("", 7200))},
		{ID: "2", Name: "ann", Role: volspec.TenantAdmin, Sessions: 9, LastLogin: day.Add(2 * time.Hour), Email: "ann@Acme.example"},
		{ID: "3", Name: "zoe", Role: volspec.Operator, Sessions: -1, Enabled: true},
	}
	for query, want := range map[string][]string{
		"":                           {"jo", "ann", "zoe"}, // as the service has it
		"sort=":                      {"jo", "ann", "zoe"},
		"sort=name":                  {"ann", "jo", "zoe"},
		"desc=true":                  {"zoe", "jo", "ann"},
		"limit=2":                    {"ann", "jo"},
		"limit=2&sort=name&desc=1":   {"zoe", "jo"},
		"sort=sessions":              {"zoe", "ann", "jo"},
		"sort=last_login":            {"zoe", "jo", "ann"},
		"sort=role":                  {"jo", "zoe", "ann"}, // alike: by name
		"sort=enabled&desc=true":     {"zoe", "jo", "ann"},
		"q=ACME":                     {"ann"},
		"q=operator&limit=1&sort=id": {"jo"},
		"q=nobody":                   nil,
	} {
		got, _, err := u.ask(t, query)
		require.NoError(t, err, query)
		assert.Equal(t, want, got, query)
	}
	_, next, err := u.ask(t, "limit=2&sort=role")
	require.NoError(t, err)
	for _, query := range []string{"sort=password_hash", "sort=links", "desc=perhaps", "limit=-1", "after=x", "after=" + next, "after=" + next + "&sort=role&desc=true", "after=bnVsbA"} {
		_, _, err := u.ask(t, query)
		assert.True(t, errkind.Is(err, errkind.Invalid), "%s: %v", query, err)
	}
}

// Whoever is there all the time is in exactly one page, whatever comes and goes
// meanwhile.
func TestPagesOfAListThatChanges(t *testing.T) {
	for _, order := range []string{"", "&desc=true", "&sort=sessions", "&sort=sessions&desc=true"} {
		var u readers
		for i := range 1000 {
			u = append(u, wire.User{ID: volspec.UserID(fmt.Sprint(i)), Name: fmt.Sprintf("user%03d", i*7%1000), Sessions: i % 5})
		}
		stay := map[string]int{}
		pages, next := 0, ""
		for {
			names, following, err := u.ask(t, "limit=90"+order+"&after="+next)
			require.NoError(t, err)
			for _, name := range names {
				stay[name]++
			}
			pages++
			if following == "" {
				break
			}
			next = following
			u = append(u[:0:0], u[3:]...)
			for i := range 3 {
				u = append(u, wire.User{ID: volspec.UserID(fmt.Sprintf("new%d.%d", pages, i)), Name: fmt.Sprintf("new%03d.%d", pages*7, i), Sessions: i})
			}
		}
		for _, left := range u[:900] {
			assert.Equal(t, 1, stay[left.Name], "%s in the order %q", left.Name, order)
		}
		assert.GreaterOrEqual(t, pages, 10)
	}
}
