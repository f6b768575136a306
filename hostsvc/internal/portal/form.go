package portal

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// The methods here read what a browser sent: fields of a form, and parameters
// of a GET. What cannot be read is noted at its field: handlers read all
// fields, then return wrong().

// text is a field without the blanks around it.
func (q *request) text(name string) string { return strings.TrimSpace(q.r.FormValue(name)) }

// secret is a field as it was typed.
func (q *request) secret(name string) string { return q.r.PostFormValue(name) }

// bool tells whether a box is ticked.
func (q *request) bool(name string) bool { return q.r.FormValue(name) != "" }

// list is all values of a field that are not empty.
func (q *request) list(name string) []string {
	_ = q.r.FormValue(name) // parses
	return slices.DeleteFunc(slices.Clone(q.r.Form[name]), func(s string) bool { return strings.TrimSpace(s) == "" })
}

// words is a field split at commas, semicolons and line ends.
func (q *request) words(name string) []string {
	words := strings.FieldsFunc(q.text(name), func(c rune) bool { return strings.ContainsRune(",;\n\r", c) })
	for i := range words {
		words[i] = strings.TrimSpace(words[i])
	}
	return slices.DeleteFunc(words, func(s string) bool { return s == "" })
}

// int is a whole number that is not negative, 0 if the field is empty.
func (q *request) int(name string) int64 {
	if n := q.optionalInt(name); n != nil {
		return *n
	}
	return 0
}

// optionalInt is the same, nil if the field is empty.
func (q *request) optionalInt(name string) *int64 {
	v := q.text(name)
	if v == "" {
		return nil
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil {
		q.note(name, "%q is not a number: write one such as 10", v)
		return nil
	}
	return new(int64(n))
}

// size is a size with its unit, 0 if the field is empty.
func (q *request) size(name string) volspec.Size {
	if n := q.optionalSize(name); n != nil {
		return *n
	}
	return 0
}

// optionalSize is the same, nil if the field is empty.
func (q *request) optionalSize(name string) *volspec.Size {
	v := strings.ReplaceAll(q.text(name), " ", "")
	switch v {
	case "":
		return nil
	case "0":
		return new(volspec.Size(0))
	}
	n, err := volspec.ParseSize(v)
	if err != nil {
		q.note(name, "%s", errkind.Text(err))
		return nil
	}
	return &n
}

// note says what is wrong with one field.
func (q *request) note(name, format string, args ...any) {
	if q.fields == nil {
		q.fields = map[string]string{}
	}
	q.fields[name] = fmt.Sprintf(format, args...)
}

// wrong is an error if something is wrong with a field.
func (q *request) wrong() error {
	switch len(q.fields) {
	case 0:
		return nil
	case 1:
		return errkind.New(errkind.Invalid, "one field is not right: it says below what it needs")
	}
	return errkind.New(errkind.Invalid, "%d fields are not right: they say below what they need", len(q.fields))
}

// value is what a field shows: what was typed, when the form is shown again.
func (q *request) value(name string, otherwise any) string {
	if v, ok := q.r.PostForm[name]; ok && q.problem != nil {
		return v[0]
	}
	if otherwise == nil {
		return ""
	}
	return fmt.Sprint(otherwise)
}

// ticked tells whether a box with a value is ticked, when the form is shown
// again as it was sent. A browser does not send boxes that are not ticked: on a
// page of several forms, those of the others stay as they are.
func (q *request) ticked(name, value string, otherwise bool) bool {
	if q.problem != nil && (q.route.form == nil || q.r.PostForm.Has(name)) {
		return slices.Contains(q.r.PostForm[name], value)
	}
	return otherwise
}
