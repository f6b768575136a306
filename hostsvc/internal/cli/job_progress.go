package cli

import (
	"fmt"
	"strings"
	"time"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

// status is one line about a job.
func status(j wire.Job) string {
	parts := []string{j.Kind + " " + orDash(j.Object)}
	if j.State != "running" {
		return strings.Join(append(parts, j.State), "  ")
	}
	parts = append(parts, orDash(j.Stage))
	return strings.Join(append(parts, progress(j.Progress)...), "  ")
}

const barWidth = 20

// progress is a bar, amounts, rate and the time that is left, as far as they
// are known.
func progress(p wire.JobProgress) (parts []string) {
	switch {
	case p.TotalBytes > 0:
		share := min(float64(p.DoneBytes)/float64(p.TotalBytes), 1)
		full := int(share * barWidth)
		parts = append(parts, fmt.Sprintf("[%s%s] %3d%%", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), int(share*100)),
			amount(p.DoneBytes)+" of "+amount(p.TotalBytes))
	case p.DoneBytes > 0:
		parts = append(parts, amount(p.DoneBytes))
	default:
		return nil
	}
	if p.Rate >= 1 {
		parts = append(parts, amount(int64(p.Rate))+"/s")
	}
	if p.ETASeconds >= 0 && p.TotalBytes > 0 {
		parts = append(parts, span(time.Duration(p.ETASeconds)*time.Second)+" left")
	}
	return parts
}

// jobError says why a job did not end well, nil if it did.
func jobError(j wire.Job) error {
	what := j.Kind + " of " + orDash(j.Object)
	if j.Kind == "restore" {
		what = "restore to " + orDash(j.Object)
	}
	switch j.State {
	case "done":
		return nil
	case "canceled":
		return errkind.New(errkind.Internal, "%s was canceled (job %s)", what, jobName(j))
	case "partial":
		return errkind.New(errkind.Internal, "%s was done only in part: %s (job %s)", what, reason(j), jobName(j))
	}
	step := ""
	if j.Stage != "" {
		step = " in step " + j.Stage
	}
	// Of the kinds of a job only those become exit codes that are not about
	// this command line.
	kind := errkind.Kind(j.ErrorKind)
	if kind != errkind.Offline && kind != errkind.WrongKey && kind != errkind.Quota {
		kind = errkind.Internal
	}
	return errkind.New(kind, "%s failed%s: %s (job %s)", what, step, reason(j), jobName(j))
}

func reason(j wire.Job) string {
	if j.Error != "" {
		return j.Error
	}
	return orDash(j.Summary)
}

// outcomeOf is the error of a command whose jobs have ended: that of the only
// one, or of a part of them.
func outcomeOf(jobs []wire.Job) error {
	var p partial
	for _, j := range jobs {
		err := jobError(j)
		if err != nil {
			p.errs = append(p.errs, err)
		}
		if err == nil || j.State == "partial" {
			p.done++
		}
	}
	switch {
	case len(p.errs) == 0:
		return nil
	case len(jobs) == 1 && p.done == 0:
		return p.errs[0]
	}
	return &p
}
