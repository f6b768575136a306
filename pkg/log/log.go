// Package log is the one place that knows the logging library. The logger
// rides in the context: whoever learns a fact worth having on every later
// line adds it once with With, and everybody logs with G(ctx).
//
// Levels: error = somebody must act; warn = degraded; info = a state changed,
// one line per operation, at its end; debug = for developers. Messages are
// constant; data goes into fields.
package log

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"mooring.dev/mooring/pkg/visible"
)

// Field names. They are the same in every component, so that one request can
// be followed from the guest to the catalog.
const (
	Req       = "req"
	Op        = "op"
	Actor     = "actor" // who asks, when it is not a VM
	VM        = "vm"
	VMGroup   = "vmgroup"
	Volume    = "volume"
	Datastore = "datastore"
	Stage     = "stage"
	Dur       = "dur_ms"
	Kind      = "kind"
	Err       = "err"
)

// Entry is a logger with fields.
type Entry = logrus.Entry

type ctxKey struct{}
type reqKey struct{}

var root = logrus.New()

// Options choose level (debug, info, warn, error) and format (json, text or
// auto: text on a terminal) of the process's log.
type Options struct {
	Level, Format string
	Output        io.Writer // nil: standard error
}

var levels = map[string]logrus.Level{
	"debug": logrus.DebugLevel, "info": logrus.InfoLevel, "warn": logrus.WarnLevel, "error": logrus.ErrorLevel,
}

// Setup configures the process's log. Unknown words are errors and change
// nothing. It may be called again, to change the level of a running process.
func Setup(o Options) error {
	level, ok := levels[o.Level]
	if !ok {
		return fmt.Errorf("log level %q is not valid: use debug, info, warn or error", o.Level)
	}
	var f logrus.Formatter
	switch o.Format {
	case "json":
		f = jsonFormat()
	case "text":
		f = textFormat()
	case "", "auto":
		f = jsonFormat()
		if st, err := os.Stderr.Stat(); err == nil && st.Mode()&os.ModeCharDevice != 0 {
			f = textFormat()
		}
	default:
		return fmt.Errorf("log format %q is not valid: use json, text or auto", o.Format)
	}
	root.SetFormatter(f)
	root.SetLevel(level)
	if o.Output != nil {
		root.SetOutput(o.Output)
	}
	return nil
}

// visibleJSON is a line of JSON that does nothing to the terminal of who reads
// it. The text format quotes by itself.
type visibleJSON struct{ logrus.JSONFormatter }

func (f *visibleJSON) Format(e *logrus.Entry) ([]byte, error) {
	line, err := f.JSONFormatter.Format(e)
	return visible.JSON(line), err
}

func jsonFormat() logrus.Formatter {
	return &visibleJSON{logrus.JSONFormatter{TimestampFormat: time.RFC3339Nano}}
}

func textFormat() logrus.Formatter {
	return &logrus.TextFormatter{TimestampFormat: time.RFC3339Nano, FullTimestamp: true}
}

// Level is the level in force, in the words of Options.
func Level() string {
	for word, level := range levels {
		if level == root.GetLevel() {
			return word
		}
	}
	return root.GetLevel().String()
}

// G returns the logger of ctx.
func G(ctx context.Context) *Entry {
	if e, ok := ctx.Value(ctxKey{}).(*Entry); ok {
		return e.WithContext(ctx)
	}
	return root.WithContext(ctx)
}

// With returns a context whose logger adds the given fields, as name, value,
// name, value.
func With(ctx context.Context, pairs ...any) context.Context {
	f := logrus.Fields{}
	for i := 0; i+1 < len(pairs); i += 2 {
		f[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return context.WithValue(ctx, ctxKey{}, G(ctx).WithFields(f))
}

// WithRequest returns a context that carries request id in its logger and for
// Request. An empty id is replaced by a new one.
func WithRequest(ctx context.Context, id string) context.Context {
	if id == "" {
		id = NewRequest()
	}
	return With(context.WithValue(ctx, reqKey{}, id), Req, id)
}

// Request is the request id of ctx, "" outside a request.
func Request(ctx context.Context) string {
	id, _ := ctx.Value(reqKey{}).(string)
	return id
}

// NewRequest makes a request id: eight hexadecimal digits, enough to find a
// line, short enough to read out.
func NewRequest() string {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand, Go 1.24)
	return hex.EncodeToString(b[:])
}
