package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/wire"
)

// Output formats.
const (
	formatTable = "table"
	formatWide  = "wide"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatName  = "name"
)

var formats = []string{formatTable, formatWide, formatJSON, formatYAML, formatName}

func (t *tool) checkFormat(cmd *cobra.Command) error {
	if slices.Contains(formats, t.format) {
		return nil
	}
	hint := ""
	if best := closest(t.format, formats); best != "" {
		hint = fmt.Sprintf(", did you mean %q?", best)
	}
	return usagef(cmd, "output format %q is not known: use table, wide, json, yaml or name%s", clean(t.format, false), hint)
}

// column is one column of a table of Ts. Key is how the user chooses it;
// wide columns are shown with -o wide only.
type column[T any] struct {
	key, header string
	value       func(T) string
	wide        bool
}

// list prints items in the chosen format; name is an item's for -o name.
func list[T any](t *tool, items []T, cols []column[T], name func(T) string) error {
	switch t.format {
	case formatJSON, formatYAML:
		if items == nil {
			items = []T{}
		}
		return t.encode(items)
	case formatName:
		var b strings.Builder
		for _, item := range items {
			b.WriteString(clean(name(item), false) + "\n")
		}
		return t.write(b.String())
	}
	cols = slices.DeleteFunc(slices.Clone(cols), func(c column[T]) bool { return c.wide && t.format != formatWide })
	header := make([]string, len(cols))
	for i, c := range cols {
		header[i] = c.header
	}
	var rows [][]string
	for _, item := range items {
		row := make([]string, len(cols))
		for i, c := range cols {
			row[i] = clean(c.value(item), false)
		}
		rows = append(rows, row)
	}
	return t.write(table(header, rows, !t.noHeaders))
}

// object prints one thing: v encoded, its name, or text.
func (t *tool) object(v any, name, text string) error {
	switch t.format {
	case formatJSON, formatYAML:
		return t.encode(v)
	case formatName:
		return t.write(clean(name, false) + "\n")
	}
	return t.write(text)
}

// success prints a message that scripts match: it is data.
func (t *tool) success(format string, args ...any) error {
	m := clean(fmt.Sprintf(format, args...), false)
	switch t.format {
	case formatJSON, formatYAML:
		return t.encode(wire.Message{Message: m})
	case formatName:
		return nil
	}
	return t.write(m + "\n")
}

// done reports a verb that leaves no object behind: its name for -o name, a
// message for machines, otherwise talk.
func (t *tool) done(name, format string, args ...any) error {
	m := clean(fmt.Sprintf(format, args...), false)
	switch t.format {
	case formatJSON, formatYAML:
		return t.encode(wire.Message{Message: m})
	case formatName:
		return t.write(clean(name, false) + "\n")
	}
	t.talk("%s", m)
	return nil
}

// talk tells the person something that no script needs.
func (t *tool) talk(format string, args ...any) {
	fmt.Fprintln(t.Err, clean(fmt.Sprintf(format, args...), true))
}

func (t *tool) encode(v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return errkind.Wrap(errkind.Internal, err, "encoding the answer")
	}
	if t.format == formatJSON {
		return t.write(string(visible.JSON(b.Bytes())))
	}
	text, err := toYAML(b.Bytes())
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "encoding the answer as YAML")
	}
	return t.write(text)
}

// toYAML rewrites JSON, which is YAML in another style, so that both formats
// have the same keys in the same order.
func toYAML(in []byte) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(escape(in), &doc); err != nil {
		return "", err
	}
	unstyle(&doc)
	var b strings.Builder
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(&doc); err != nil {
		return "", err
	}
	err := enc.Close()
	return numbered(b.String()), err
}

// numbered writes by number what is hidden. unstyle has put it into quotes.
func numbered(text string) string {
	if !strings.ContainsFunc(text, hidden) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if hidden(r) {
			fmt.Fprintf(&b, "\\U%08x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

func hidden(r rune) bool { return r != '\n' && visible.Hidden(r) }

// escape writes the characters that JSON takes as they are and YAML reads as
// line breaks or refuses as escapes. They occur inside strings only.
func escape(in []byte) []byte {
	var out []byte
	for _, r := range string(in) {
		if r >= 0x7f && r <= 0xffff && !unicode.IsGraphic(r) {
			out = fmt.Appendf(out, "\\u%04x", r)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out
}

func unstyle(n *yaml.Node) {
	if len(n.Content) > 0 || n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode && strings.ContainsFunc(n.Value, hidden) {
		n.Style = yaml.DoubleQuotedStyle
	}
	// The library writes a text that begins with a blank and has several lines
	// in a form that it does not read.
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "\n") && strings.TrimLeftFunc(n.Value, unicode.IsSpace) != n.Value {
		n.Style = yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		unstyle(c)
	}
}

func (t *tool) write(text string) error {
	_, err := io.WriteString(t.Out, text)
	return errkind.Wrap(errkind.Unavailable, err, "standard output cannot be written")
}

// table lays rows out left-aligned with two blanks between columns and a
// dashed rule below the header. Lines carry no blanks at their end; nothing
// is ever cut off.
func table(header []string, rows [][]string, headers bool) string {
	width := make([]int, len(header))
	all := rows
	if headers {
		all = append([][]string{header}, rows...)
	}
	for _, row := range all {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	if headers {
		rule := make([]string, len(header))
		for i, w := range width {
			rule[i] = strings.Repeat("-", w)
		}
		all = slices.Insert(all, 1, rule)
	}
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}

// clean makes text of others safe for a terminal: characters that could move
// the cursor, fake a line or hide become visible. Line breaks survive where
// lines are true.
func clean(s string, lines bool) string {
	return visible.Numbered(s, func(r rune) bool { return hidden(r) || r == '\n' && !lines })
}
