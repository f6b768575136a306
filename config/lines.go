package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// lines finds the line on which each path of a valid TOML document is
// written. The library keeps only one position per key, which is useless
// inside lists of tables, so the document is parsed again one statement at a
// time. base is how many elements each top-level list had before this file.
func lines(doc string, base map[string]int) map[string]int {
	found := map[string]int{}
	counts := map[string]int{} // elements seen so far of each list of tables
	current := ""
	statement, start := "", 0
	for i, line := range strings.Split(doc, "\n") {
		if statement == "" {
			start = i + 1
		}
		statement += line + "\n"
		var m map[string]any
		md, err := toml.Decode(statement, &m)
		if err != nil {
			continue // a value that goes on on the next line
		}
		text := strings.TrimSpace(statement)
		statement = ""
		keys := md.Keys()
		if len(keys) == 0 {
			continue // blank, or a comment
		}
		if strings.HasPrefix(text, "[") {
			current = header(keys[0], strings.HasPrefix(text, "[["), counts, base)
			note(found, current, start)
			continue
		}
		for _, k := range keys {
			path := current
			for _, part := range k {
				path = join(path, part)
				note(found, path, start)
			}
		}
	}
	return found
}

// header turns the key of a table's header into a path with indices.
func header(k toml.Key, list bool, counts, base map[string]int) string {
	path := ""
	for i, part := range k {
		path = join(path, part)
		last := i == len(k)-1
		if last && list {
			counts[path]++
		}
		if n := counts[path]; n > 0 {
			path = fmt.Sprintf("%s[%d]", path, base[path]+n-1)
		}
	}
	return path
}

func note(found map[string]int, path string, line int) {
	if _, seen := found[path]; !seen {
		found[path] = line
	}
}

// locate is the line of path or, when it is not written, of what it is part
// of, and the length of what was found; 0 when not even that is written.
func locate(found map[string]int, path string) (line, length int) {
	for path != "" {
		if n, ok := found[path]; ok {
			return n, len(path)
		}
		path = path[:max(strings.LastIndexAny(path, ".["), 0)]
	}
	return 0, 0
}

// listLengths counts the elements of the lists of tables of c that drop-ins
// join: those of the top level and of its tables.
func listLengths(c *Config) map[string]int {
	n := map[string]int{}
	countLists("", reflect.ValueOf(c).Elem(), n)
	return n
}

func countLists(path string, v reflect.Value, n map[string]int) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
		switch f := v.Field(i); f.Kind() {
		case reflect.Slice:
			n[join(path, name)] = f.Len()
		case reflect.Struct:
			countLists(join(path, name), f, n)
		}
	}
}
