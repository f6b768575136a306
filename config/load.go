package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"

	"mooring.dev/mooring/pkg/errkind"
)

// maxFile bounds one file, in bytes; nobody writes more by hand.
const maxFile = 1 << 20

// Load reads the configuration at path and its drop-ins PATH.d/*.toml: single
// values of a later file replace those of an earlier one, lists of tables are
// joined. The error is of kind invalid and lists every problem with file and
// line; its cause is a Problems. A file that cannot be read is unavailable,
// an absent one not-found.
func Load(path string) (Config, error) {
	names, err := filepath.Glob(escape(path) + ".d/*.toml") // sorted
	if err != nil {
		return Config{}, errkind.Wrap(errkind.Invalid, err, "configuration path %q cannot be used", path)
	}
	l := loader{cfg: Default()}
	for _, name := range append([]string{path}, names...) {
		doc, err := read(name)
		if err != nil {
			return Config{}, err
		}
		l.file(name, doc)
	}
	return l.done()
}

// Parse is Load for one document that is already in memory; name stands for
// the file in messages.
func Parse(name string, doc []byte) (Config, error) {
	l := loader{cfg: Default()}
	l.file(name, string(doc))
	return l.done()
}

func read(name string) (string, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errkind.New(errkind.NotFound, "configuration %s does not exist: copy the sample to it, or name another file with --config", name)
	}
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "configuration cannot be read")
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", errkind.Wrap(errkind.Unavailable, err, "configuration cannot be read")
	}
	if len(b) > maxFile {
		return "", errkind.New(errkind.Invalid, "configuration %s is larger than 1 MiB: split it, or check that it is the right file", name)
	}
	return string(b), nil
}

// loader gathers files into one configuration.
type loader struct {
	cfg      Config
	problems Problems
	files    []source
	broken   bool // a file is not TOML at all
}

type source struct {
	name string
	doc  string
	base map[string]int
}

func (l *loader) file(name, doc string) {
	l.cfg.Files = append(l.cfg.Files, name)
	before := listLengths(&l.cfg)
	var m map[string]any
	if _, err := toml.Decode(doc, &m); err != nil {
		p := Problem{Text: err.Error(), Where: name, order: len(l.files) * (maxFile + 1)}
		if pe, ok := errors.AsType[toml.ParseError](err); ok {
			p.Text, p.Where = pe.Message, fmt.Sprintf("%s:%d", name, pe.Position.Line)
		}
		l.problems = append(l.problems, p)
		l.broken = true
		return
	}
	l.files = append(l.files, source{name, doc, before})
	d := decoder{}
	d.table("", m, reflect.ValueOf(&l.cfg).Elem())
	l.problems = append(l.problems, d.problems...)
	for i := before["vmgroup"]; i < len(l.cfg.VMGroups); i++ {
		l.cfg.VMGroups[i].File = name
	}
}

func (l *loader) done() (Config, error) {
	l.cfg.complete()
	// Rules about values are judged even when other values are unreadable,
	// but a path that already has a problem needs no second one, and what a
	// file declares that is not TOML cannot be missed.
	if !l.broken {
		unreadable := l.problems
		for _, p := range l.cfg.check() {
			if !unreadable.touch(p.Path) {
				l.problems = append(l.problems, p)
			}
		}
	}
	if len(l.problems) == 0 {
		return l.cfg, nil
	}
	l.locate()
	l.problems.sort()
	return Config{}, invalid(l.cfg.Files[0], l.problems)
}

// locate gives every problem the place of its path: where most of it is
// written, and of several such places the last, since that one counts.
func (l *loader) locate() {
	best := make([]int, len(l.problems))
	for i, f := range l.files {
		found := lines(f.doc, f.base)
		for j := range l.problems {
			p := &l.problems[j]
			if n, length := locate(found, p.Path); n > 0 && length >= best[j] {
				best[j] = length
				p.Where = fmt.Sprintf("%s:%d", f.name, n)
				p.order = i*(maxFile+1) + n
			}
		}
	}
}

// touch reports whether there is a problem at path or above or below it.
func (p Problems) touch(path string) bool {
	for _, one := range p {
		if one.Path == path || strings.HasPrefix(one.Path, path+".") || strings.HasPrefix(path, one.Path+".") {
			return true
		}
	}
	return false
}

func invalid(name string, p Problems) error {
	if name != "" {
		name = " " + name
	}
	return errkind.Wrap(errkind.Invalid, p, "configuration%s is not valid", name)
}

// escape quotes what filepath.Glob would read as a pattern.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}
