package api

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

// schemas makes JSON schemas of Go types. Structs become components; what
// their fields mean is read from the comments in their sources.
type schemas struct {
	t        *testing.T
	all      map[string]object
	comments map[string]string // Type and Type.Field
	requests map[reflect.Type]bool
}

func newSchemas(t *testing.T) *schemas {
	s := &schemas{t: t, all: map[string]object{}, comments: map[string]string{}, requests: map[reflect.Type]bool{}}
	for _, file := range []string{"../../../pkg/wire/wire.go", "../../../pkg/wire/backup.go", "../../../pkg/wire/tenant.go", "../../../pkg/volspec/options.go"} {
		s.read(file)
	}
	for _, e := range endpoints {
		if e.in != nil {
			s.requests[e.in] = true
		}
	}
	return s
}

func (s *schemas) read(file string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	require.NoError(s.t, err)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, spec := range g.Specs {
			ts := spec.(*ast.TypeSpec)
			st, ok := ts.Type.(*ast.StructType)
			if !ok {
				continue
			}
			s.comments[ts.Name.Name] = oneLine(g.Doc)
			for _, field := range st.Fields.List {
				for _, n := range field.Names {
					s.comments[ts.Name.Name+"."+n.Name] = oneLine(field.Comment)
				}
			}
		}
	}
}

func oneLine(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// special are the types whose JSON is not that of their kind, or whose values
// are few.
var special = map[reflect.Type]object{
	typeOf[time.Time]():      {"type": "string", "format": "date-time"},
	typeOf[volspec.Size]():   {"type": "string", "pattern": "^[0-9]+[kmgtpKMGTP]?([iI]?[bB])?$", "examples": []string{"10gb", "512MiB", "1b"}},
	typeOf[volspec.State]():  {"type": "string", "enum": []volspec.State{volspec.Creating, volspec.Ready, volspec.Trashed, volspec.Deleting}},
	typeOf[volspec.Format](): {"type": "string", "enum": []volspec.Format{volspec.Blank, volspec.Formatting, volspec.Formatted}},

	typeOf[volspec.PointState]():  {"type": "string", "enum": []volspec.PointState{volspec.Completed, volspec.Verified, volspec.Proven, volspec.Damaged}},
	typeOf[volspec.Consistency](): {"type": "string", "enum": []volspec.Consistency{volspec.FilesystemConsistent, volspec.CrashConsistent}},
}

// of is the schema of t, by reference if it is a component.
func (s *schemas) of(t reflect.Type) object {
	if o, ok := special[t]; ok {
		return o
	}
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint32:
		return object{"type": "integer", "format": "int64"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": []string{"string", "null"}, "contentEncoding": "base64"}
		}
		return object{"type": []string{"array", "null"}, "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		if s.all[t.Name()] == nil {
			s.all[t.Name()] = object{} // for types that contain themselves
			s.all[t.Name()] = s.component(t)
		}
		return object{"$ref": "#/components/schemas/" + t.Name()}
	}
	require.Fail(s.t, fmt.Sprintf("no schema for %s", t))
	return nil
}

// owner is the struct that a field is written in.
func owner(t reflect.Type, f reflect.StructField) reflect.Type {
	if n := len(f.Index); n > 1 {
		return t.FieldByIndex(f.Index[:n-1]).Type
	}
	return t
}

func (s *schemas) component(t reflect.Type) object {
	props, required := object{}, []string{}
	for _, f := range reflect.VisibleFields(t) { // those of embedded structs are written as the struct's own
		if f.Anonymous {
			continue
		}
		name, flags, _ := strings.Cut(f.Tag.Get("json"), ",")
		p := maps.Clone(s.of(f.Type))
		if c := s.comments[owner(t, f).Name()+"."+f.Name]; c != "" {
			p["description"] = c
		}
		props[name] = p
		if !strings.Contains(flags, "omit") {
			required = append(required, name)
		}
	}
	if t == typeOf[wire.Problem]() {
		props["kind"] = object{"type": "string", "enum": kinds}
	}
	o := object{"type": "object", "properties": props}
	if c := s.comments[t.Name()]; c != "" {
		o["description"] = c
	}
	// What a reply always has; what a request must have its sentence says.
	if len(required) > 0 && !s.requests[t] {
		o["required"] = required
	}
	return o
}

var kinds = []errkind.Kind{
	errkind.Internal, errkind.Invalid, errkind.NotFound, errkind.Exists, errkind.InUse, errkind.Denied, errkind.Quota,
	errkind.Unavailable, errkind.Busy, errkind.Corrupt, errkind.Unsupported, errkind.Offline, errkind.WrongKey, errkind.Unconfigured,
}
