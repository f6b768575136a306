package portal

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

var liveRoutes = []*route{
	{method: http.MethodGet, path: "/live", who: everyUser, permission: "backup.read", endless: true, handle: live},
}

// liveJob is what a page that shows a job learns about it while it runs.
type liveJob struct {
	ID    string `json:"id"`
	State string `json:"state"`
	Label string `json:"label"` // of the state
	Done  int64  `json:"done"`
	Total int64  `json:"total"`
	Text  string `json:"text"`
	Over  bool   `json:"over"`
}

// jobText is how far a job is.
func jobText(j wire.Job) string {
	p := j.Progress
	switch {
	case j.Over():
		return j.Summary
	case p.TotalBytes == 0:
		return title(j.Stage)
	}
	text := fmt.Sprintf("%d %%, %s of %s", percent(p.DoneBytes, p.TotalBytes), bytesText(p.DoneBytes), bytesText(p.TotalBytes))
	if p.ETASeconds >= 0 {
		text += ", " + durationText(time.Duration(p.ETASeconds)*time.Second) + " left"
	}
	return text
}

// live sends what changes in jobs and alarms for as long as the page is open.
func live(q *request) error {
	h := q.w.Header()
	h.Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(q.w)
	if err := out.SetWriteDeadline(time.Time{}); err != nil {
		log.G(q.ctx()).WithField(log.Err, err.Error()).Debug("the answer keeps its deadline")
	}
	if _, err := io.WriteString(q.w, "retry: 5000\n\n"); err != nil || out.Flush() != nil {
		return nil // the browser has gone
	}
	for e, err := range q.api.Events(q.ctx(), "") {
		if err != nil {
			return nil // the browser asks again by itself
		}
		var data any = struct{}{}
		if e.Job != nil {
			data = liveJob{
				ID: string(e.Job.ID), State: e.Job.State, Label: stateOf(e.Job.State).Label, Done: e.Job.Progress.DoneBytes, Total: e.Job.Progress.TotalBytes,
				Text: jobText(*e.Job), Over: e.Job.Over(),
			}
		}
		text, err := json.Marshal(data)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(q.w, "event: %s\ndata: %s\n\n", e.Kind, text); err != nil {
			return nil // the browser has gone
		}
		if err := out.Flush(); err != nil {
			return nil // the browser has gone
		}
	}
	return nil
}
