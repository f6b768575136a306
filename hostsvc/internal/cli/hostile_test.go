package cli

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec/volspectest"
)

// call gives every text of v, at any depth, the same words. Words of a type of
// their own are not a tenant's.
func call(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() && v.Type() == reflect.TypeFor[string]() {
			v.SetString(name)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			call(v.Elem(), name)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type() != reflect.TypeFor[time.Time]() {
				call(v.Field(i), name)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			call(v.Index(i), name)
		}
	}
}

// stock are the lists of a service.
func stock(m *memAdmin) []reflect.Value {
	var all []reflect.Value
	for _, list := range []any{
		&m.groups, &m.volumes, &m.snapshots, &m.vms, &m.stores, &m.findings, &m.audit,
		&m.repositories, &m.points, &m.policies, &m.protection, &m.alarms, &m.past, &m.files,
	} {
		all = append(all, reflect.ValueOf(list).Elem())
	}
	return all
}

// called is a session with a service that has everything under each name.
func called(names []string) *session {
	m := new(memAdmin)
	for _, name := range names {
		for i, list := range stock(world()) {
			call(list, name)
			stock(m)[i].Set(reflect.AppendSlice(stock(m)[i], list))
		}
	}
	return newSession(m)
}

// Whatever things are called, a table has the lines that it has, nothing drives
// the terminal, and what programs read says the same.
func TestNamesAreWordsOnATerminal(t *testing.T) {
	names := slices.Sorted(maps.Values(volspectest.Hostile))
	names = slices.DeleteFunc(names, func(n string) bool { return len(n) > 1000 }) // nothing is cut off: each column would be as wide
	for _, command := range []string{"vm ls", "vmgroup ls", "volume ls", "datastore ls", "audit ls", "job ls", "alarm ls", "doctor"} {
		for _, format := range formats {
			args := append(strings.Fields(command), "-o", format)
			got, plain := called(names).run(t, args...), called(slices.Repeat([]string{"plain"}, len(names))).run(t, args...)
			assert.Equal(t, plain.code, got.code, "%v: %s", args, got.err)
			for _, text := range []string{got.out, got.err} {
				assert.Equal(t, -1, strings.IndexFunc(text, hidden), "%v", args)
			}
			switch format {
			case formatJSON, formatYAML:
				var doc any
				read := map[string]func([]byte, any) error{formatJSON: json.Unmarshal, formatYAML: yaml.Unmarshal}[format]
				require.NoError(t, read([]byte(got.out), &doc), args)
				have := texts(doc, map[string]bool{})
				for _, name := range names {
					assert.True(t, have[name], "%v says %q otherwise", args, name)
				}
			default:
				assert.Equal(t, strings.Count(plain.out, "\n"), strings.Count(got.out, "\n"), "%v", args)
			}
		}
	}
}

// texts are all texts of an answer.
func texts(v any, into map[string]bool) map[string]bool {
	switch v := v.(type) {
	case string:
		into[v] = true
	case []any:
		for _, e := range v {
			texts(e, into)
		}
	case map[string]any:
		for _, e := range v {
			texts(e, into)
		}
	}
	return into
}

// What the service says of such a name is a sentence.
func TestErrorsAboutNamesAreWords(t *testing.T) {
	for what, name := range volspectest.Hostile {
		s := newSession(world())
		s.admin.fail["VMs"] = errkind.New(errkind.NotFound, "VM %s is not there", name)
		got := s.run(t, "vm", "ls")
		assert.False(t, strings.ContainsFunc(got.err, hidden), "%s: %q", what, got.err)
		assert.True(t, strings.HasPrefix(got.err, "Error: VM "), what)
	}
}
