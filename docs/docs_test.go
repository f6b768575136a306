package docs

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/config"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// documents are all texts by their path from the root of the source.
func documents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "dist" || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			all[strings.TrimPrefix(path, "../")] = read(t, path)
		}
		return nil
	}))
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md", "docs/configuration.md",
		"docs/operations.md", "docs/plugin.md", "docs/tenancy.md", "docs/cli/mooring.md"} {
		require.Contains(t, all, name)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

func TestLinksResolve(t *testing.T) {
	docs := documents(t)
	for name, text := range docs {
		for _, m := range link.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			path := name
			if target != "" {
				path = filepath.Join(filepath.Dir(name), target)
				_, err := os.Stat(filepath.Join("..", path))
				assert.NoError(t, err, "%s links to %s", name, m[1])
			}
			if anchor != "" {
				assert.Contains(t, anchors(docs[path]), anchor, "%s links to %s", name, m[1])
			}
		}
	}
}

// anchors are those of a text's headings, as code hosts make them.
func anchors(text string) (out []string) {
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, m[1]))
	}
	return out
}

// rows are the table rows of a document by their first word in back quotes.
func rows(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(text, "\n") {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			key, _, _ := strings.Cut(rest, "`")
			out[key] = line
		}
	}
	return out
}

func TestConfigurationKeys(t *testing.T) {
	documented := rows(read(t, "configuration.md"))
	known := map[string]bool{}
	walkKeys("", reflect.ValueOf(config.Default()), func(key string, def reflect.Value) {
		known[key] = true
		row, ok := documented[key]
		if !assert.True(t, ok, "key %s is not documented", key) || def.IsZero() {
			return
		}
		want := fmt.Sprintf("%v", def)
		if def.Kind() == reflect.String || def.Type() == reflect.TypeFor[config.Duration]() {
			want = `"` + want + `"`
		}
		assert.Contains(t, row, "| `"+want+"` |", "default of %s", key)
	})
	for key := range documented {
		if !strings.HasSuffix(key, ".toml") && !strings.Contains(key, " ") {
			assert.Contains(t, known, key, "documented, but no key")
		}
	}
}

// walkKeys visits every key of the configuration that holds a value.
func walkKeys(path string, v reflect.Value, visit func(string, reflect.Value)) {
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("toml"), ",")
		if name == "-" {
			continue
		}
		f, key := v.Field(i), strings.TrimPrefix(path+"."+name, ".")
		switch {
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct:
			walkKeys(key, reflect.New(f.Type().Elem()).Elem(), visit)
			visit(key, f)
		case f.Kind() == reflect.Struct:
			walkKeys(key, f, visit)
		case f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct:
			walkKeys(key, reflect.New(f.Type().Elem()).Elem(), visit)
			if strings.Contains(key, ".") {
				visit(key, f)
			}
		default:
			visit(key, f)
		}
	}
}

// The plugin's parts are internal to it: its source is what this test reads.
func TestPluginSettings(t *testing.T) {
	documented := rows(read(t, "plugin.md"))
	found := regexp.MustCompile(`\{"((?:MOORING|VDVS)_[A-Z_]+)", "([a-z-]*)", "([^"]*)",`).FindAllStringSubmatch(read(t, "../plugin/internal/app/settings.go"), -1)
	require.NotEmpty(t, found)
	for _, m := range found {
		row := documented[m[1]]
		if m[2] != "" {
			assert.Contains(t, row, "| `--"+m[2]+"` |", "flag of %s", m[1])
		}
		if m[3] != "" {
			assert.Contains(t, row, "| `"+m[3]+"` |", "default of %s", m[1])
		}
		assert.NotEmpty(t, row, "setting %s is not documented", m[1])
	}
}

func TestVolumeOptionsAndStatus(t *testing.T) {
	text := read(t, "plugin.md")
	_, err := volspec.ParseOptions(map[string]string{"?": ""})
	_, list, found := strings.Cut(errkind.Text(err), "Valid options and defaults:")
	require.True(t, found)
	for _, m := range regexp.MustCompile(`\('([^']+)', '`).FindAllStringSubmatch(list, -1) {
		assert.Contains(t, text, "`"+m[1]+"`", "option of docker volume create")
	}
	fields := regexp.MustCompile(`(?m)^\t\t"([a-z -]+)":|m\["([a-z -]+)"\]|set\("([a-z-]+)"`).FindAllStringSubmatch(read(t, "../plugin/internal/driver/status.go"), -1)
	require.Greater(t, len(fields), 20)
	for _, m := range fields {
		name := m[1] + m[2] + m[3]
		if name != "size" && name != "allocated" {
			assert.Contains(t, text, "`"+name+"`", "field of Status")
		}
	}
}

func TestMetrics(t *testing.T) {
	text := read(t, "operations.md")
	source := read(t, "../hostsvc/internal/api/metrics.go")
	names := regexp.MustCompile(`gauge\("([a-z_]+)"|Name: "mooring_([a-z_]+)"`).FindAllStringSubmatch(source, -1)
	require.Greater(t, len(names), 12)
	for _, m := range names {
		assert.Contains(t, text, "`mooring_"+m[1]+m[2], "metric")
	}
}

// commandText finds commands in examples and in running text.
var (
	example = regexp.MustCompile(`(?m)^(?:\$ )?(mooring .*)$`)
	inline  = regexp.MustCompile("`(mooring [^`]*)`")
	flagOf  = regexp.MustCompile(`--?[a-z][a-z-]*`)
)

// Every command that a document tells to run exists, with its flags. The
// pages of the reference are generated from the program.
func TestCommandsExist(t *testing.T) {
	pages := map[string]string{}
	for name, text := range documents(t) {
		if page, ok := strings.CutPrefix(name, "docs/cli/"); ok {
			pages[strings.ReplaceAll(strings.TrimSuffix(page, ".md"), "_", " ")] = text
		}
	}
	n := 0
	for name, text := range documents(t) {
		if strings.HasPrefix(name, "docs/cli/") {
			continue
		}
		var said []string
		for _, block := range fenced.FindAllString(text, -1) {
			for _, m := range example.FindAllStringSubmatch(block, -1) {
				said = append(said, m[1])
			}
		}
		for _, m := range inline.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
			said = append(said, m[1])
		}
		for _, command := range said {
			n++
			checkCommand(t, pages, name, command)
		}
	}
	assert.Greater(t, n, 50, "commands were found")
}

func checkCommand(t *testing.T, pages map[string]string, where, command string) {
	command, _, _ = strings.Cut(command, " | ")
	words := strings.Fields(command)
	best := "mooring"
	for i := range words {
		if prefix := strings.Join(words[:i+1], " "); pages[prefix] != "" {
			best = prefix
		}
	}
	if !assert.NotEqual(t, "mooring", best, "%s: %q is no command", where, command) {
		return
	}
	// A command that only groups others must not be followed by a made-up one.
	if strings.Contains(pages[best], "\n"+best+" COMMAND") {
		assert.Len(t, words, len(strings.Fields(best)), "%s: %q is no command", where, command)
	}
	for _, word := range words[len(strings.Fields(best)):] {
		if f := flagOf.FindString(word); f != "" && strings.HasPrefix(word, "-") {
			assert.Regexp(t, regexp.MustCompile(`(?m)^ +.*`+regexp.QuoteMeta(f)+`[ ,]`), pages[best], "%s: %q", where, command)
		}
	}
}

func TestMakeTargetsExist(t *testing.T) {
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z0-9-]+):`).FindAllStringSubmatch(read(t, "../Makefile"), -1) {
		targets[m[1]] = true
	}
	inText, inBlock := regexp.MustCompile("`make ([a-z0-9-]+)"), regexp.MustCompile(`(?m)^(?:\$ )?make ([a-z0-9-]+)`)
	for name, text := range documents(t) {
		said := inText.FindAllStringSubmatch(text, -1)
		for _, block := range fenced.FindAllString(text, -1) {
			said = append(said, inBlock.FindAllStringSubmatch(block, -1)...)
		}
		for _, m := range said {
			assert.True(t, targets[m[1]], "%s mentions make %s", name, m[1])
		}
	}
}

// What the architecture calls package.Name is declared in that package.
func TestArchitectureNames(t *testing.T) {
	folders := map[string]string{}
	for _, pattern := range []string{"../hostsvc/internal/*", "../plugin/internal/*", "../pkg/*"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, f := range found {
			if _, taken := folders[filepath.Base(f)]; !taken { // app is in both: that of the host service is meant
				folders[filepath.Base(f)] = f
			}
		}
	}
	keys := rows(read(t, "configuration.md"))
	names := regexp.MustCompile("`([a-z]+)\\.([A-Za-z]+)").FindAllStringSubmatch(read(t, "architecture.md"), -1)
	n := 0
	for _, m := range names {
		if folders[m[1]] == "" || keys[m[1]+"."+m[2]] != "" {
			continue
		}
		n++
		declared := regexp.MustCompile(`(?m)^(?:func|type|var|const|\t)(?: \([a-z]+ \*?\w+\))? ?` + m[2] + `\b`)
		sources, err := filepath.Glob(folders[m[1]] + "/*.go")
		require.NoError(t, err)
		found := false
		for _, path := range sources {
			found = found || declared.MatchString(read(t, path))
		}
		assert.True(t, found, "%s.%s is not declared in %s", m[1], m[2], folders[m[1]])
	}
	assert.Greater(t, n, 15, "names were found")
}

// Words of development that users must not meet.
func TestNoForeignWords(t *testing.T) {
	for name, text := range documents(t) {
		if strings.HasPrefix(name, "docs/cli/") {
			continue
		}
		for line := range strings.SplitSeq(text, "\n") {
			for _, word := range []string{"TODO", "FIXME", "XXX", "blazing", "seamless"} {
				assert.NotContains(t, line, word, name)
			}
		}
	}
}

// What documents say of the HTTP interface is what it has.
func TestMethodsExist(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(OpenAPI, &doc))
	said := regexp.MustCompile("`(GET|POST|PUT|PATCH|DELETE) (?:/api/v1)?(/[^`?]*)")
	n := 0
	for name, text := range documents(t) {
		for _, m := range said.FindAllStringSubmatch(text, -1) {
			path := strings.NewReplacer("/vmgroups/NAME", "/vmgroups/{vmgroup}").Replace(m[2])
			assert.Contains(t, doc.Paths["/api/v1"+path], strings.ToLower(m[1]), "%s: %s %s", name, m[1], m[2])
			n++
		}
	}
	assert.Greater(t, n, 20, "methods were found")
}

// Kinds of errors and their statuses, and the roles, are told as they are.
func TestKindsAndRoles(t *testing.T) {
	documented := rows(read(t, "api.md"))
	for _, k := range []errkind.Kind{
		errkind.Internal, errkind.Invalid, errkind.NotFound, errkind.Exists, errkind.InUse, errkind.Denied, errkind.Quota,
		errkind.Unavailable, errkind.Busy, errkind.Corrupt, errkind.Unsupported, errkind.Offline, errkind.WrongKey, errkind.Unconfigured,
	} {
		assert.Contains(t, documented[string(k)], fmt.Sprintf("| %d |", k.HTTPStatus()), k)
	}
	roles := rows(read(t, "users.md"))
	for _, r := range slices.Concat(volspec.MasterRoles, volspec.TenantRoles) {
		assert.Contains(t, roles, string(r))
	}
}
