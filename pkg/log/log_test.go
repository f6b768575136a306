package log

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/visible"
	"mooring.dev/mooring/pkg/volspec/volspectest"
)

// to sends the process's log into a buffer for one test.
func to(t *testing.T, level, format string) *bytes.Buffer {
	t.Helper()
	b := &bytes.Buffer{}
	require.NoError(t, Setup(Options{Level: level, Format: format, Output: b}))
	t.Cleanup(func() {
		require.NoError(t, Setup(Options{Level: "info", Format: "json", Output: os.Stderr}))
	})
	return b
}

func line(t *testing.T, b *bytes.Buffer) map[string]any {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(b.Bytes(), &m), b.String())
	b.Reset()
	return m
}

func TestFieldsRideInTheContext(t *testing.T) {
	b := to(t, "info", "json")
	ctx := With(t.Context(), Volume, "v", Datastore, "ds")
	inner := With(ctx, Stage, "clone", Volume, "w")
	G(inner).Info("done")
	got := line(t, b)
	assert.Equal(t, "w", got["volume"], "the innermost wins")
	assert.Equal(t, "ds", got["datastore"])
	assert.Equal(t, "clone", got["stage"])
	assert.Equal(t, "done", got["msg"])
	assert.Equal(t, "info", got["level"])
	assert.Contains(t, got, "time")

	G(ctx).Info("done")
	got = line(t, b)
	assert.Equal(t, "v", got["volume"])
	assert.NotContains(t, got, "stage", "what was added inside stays inside")

	G(With(ctx, "odd")).Info("done")
	assert.Equal(t, "v", line(t, b)["volume"], "a name without a value is left out")

	G(context.Background()).Info("done")
	assert.NotContains(t, line(t, b), "volume")
}

func TestRequestIDs(t *testing.T) {
	b := to(t, "info", "json")
	assert.Empty(t, Request(t.Context()))
	ctx := WithRequest(t.Context(), "7f3a91")
	assert.Equal(t, "7f3a91", Request(ctx))
	G(ctx).Info("x")
	assert.Equal(t, "7f3a91", line(t, b)["req"])

	made := Request(WithRequest(ctx, ""))
	assert.Regexp(t, "^[0-9a-f]{8}$", made)
	seen := map[string]bool{}
	for range 1000 {
		seen[NewRequest()] = true
	}
	assert.Greater(t, len(seen), 990, "they differ")
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]string{
		"debug": "debug info warn error", "info": "info warn error", "warn": "warn error", "error": "error",
	} {
		b := to(t, level, "json")
		assert.Equal(t, level, Level())
		l := G(t.Context())
		l.Debug("debug")
		l.Info("info")
		l.Warn("warn")
		l.Error("error")
		var got []string
		for s := range strings.Lines(b.String()) {
			var m map[string]any
			require.NoError(t, json.Unmarshal([]byte(s), &m))
			got = append(got, m["msg"].(string))
		}
		assert.Equal(t, want, strings.Join(got, " "))
	}
}

func TestFormats(t *testing.T) {
	b := to(t, "info", "text")
	G(With(t.Context(), Volume, "a\nb")).Info("done")
	assert.Contains(t, b.String(), `msg=done volume="a\nb"`, "one line, whatever is in it")
	assert.Equal(t, 1, strings.Count(b.String(), "\n"))

	b = to(t, "info", "auto")
	G(t.Context()).Info("done")
	assert.Contains(t, b.String(), "done")
}

// A refused setting leaves the old one in force.
func TestSetupRefusesUnknownWords(t *testing.T) {
	b := to(t, "warn", "json")
	for _, o := range []Options{
		{Level: "trace", Format: "xml"}, {Level: "debug", Format: "xml"}, {Level: "loud", Format: "json"}, {Level: "", Format: "json"},
		{Level: "fatal", Format: "json"}, {Level: "panic", Format: "json"}, {Level: "trace", Format: "json"},
	} {
		require.Error(t, Setup(o), "%+v", o)
		assert.Equal(t, "warn", Level())
	}
	assert.EqualError(t, Setup(Options{Level: "loud"}), `log level "loud" is not valid: use debug, info, warn or error`)
	assert.EqualError(t, Setup(Options{Level: "info", Format: "xml"}), `log format "xml" is not valid: use json, text or auto`)
	G(t.Context()).Warn("still here")
	assert.Equal(t, "still here", line(t, b)["msg"])
}

// Whatever things are called, an entry is one line that does nothing to the
// terminal, and what programs read says the name.
func TestNamesAreWordsInALog(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		b := to(t, "info", format)
		for what, name := range volspectest.Hostile {
			b.Reset()
			G(With(t.Context(), Volume, name, VM, name)).WithField(Err, name).Warn("volume is away")
			text := b.String()
			assert.Equal(t, 1, strings.Count(text, "\n"), "%s: %q", what, text)
			assert.Equal(t, len(text)-1, strings.IndexFunc(text, visible.Hidden), "%s: %q", what, text)
			if format == "json" {
				got := line(t, b)
				assert.Equal(t, name, got["volume"], what)
				assert.Equal(t, "warning", got["level"], what)
				continue
			}
			assert.Equal(t, 1, strings.Count(text, " level=warning msg="), what)
			assert.True(t, strings.HasPrefix(text, "time="), what)
		}
	}
}
