package isolation

import (
	"encoding/json"
	"reflect"
	"strings"

	"mooring.dev/mooring/pkg/volspec"
)

// texts are the paths of the fields of t that hold words.
func texts(t reflect.Type, at string) (all []string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return texts(t.Elem(), at)
	case reflect.Map:
		return nil // see bodies
	case reflect.String:
		if t == roleType {
			return nil
		}
		return []string{at}
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			if f.IsExported() && !f.Anonymous {
				all = append(all, texts(f.Type, at+"."+f.Name)...)
			}
		}
	}
	return all
}

// encode is a value of t with word in the fields that pick takes. Others that
// a request needs have something valid.
func encode(t reflect.Type, pick func(path string) bool, word string) string {
	v := reflect.New(t).Elem()
	set(v, "", pick, word)
	data, err := json.Marshal(v.Interface())
	if err != nil { // types that check themselves refuse the word: so would the service
		return "{}"
	}
	return string(data)
}

func set(v reflect.Value, at string, pick func(string) bool, word string) {
	switch v.Kind() {
	case reflect.Pointer:
		if len(texts(v.Type(), at)) > 0 && taken(v.Type(), at, pick) {
			v.Set(reflect.New(v.Type().Elem()))
			set(v.Elem(), at, pick, word)
		}
	case reflect.Slice:
		if len(texts(v.Type(), at)) > 0 && taken(v.Type(), at, pick) {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
			set(v.Index(0), at, pick, word)
		}
	case reflect.String:
		switch {
		case v.Type() == roleType:
			v.SetString(string(volspec.Operator))
		case strings.HasSuffix(at, ".Password"):
			v.SetString("eleven plain planks")
		case pick(at):
			v.SetString(word)
		case at == ".Name":
			v.SetString("own-thing")
		}
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(v.Type()) {
			if f.IsExported() && !f.Anonymous {
				set(v.FieldByIndex(f.Index), at+"."+f.Name, pick, word)
			}
		}
	}
}

func taken(t reflect.Type, at string, pick func(string) bool) bool {
	for _, f := range texts(t, at) {
		if pick(f) {
			return true
		}
	}
	return false
}
