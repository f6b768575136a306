package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

func TestBodiesThatMeanSomethingElse(t *testing.T) {
	for body, want := range map[string]string{
		`{"user":"a","password":"b"}`:                "",
		`{"user":"a","password":"b","user":"c"}`:     `field "user" is there twice`,
		`{"user":"a","USER":"b"}`:                    `field "USER" is there twice`,
		`{"user":"a","u\u0073er":"b"}`:               `field "user" is there twice`,
		`{"u\u017fer":"a","user":"b"}`:               `field "user" is there twice`,
		"{\"user\":\"\xff\"}":                        "it is not UTF-8",
		`{"user":"a"}{}`:                             "there is something after",
		`{"user":"user"}`:                            "",
		`{"user":"a","role":"master-admin"}`:         `unknown field "role"`,
		strings.Repeat(`{"user":`, 20_000):           "not valid",
		`{"user":"` + strings.Repeat("[{", 9) + `"}`: "",
	} {
		err := decode([]byte(body), &wire.Login{}, true)
		if want == "" {
			assert.NoError(t, err, body)
			continue
		}
		assert.Equal(t, errkind.Invalid, errkind.Of(err))
		assert.ErrorContains(t, err, want)
	}
	in := &wire.CreateVolume{}
	require.NoError(t, decode([]byte(`{"name":"a","options":{"name":"b","size":"1gb"}}`), in, true), "objects in objects have members of their own")
	assert.ErrorContains(t, decode([]byte(`{"name":"a","options":{"size":"1gb","size":"2gb"}}`), in, true), "twice")
	require.NoError(t, decode([]byte(`{"name":"a","name":"b"}`), in, false), "plugins are read as ever")
}

func TestBodiesOfPeople(t *testing.T) {
	p := newPeople(t)
	for name, tc := range map[string]struct {
		body, media string
		want        int
	}{
		"JSON":           {`{"user":"nobody","password":"x"}`, "application/json; charset=utf-8", http.StatusForbidden},
		"without a type": {`{"user":"nobody","password":"x"}`, "", http.StatusForbidden},
		"a form":         {`{"user":"nobody","password":"x"}`, "application/x-www-form-urlencoded", http.StatusUnsupportedMediaType},
		"plain text":     {`{"user":"nobody","password":"x"}`, "text/plain", http.StatusUnsupportedMediaType},
		"no type at all": {`{"user":"nobody","password":"x"}`, ";", http.StatusUnsupportedMediaType},
		"too large":      {`{"user":"` + strings.Repeat("a", wire.MaxRequest) + `"}`, "application/json", http.StatusRequestEntityTooLarge},
		"a member twice": {`{"user":"a","user":"b"}`, "application/json", http.StatusBadRequest},
		"another method": {`{"user":"nobody","password":"x"}`, "application/json\r\nX-Http-Method-Override: DELETE", http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			for i, h := range strings.Split(tc.media, "\r\n") {
				if i == 0 && h != "" {
					h = "Content-Type: " + h
				}
				if h != "" {
					headers = append(headers, h)
				}
			}
			resp, body := p.send("POST", "/login", tc.body, headers...)
			require.Equal(t, tc.want, resp.StatusCode, body)
			var said wire.Problem
			require.NoError(t, json.Unmarshal([]byte(body), &said))
			assert.Equal(t, tc.want, said.Status)
			if tc.want != http.StatusForbidden {
				assert.Equal(t, string(errkind.Invalid), said.Kind)
			}
		})
	}
}

// Whatever a person sends is refused, or says one thing only: it means the same
// when it is sent on.
func FuzzPeopleBodies(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `""`, `{"user":"a","password":"b"}`, `{"name":"a","name":"b"}`, `{"NAME":"a"}`, `{"a":{"a":[{"a":1},{"a":2}]}}`, "{\"name\":\"\xff\"}",
		`{"name":"\ud800"}`, `{"users":[{"name":"x"}],"labels":["a","a"]}`, `{} {}`, `{"":1,"":2}`, `[[[[`, "\x00", `{"name":"x","description":"<script>\u202e"}`,
	} {
		f.Add([]byte(s))
	}
	var types []reflect.Type
	seen := map[reflect.Type]bool{}
	for _, e := range endpoints {
		if e.in != nil && e.audience != guests && !seen[e.in] {
			seen[e.in] = true
			types = append(types, e.in)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, typ := range types {
			in := reflect.New(typ).Interface()
			if err := decode(data, in, true); err != nil {
				if errkind.Of(err) != errkind.Invalid {
					t.Fatalf("%s: %q: %v", typ, data, err)
				}
				continue
			}
			if !utf8.Valid(data) {
				t.Fatalf("%s took %q", typ, data)
			}
			sent, err := json.Marshal(in)
			if err != nil {
				t.Fatalf("%s: understood %q, cannot send it: %v", typ, data, err)
			}
			if err := decode(sent, reflect.New(typ).Interface(), true); err != nil {
				t.Fatalf("%s: %q became %q: %v", typ, data, sent, err)
			}
		}
	})
}
