package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestExitCodesFollowTheKind(t *testing.T) {
	for kind, want := range map[errkind.Kind]int{
		errkind.Internal: 1, errkind.Unavailable: 1, errkind.Corrupt: 1, errkind.Unsupported: 1, errkind.Invalid: 2,
		errkind.NotFound: 4, errkind.Denied: 5, errkind.Exists: 6, errkind.InUse: 6, errkind.Quota: 7,
	} {
		s := newSession(world())
		s.admin.fail["VMs"] = errkind.New(kind, "the sentence of %s", kind)
		got := s.run(t, "vm", "ls")
		assert.Equal(t, outcome{want, "", "Error: the sentence of " + string(kind) + "\n"}, got)
	}
}

func TestTheClientIsClosedOnce(t *testing.T) {
	s := newSession(world())
	s.run(t, "volume", "ls", "--vmgroup=Nobody")
	require.Equal(t, 1, s.admin.closed)
}

func TestAllFailedIsNotPartly(t *testing.T) {
	s := newSession(world())
	s.admin.fail["RemoveVolume"] = errkind.New(errkind.Denied, "no")
	require.Equal(t, outcome{5, "", "Error: no\nError: no\n"}, s.run(t, "volume", "rm", "Dev/a", "Dev/b"))
}

func TestErrorsOfTheServiceCannotDriveTheTerminal(t *testing.T) {
	s := newSession(world())
	s.admin.fail["VMs"] = errkind.New(errkind.NotFound, "gone \x1b[2J\r\u202e\nError: forged")
	got := s.run(t, "vm", "ls")
	require.Equal(t, "Error: gone \\x1b[2J\\r\\u202e\nError: forged\n", got.err)
}

func TestColorOnlyOnTheWordError(t *testing.T) {
	s := newSession(world())
	s.opts.Color = true
	s.admin.fail["VMs"] = errkind.New(errkind.NotFound, "gone")
	require.Equal(t, "\x1b[1;31mError:\x1b[0m gone\n", s.run(t, "vm", "ls").err)
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := newSession(world())
	s.admin.fail["VMs"] = errkind.Wrap(errkind.Unavailable, context.Canceled, "the call was given up")
	var out, errs bytes.Buffer
	s.opts.Out, s.opts.Err, s.opts.In = &out, &errs, strings.NewReader("")
	require.Equal(t, 130, Run(ctx, []string{"vm", "ls"}, s.opts))
	require.Equal(t, "Error: interrupted: what the service had begun, it finishes or undoes by itself\n", errs.String())
	require.Empty(t, out.String())
}

func TestInterruptedAtAQuestion(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in, answer := io.Pipe()
	s := newSession(world())
	s.opts.Interactive, s.opts.In, s.opts.Out = true, in, io.Discard
	asked := make(chan struct{})
	s.opts.Err = writerFunc(func(p []byte) (int, error) {
		if strings.Contains(string(p), "[y/N]") {
			close(asked)
		}
		return len(p), nil
	})
	code := make(chan int)
	go func() { code <- Run(ctx, []string{"volume", "rm", "--purge", "Dev/db"}, s.opts) }()
	<-asked
	cancel()
	require.Equal(t, 130, <-code)
	require.Empty(t, s.admin.calls)
	require.NoError(t, answer.Close())
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestFullDiskBehindStandardOutputIsAnError(t *testing.T) {
	for _, format := range formats {
		s := newSession(world())
		var errs bytes.Buffer
		s.opts.In, s.opts.Err = strings.NewReader(""), &errs
		s.opts.Out = failing{}
		require.Equal(t, 1, Run(t.Context(), []string{"vm", "ls", "-o", format}, s.opts), format)
		require.Equal(t, "Error: standard output cannot be written: no space left on device\n", errs.String())
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestSocketAddress(t *testing.T) {
	for _, c := range []struct{ flag, env, want string }{
		{"", "", DefaultSocket},
		{"", "unix:///tmp/a.sock", "unix:///tmp/a.sock"},
		{"", "/tmp/a.sock", "unix:///tmp/a.sock"},
		{"/tmp/b.sock", "unix:///tmp/a.sock", "unix:///tmp/b.sock"},
		{"tls://host:1020", "", "tls://host:1020"},
	} {
		s := newSession(world())
		var asked string
		s.opts.Getenv = func(key string) string {
			return map[string]string{"MOORING_SOCKET": c.env}[key]
		}
		s.opts.Connect = func(address string) (Admin, error) {
			asked = address
			return s.admin, nil
		}
		require.Zero(t, s.run(t, "vm", "ls", "--socket", c.flag).code)
		require.Equal(t, c.want, asked)
	}
}

func TestListingsFollowEveryPage(t *testing.T) {
	s := newSession(world())
	s.admin.pageSize = 1
	require.Equal(t, "Dev/db@fast\nDev/logs@slow\n_DEFAULT/x@fast\n", s.run(t, "volume", "ls", "-o", "name").out)
	require.Len(t, s.admin.calls, 3)
}

// TestTableLayout checks what the old tables promise: columns as wide as
// their widest cell, two blanks between, a rule under each, nothing cut,
// no blanks at the end of a line.
func TestTableLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "columns")
		cell := rapid.StringOfN(rapid.RuneFrom([]rune("ab-ü世")), 0, 12, -1)
		header := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune("HEAD")), 1, 6, -1), n, n).Draw(t, "header")
		rows := rapid.SliceOf(rapid.SliceOfN(cell, n, n)).Draw(t, "rows")
		lines := strings.Split(strings.TrimSuffix(table(header, rows, true), "\n"), "\n")
		require.Len(t, lines, len(rows)+2)
		for i, row := range append([][]string{header, nil}, rows...) {
			require.Equal(t, strings.TrimRight(lines[i], " "), lines[i])
			if row == nil {
				continue
			}
			rest := []rune(lines[i])
			for c, rule := range strings.Split(lines[1], "  ") {
				width := min(len(rule), len(rest))
				require.Equal(t, row[c], strings.TrimRight(string(rest[:width]), " "))
				rest = rest[width:]
				rest = rest[min(2, len(rest)):]
			}
			require.Empty(t, rest)
		}
		for c, rule := range strings.Split(lines[1], "  ") {
			widest := utf8.RuneCountInString(header[c])
			for _, row := range rows {
				widest = max(widest, utf8.RuneCountInString(row[c]))
			}
			require.Equal(t, strings.Repeat("-", widest), rule)
		}
	})
}

// TestYAMLSaysWhatJSONSays: strings stay strings, whatever they look like.
func TestYAMLSaysWhatJSONSays(t *testing.T) {
	texts := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"true", "null", "~", "1e3", "0x10", "2017-01-01", "- a", "a: b", "#x", "&a", "*a", "!t", " lead", "trail ", "", "a\nb\n", "yes", "\u2028", "\ufeff", "\x7f", "\u0085", "\t\n", " a\nb", "\n", "\na",
	}))
	rapid.Check(t, func(t *rapid.T) {
		want := map[string]any{"text": texts.Draw(t, "text"), "n": rapid.Int64().Draw(t, "n"), "list": []any{}, "deep": map[string]any{"b": true}}
		var in bytes.Buffer
		require.NoError(t, json.NewEncoder(&in).Encode(want))
		text, err := toYAML(in.Bytes())
		require.NoError(t, err)
		var got map[string]any
		require.NoError(t, yaml.Unmarshal([]byte(text), &got), text)
		again, err := json.Marshal(got)
		require.NoError(t, err)
		require.JSONEq(t, in.String(), string(again), text)
	})
}

func TestClosest(t *testing.T) {
	words := []string{"vmgroup", "volume", "attached-to", "access", "attach-as"}
	for typed, want := range map[string]string{"vmgruop": "vmgroup", "VOLUMES": "volume", "acess": "access", "attached": "attached-to", "zebra": "", "": ""} {
		require.Equal(t, want, closest(typed, words), typed)
	}
}
