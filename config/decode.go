package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// decoder copies parsed TOML into the structs above. It is ours because the
// library's stops at the first wrong type, knows no index in its paths and
// takes keys in any case.
type decoder struct {
	problems Problems
}

// table sets the fields of the struct v from m. Keys it does not know are
// problems. Slices of structs are appended to: that is how drop-ins merge.
func (d *decoder) table(path string, m map[string]any, v reflect.Value) {
	fields, names := map[string]reflect.Value{}, []string{}
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
		if name != "-" {
			fields[name] = v.Field(i)
			names = append(names, name)
		}
	}
	for key, value := range m {
		at := join(path, key)
		f, known := fields[key]
		if !known {
			d.problems.add(at, "unknown key: %s", suggestion(path, key, names))
			continue
		}
		d.value(at, value, f)
	}
}

func suggestion(path, key string, names []string) string {
	if path == "catalog" && (key == "dsn" || key == "password") {
		return "a configuration holds no secrets, write the connection string into a file and name it with dsn_file"
	}
	if slices.Contains([]string{"password", "secret", "access_key", "secret_key", "session_token", "private_key", "key", "master_key"}, key) {
		for _, name := range names {
			if slices.Contains([]string{"password_file", "secret_file", "credentials_file", "master_key_file"}, name) {
				return "a configuration holds no secrets, write it into a file that only its owner can read and name that with " + name
			}
		}
	}
	return "valid are " + strings.Join(names, ", ")
}

func (d *decoder) value(path string, value any, v reflect.Value) {
	if u, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		s, isString := value.(string)
		if !isString {
			d.wrongType(path, "a string", value)
		} else if err := u.UnmarshalText([]byte(s)); err != nil {
			d.problems.add(path, "%s", err)
		}
		return
	}
	switch v.Kind() {
	case reflect.String:
		if s, ok := value.(string); ok {
			v.SetString(s)
			return
		}
		d.wrongType(path, "a string", value)
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			v.SetBool(b)
			return
		}
		d.wrongType(path, "true or false", value)
	case reflect.Int:
		if n, ok := value.(int64); ok {
			v.SetInt(n)
			return
		}
		d.wrongType(path, "a whole number", value)
	case reflect.Float64:
		switch n := value.(type) {
		case float64:
			v.SetFloat(n)
		case int64:
			v.SetFloat(float64(n))
		default:
			d.wrongType(path, "a number", value)
		}
	case reflect.Struct:
		if m, ok := value.(map[string]any); ok {
			d.table(path, m, v)
			return
		}
		d.wrongType(path, "a table", value)
	case reflect.Slice:
		d.list(path, value, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(path, value, v.Elem())
	default:
		panic("config: no rule for fields of type " + v.Type().String())
	}
}

func (d *decoder) list(path string, value any, v reflect.Value) {
	var items []any
	switch l := value.(type) {
	case []map[string]any:
		for _, m := range l {
			items = append(items, m)
		}
	case []any:
		items = l
	default:
		want := "a list of strings"
		if v.Type().Elem().Kind() == reflect.Struct {
			want = "a list of tables, written [[" + path + "]]"
		}
		d.wrongType(path, want, value)
		return
	}
	if v.IsNil() { // an empty list is not the same as none
		v.Set(reflect.MakeSlice(v.Type(), 0, len(items)))
	}
	for _, item := range items {
		e := reflect.New(v.Type().Elem()).Elem()
		if u, ok := e.Addr().Interface().(interface{ defaults() }); ok {
			u.defaults()
		}
		d.value(fmt.Sprintf("%s[%d]", path, v.Len()), item, e)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) wrongType(path, want string, value any) {
	var have string
	switch value.(type) {
	case string:
		have = "a string"
	case bool:
		have = "true or false"
	case int64:
		have = "a number"
	case float64:
		have = "a fraction"
		if want != "a whole number" {
			have = "a number"
		}
	case time.Time:
		have = "a date"
	case map[string]any:
		have = "a table"
	default:
		have = "a list"
	}
	d.problems.add(path, "this is %s: write %s", have, want)
}

func join(path, key string) string {
	if path == "" {
		return toml.Key{key}.String()
	}
	return path + "." + toml.Key{key}.String()
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Path  string // vm[2].datastore; "" when it is the file itself
	Text  string
	Where string // file:line, "" when not known
	order int    // of the line, for sorting
}

func (p Problem) String() string {
	s := p.Text
	if p.Path != "" {
		s = p.Path + ": " + s
	}
	if p.Where != "" {
		s = p.Where + ": " + s
	}
	return s
}

// Problems is everything that is wrong with a configuration.
type Problems []Problem

func (p *Problems) add(path, format string, args ...any) {
	*p = append(*p, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

// Error is the only problem, or one problem per line.
func (p Problems) Error() string {
	if len(p) == 1 {
		return p[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d problems", len(p))
	for _, one := range p {
		b.WriteString("\n  " + one.String())
	}
	return b.String()
}

// sort orders by file and line, then by path, so that the report is stable.
func (p Problems) sort() {
	slices.SortStableFunc(p, func(a, b Problem) int {
		if a.order != b.order {
			return a.order - b.order
		}
		return strings.Compare(a.Path+a.Text, b.Path+b.Text)
	})
}
