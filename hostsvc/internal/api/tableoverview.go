package api

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"reflect"
	"slices"
	"time"

	"mooring.dev/mooring/hostsvc/internal/overview"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Overview is everything the interface wants of the overview. group is the name
// of a vmgroup, "" is all.
type Overview interface {
	Dashboard(ctx context.Context, group, zone string) (wire.Dashboard, error)
	Calendar(ctx context.Context, group string, r overview.Request) (wire.Calendar, error)
	// Search finds users only for callers who may see them.
	Search(ctx context.Context, c volspec.Caller, group, text string) ([]wire.Found, error)
	// Watch yields the open jobs and the alarms, then whenever one has changed,
	// until ctx ends; an event without a kind after each look.
	Watch(ctx context.Context, group string) iter.Seq2[wire.Event, error]
}

var (
	scopeParams = []param{{"vmgroup", "string", "only of this vmgroup"}}
	zoneParam   = param{"zone", "string", "time zone of days, such as Europe/Berlin; UTC if it is not given"}
)

var overviewEndpoints = []endpoint{
	{
		http.MethodGet, "/dashboard", users, backupRead, ofScope,
		"How well things are protected, what ran, runs and will run", append(slices.Clone(scopeParams), zoneParam),
		give(func(ctx context.Context, s *Server, c *call) (wire.Dashboard, error) {
			return s.o.Overview.Dashboard(ctx, c.scope(), c.query.Get("zone"))
		}),
	},
	{
		http.MethodGet, "/calendar", users, backupRead, ofScope,
		"What ran and what will run between two moments, by time",
		append(slices.Clone(scopeParams), zoneParam,
			param{"from", "string", "date in the zone, or RFC 3339; the first of this month if it is not given"},
			param{"to", "string", "date or time that is not part of it any more; a month after from if it is not given"},
			param{"policy", "string", "only of this policy of the vmgroup"},
			param{"limit", "integer", "number of entries, at most 2000; 0: 500"}),
		give(calendar),
	},
	{
		http.MethodGet, "/search", users, backupRead, ofScope,
		"Things whose name has a text in it, and recovery points and jobs whose id begins with it",
		append(slices.Clone(scopeParams), param{"q", "string", "the text, at least two characters"}),
		give(func(ctx context.Context, s *Server, c *call) ([]wire.Found, error) {
			return s.o.Overview.Search(ctx, c.caller, c.scope(), c.query.Get("q"))
		}),
	},
	{
		http.MethodGet, "/events", users, backupRead, ofScope,
		"Jobs and alarms as server-sent events, first all that are open, then whenever one changes, for as long as the caller listens", scopeParams,
		handler{out: reflect.TypeFor[wire.Event](), media: "text/event-stream", stream: watch},
	},
}

func calendar(ctx context.Context, s *Server, c *call) (wire.Calendar, error) {
	limit, err := c.number("limit")
	if err != nil {
		return wire.Calendar{}, err
	}
	return s.o.Overview.Calendar(ctx, c.scope(), overview.Request{
		From: c.query.Get("from"), To: c.query.Get("to"), Zone: c.query.Get("zone"), Policy: c.query.Get("policy"), Limit: limit,
	})
}

// watch sends what changes until the other side goes or mooringd stops. Then the
// other side asks again.
func watch(ctx context.Context, s *Server, c *call, w *streamWriter) error {
	ctx, cancel := untilStop(ctx)
	defer cancel()
	heard := time.Time{}
	for e, err := range s.o.Overview.Watch(ctx, c.scope()) {
		if err != nil {
			return err
		}
		line := ": still here"
		switch {
		case e.Kind != "":
			data, err := json.Marshal(e)
			if err != nil {
				return errkind.Wrap(errkind.Internal, err, "encode the event")
			}
			line = "data: " + string(data)
		case time.Since(heard) < s.keepAlive: // at first it is told, too
			continue
		}
		heard = time.Now()
		if err := w.event(line); err != nil {
			return err
		}
	}
	w.started = true // also where there was not a word
	return nil
}
