package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// waitFlags say whether a command waits for the jobs that it begins.
type waitFlags struct{ wait, noWait bool }

func (w *waitFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&w.wait, "wait", true, "wait until the work has ended and show its progress")
	cmd.Flags().BoolVar(&w.noWait, "no-wait", false, "only begin the work and print the job")
}

func (w *waitFlags) waits() bool { return w.wait && !w.noWait }

const (
	askEvery  = time.Second      // between two looks at a job
	sayEvery  = 10 * time.Second // between two lines about a job without a terminal
	awayLimit = time.Minute      // how long a service may be away, to be restarted, while somebody waits
)

// goesOn is that somebody stopped waiting.
type goesOn struct {
	text string
	err  error
}

func (g *goesOn) Error() string { return g.text }
func (g *goesOn) Unwrap() error { return g.err }

// waiter follows jobs to their end and shows how far they are.
type waiter struct {
	t    *tool
	jobs []wire.Job
	said map[volspec.JobID]said
	bar  bool // a line that is drawn over and over stands on the terminal
}

// said is what was last told of a job.
type said struct {
	text string
	at   time.Time
}

// wait follows jobs until all have ended. With -o json every change is a line.
// An error is only that they could not be followed.
func (t *tool) wait(ctx context.Context, admin Admin, jobs []wire.Job) ([]wire.Job, error) {
	w := &waiter{t: t, jobs: jobs, said: map[volspec.JobID]said{}}
	var away time.Time // since when the service does not answer
	for {
		if err := w.show(); err != nil {
			return w.jobs, err
		}
		if w.left() == 0 {
			w.clear()
			return w.jobs, nil
		}
		err := w.look(ctx, admin)
		switch {
		case err == nil:
			away = time.Time{}
			continue
		case ctx.Err() != nil:
			w.clear()
			return w.jobs, &goesOn{w.farewell(), err}
		case !errkind.Is(err, errkind.Unavailable):
			w.clear()
			return w.jobs, err
		case away.IsZero():
			away = time.Now()
		case time.Since(away) > awayLimit:
			w.clear()
			t.talk("%s", w.farewell())
			return w.jobs, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

// left counts jobs that have not ended.
func (w *waiter) left() (n int) {
	for _, j := range w.jobs {
		if !j.Over() {
			n++
		}
	}
	return n
}

// look asks for all jobs that have not ended. The first of them is waited for,
// so that a round takes a moment unless something ends.
func (w *waiter) look(ctx context.Context, admin Admin) error {
	wait := int(askEvery / time.Millisecond)
	for i, j := range w.jobs {
		if j.Over() {
			continue
		}
		now, err := admin.Job(ctx, j.VMGroup, j.ID, wait)
		if err != nil {
			return err
		}
		w.jobs[i], wait = now, 0
	}
	return nil
}

// farewell says what becomes of jobs that nobody waits for any more.
func (w *waiter) farewell() string {
	var open []wire.Job
	for _, j := range w.jobs {
		if !j.Over() {
			open = append(open, j)
		}
	}
	if len(open) == 1 {
		name := jobName(open[0])
		return fmt.Sprintf("not waiting any more, but job %s goes on: 'mooring job watch %s' waits again, 'mooring job cancel %s' ends it", name, name, name)
	}
	return fmt.Sprintf("not waiting any more, but %s go on: 'mooring job ls --state=open' shows them, 'mooring job cancel' ends one", count(len(open), "job"))
}

func jobName(j wire.Job) string { return j.VMGroup + "/" + string(j.ID) }

// show tells what is new.
func (w *waiter) show() error {
	switch {
	case w.t.format == formatJSON:
		return w.lines()
	case w.t.Interactive && w.t.format != formatName && w.t.format != formatYAML:
		w.draw()
	default:
		w.say()
	}
	return nil
}

// lines prints every job that has changed as a line of JSON.
func (w *waiter) lines() error {
	for _, j := range w.jobs {
		line, err := json.Marshal(j)
		if err != nil {
			return errkind.Wrap(errkind.Internal, err, "encoding the job")
		}
		if w.said[j.ID].text == string(line) {
			continue
		}
		w.said[j.ID] = said{text: string(line)}
		if err := w.t.write(string(line) + "\n"); err != nil {
			return err
		}
	}
	return nil
}

// say talks of every job whose state or step has changed, and from time to
// time of the others.
func (w *waiter) say() {
	for _, j := range w.jobs {
		last, text := w.said[j.ID], j.State+" "+j.Stage
		if last.text == text && (j.Over() || time.Since(last.at) < sayEvery) {
			continue
		}
		w.said[j.ID] = said{text, time.Now()}
		w.t.talk("%s", status(j))
	}
}

// draw draws one line: of the job that runs, and how many have ended.
func (w *waiter) draw() {
	if w.left() == 0 {
		return
	}
	var now wire.Job // the first that runs, else the first that waits to
	for _, j := range w.jobs {
		if j.State == "running" || j.State == "queued" && now.ID == "" {
			now = j
		}
		if j.State == "running" {
			break
		}
	}
	line := status(now)
	if len(w.jobs) > 1 {
		line = fmt.Sprintf("%d of %d  %s", len(w.jobs)-w.left(), len(w.jobs), line)
	}
	w.bar = true
	fmt.Fprintf(w.t.Err, "\r%s\x1b[K", clean(line, false))
}

// clear removes the drawn line.
func (w *waiter) clear() {
	if w.bar {
		fmt.Fprint(w.t.Err, "\r\x1b[K")
	}
	w.bar = false
}

// begun ends a command that has begun jobs: it waits for them if it is to,
// prints them and judges them. print shows jobs that have ended; nil: a table.
func (t *tool) begun(cmd *cobra.Command, admin Admin, w waitFlags, jobs []wire.Job, print func([]wire.Job) error) error {
	if !w.waits() {
		return list(t, jobs, jobColumns, jobName)
	}
	jobs, err := t.wait(cmd.Context(), admin, jobs)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		for _, warning := range j.Warnings {
			t.talk("Warning: %s: %s", orDash(j.Object), warning)
		}
	}
	failed := outcomeOf(jobs)
	if t.format == formatJSON { // every line is printed already
		return failed
	}
	if print == nil {
		print = func(jobs []wire.Job) error { return list(t, jobs, endedColumns, resultName) }
	}
	if err := print(jobs); err != nil {
		return err
	}
	return failed
}

// resultName is what a script goes on with: the recovery point that a job has
// made, else the job.
func resultName(j wire.Job) string {
	if j.State == "done" && j.Point != "" && (j.Kind == "backup" || j.Kind == "vm-backup" || j.Kind == "copy") {
		return j.VMGroup + "/" + j.Point
	}
	return jobName(j)
}
