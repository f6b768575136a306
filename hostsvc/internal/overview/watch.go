package overview

import (
	"context"
	"iter"
	"slices"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// watched is how many open jobs are followed at a time, and watchPause between
// two looks at them. What was made shortly before a look may be in the catalog
// only after it: the next one goes back by watchBack.
const (
	watched    = 100
	watchPause = time.Second
	watchBack  = 3 * time.Second
)

// Watch yields the open jobs and standing alarms of one vmgroup, or with "" of
// all, then whatever has changed, until ctx ends. After each look there is an
// event without a kind. An error is the last.
func (s *Service) Watch(ctx context.Context, group string) iter.Seq2[wire.Event, error] {
	return func(yield func(wire.Event, error) bool) {
		tick := time.NewTicker(watchPause)
		defer tick.Stop()
		w := watch{s: s, group: group, from: time.Now(), ended: map[volspec.JobID]bool{}}
		for {
			events, err := w.look(ctx)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				yield(wire.Event{}, err)
				return
			}
			for _, e := range append(events, wire.Event{}) {
				if !yield(e, nil) {
					return
				}
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// watch is what was last seen.
type watch struct {
	s      *Service
	group  string
	from   time.Time              // when the watch began
	since  time.Time              // of the look before, zero for none
	ended  map[volspec.JobID]bool // told, and perhaps still among those just made
	jobs   map[volspec.JobID]wire.Job
	alarms map[alarm]wire.Alarm
}

type alarm struct{ group, kind, object string }

// look returns what has changed since the look before, jobs first.
func (w *watch) look(ctx context.Context) ([]wire.Event, error) {
	begun := time.Now()
	open, err := w.s.o.Backups.Working(ctx, w.group, watched)
	if err != nil {
		return nil, err
	}
	var out []wire.Event
	now := map[volspec.JobID]wire.Job{}
	for _, j := range open {
		now[j.ID] = j
		if old, known := w.jobs[j.ID]; !known || !sameJob(old, j) {
			out = append(out, wire.Event{Kind: wire.EventJob, Job: &j})
		}
	}
	for id, old := range w.jobs {
		if _, open := now[id]; open {
			continue
		}
		j, err := w.s.o.Backups.JobOf(ctx, old.VMGroup, id)
		if errkind.Is(err, errkind.NotFound) { // with its vmgroup
			continue
		}
		if err != nil {
			return nil, err
		}
		if j.Over() { // otherwise it is beyond those that are followed
			w.ended[id] = true
			out = append(out, wire.Event{Kind: wire.EventJob, Job: &j})
		}
	}
	brief, err := w.brief(ctx)
	if err != nil {
		return nil, err
	}
	alarms, err := w.lookAlarms(ctx)
	w.jobs, w.since = now, begun
	return slices.Concat(out, brief, alarms), err
}

// brief returns the jobs that were made after the look before and have ended
// already.
func (w *watch) brief(ctx context.Context) (out []wire.Event, err error) {
	if w.since.IsZero() {
		return nil, nil
	}
	made, err := w.s.o.Backups.Made(ctx, w.group, w.since.Add(-watchBack), watched)
	if err != nil {
		return nil, err
	}
	ended := map[volspec.JobID]bool{}
	for _, j := range made {
		if !j.Over() || j.Created.Before(w.from) {
			continue
		}
		ended[j.ID] = true
		if !w.ended[j.ID] {
			out = append(out, wire.Event{Kind: wire.EventJob, Job: &j})
		}
	}
	w.ended = ended
	return out, nil
}

func (w *watch) lookAlarms(ctx context.Context) (out []wire.Event, err error) {
	all, err := w.s.o.Backups.Alarms(ctx, w.group)
	if err != nil {
		return nil, err
	}
	now := map[alarm]wire.Alarm{}
	for _, a := range all {
		key := alarm{a.VMGroup, a.Kind, a.Object}
		now[key] = a
		if old, known := w.alarms[key]; !known || old != a {
			out = append(out, wire.Event{Kind: wire.EventAlarm, Alarm: &a})
		}
	}
	for key, old := range w.alarms {
		if _, stands := now[key]; !stands {
			out = append(out, wire.Event{Kind: wire.EventCleared, Alarm: &old})
		}
	}
	w.alarms = now
	return out, nil
}

// sameJob tells whether there is nothing new to show of a job.
func sameJob(a, b wire.Job) bool {
	return a.State == b.State && a.Stage == b.Stage && a.Progress == b.Progress && a.Cancel == b.Cancel && a.Attempts == b.Attempts &&
		slices.Equal(a.Warnings, b.Warnings)
}
