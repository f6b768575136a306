package api

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// rowParams choose a part of a list whose answer is an array. Without any of
// them it is whole.
var rowParams = []param{
	{"after", "string", "the " + wire.HeaderNext + " of the page before"},
	{"desc", "boolean", "the other way round"},
	{"limit", "integer", "length of a page; 0: all"},
	{"q", "string", "only rows that have this text in a member, whatever its case"},
	{"sort", "string", "member of the rows by which they are ordered"},
}

// rows makes the handler of an endpoint with rowParams that gives a list. The
// members key tell a row from all others, and order the list where the query
// does not say by which.
func rows[T any](f func(ctx context.Context, s *Server, c *call) ([]T, error), key ...string) handler {
	members := membersOf(reflect.TypeFor[T]())
	for _, name := range key {
		if _, ok := members[name]; !ok {
			panic(fmt.Sprintf("api: %s has no member %s to order a list by", reflect.TypeFor[T](), name))
		}
	}
	h := give(func(ctx context.Context, s *Server, c *call) ([]T, error) {
		choice, err := c.choice(members, key)
		if err != nil {
			return nil, err
		}
		all, err := f(ctx, s, c)
		if err != nil || !choice.any {
			return all, err
		}
		part, next := chosen(all, choice)
		if next != "" {
			c.answer.Set(wire.HeaderNext, next)
		}
		return part, nil
	})
	h.parted = true
	return h
}

// choice is what a query wants of a list.
type choice struct {
	any   bool // of the parameters is given
	order []member
	words []member // in which text is looked for
	text  string
	desc  bool
	limit int
	sort  string
	after []string // values of order, nil for the first page
}

// place is where a page ended: the cursor of the next one.
type place struct {
	Sort   string   `json:"sort"`
	Desc   bool     `json:"desc,omitempty"`
	Values []string `json:"values"`
}

func (c *call) choice(members map[string]member, key []string) (w choice, err error) {
	w = choice{sort: c.query.Get("sort"), text: strings.ToLower(c.query.Get("q"))}
	for _, p := range rowParams {
		w.any = w.any || c.query.Get(p.name) != ""
	}
	if w.desc, err = c.flag("desc"); err != nil {
		return w, err
	}
	if w.limit, err = c.number("limit"); err != nil {
		return w, err
	}
	if w.sort != "" {
		m, ok := members[w.sort]
		if !ok {
			return w, errkind.New(errkind.Invalid, "sort %q is not valid: use %s", clip(w.sort), strings.Join(sorted(members), ", "))
		}
		w.order = append(w.order, m)
	}
	for _, name := range key {
		w.order = append(w.order, members[name])
	}
	for _, name := range sorted(members) {
		if members[name].text {
			w.words = append(w.words, members[name])
		}
	}
	after := c.query.Get("after")
	if after == "" {
		return w, nil
	}
	var p place
	data, err := base64.RawURLEncoding.DecodeString(after)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.Sort != w.sort || p.Desc != w.desc || len(p.Values) != len(w.order) {
		return w, errkind.New(errkind.Invalid, "the cursor %q is not one that a list in this order gave", clip(after))
	}
	w.after = p.Values
	return w, nil
}

// chosen is the part of all that w wants, and the cursor of what follows.
func chosen[T any](all []T, w choice) (part []T, next string) {
	type row struct {
		at  []string
		row T
	}
	found := []row{}
	for _, r := range all {
		v := reflect.ValueOf(r)
		if w.text != "" && !slices.ContainsFunc(w.words, func(m member) bool { return strings.Contains(strings.ToLower(m.value(v)), w.text) }) {
			continue
		}
		at := make([]string, len(w.order))
		for i, m := range w.order {
			at[i] = m.value(v)
		}
		if w.after == nil || w.before(w.after, at) {
			found = append(found, row{at, r})
		}
	}
	slices.SortStableFunc(found, func(a, b row) int {
		if w.desc {
			return slices.Compare(b.at, a.at)
		}
		return slices.Compare(a.at, b.at)
	})
	if w.limit > 0 && len(found) > w.limit {
		found = found[:w.limit]
		data, _ := json.Marshal(place{w.sort, w.desc, found[w.limit-1].at}) // strings: cannot fail
		next = base64.RawURLEncoding.EncodeToString(data)
	}
	part = make([]T, len(found))
	for i, f := range found {
		part[i] = f.row
	}
	return part, next
}

// before tells whether the row at a comes before the one at b.
func (w choice) before(a, b []string) bool {
	if w.desc {
		a, b = b, a
	}
	return slices.Compare(a, b) < 0
}

// member is one of a row's that has a simple value.
type member struct {
	index []int
	text  bool
}

// membersOf are those of a struct, by their names in JSON.
func membersOf(t reflect.Type) map[string]member {
	all := map[string]member{}
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" || name == "-" || len(f.Index) > 1 && f.Anonymous {
			continue
		}
		switch kind := f.Type.Kind(); {
		case f.Type == reflect.TypeFor[time.Time](), kind == reflect.Bool, kind >= reflect.Int && kind <= reflect.Int64:
			all[name] = member{f.Index, false}
		case kind == reflect.String:
			all[name] = member{f.Index, true}
		}
	}
	return all
}

// value is that of a row, as text that is ordered as the values are.
func (m member) value(row reflect.Value) string {
	switch v := row.FieldByIndex(m.index); v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Struct:
		return v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000000000")
	default:
		return fmt.Sprintf("%020d", uint64(v.Int())^1<<63) //nolint:gosec // bits, so that negative numbers come first
	}
}

func sorted(members map[string]member) []string {
	var names []string
	for name := range members {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
