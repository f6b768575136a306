package portal

import (
	"net/http"
	"strings"

	"mooring.dev/mooring/pkg/wire"
)

var alarmRoutes = []*route{
	{method: http.MethodGet, path: "/alarms", who: everyUser, permission: "backup.read", handle: showAlarms},
}

// alarmRow is an alarm, with the page of what it is about.
type alarmRow struct {
	wire.Alarm
	URL string
}

func showAlarms(q *request) error {
	all, err := q.api.Alarms(q.ctx()) // those of the caller's own tenant
	if err != nil {
		return err
	}
	return q.render("alarms", "Alarms", q.alarmRows(all))
}

func (q *request) alarmRows(all []wire.Alarm) []alarmRow {
	rows := make([]alarmRow, len(all))
	for i, a := range all {
		rows[len(all)-1-i] = alarmRow{a, q.alarmURL(a)} // the newest are last in the answer
	}
	return rows
}

// alarmURL is the page of what an alarm is about, "" if there is none for the
// caller.
func (q *request) alarmURL(a wire.Alarm) string {
	switch a.Kind {
	case "job-failed":
		return q.to("/activities", "state", "failed")
	case "transporter-offline":
		return q.to("/activities", "state", "queued")
	case "backup-quota":
		return q.to("/pool")
	}
	if a.Object == "" {
		return ""
	}
	switch a.Kind {
	case "repository-offline":
		return q.page("/repositories/{repository}", a.Object)
	case "rpo-missed", "drill-failed":
		if vm, is := strings.CutPrefix(a.Object, vmPrefix); is {
			return q.page("/vms/{vm}", vm)
		}
		return q.page("/volumes/{volume}", a.Object)
	case "point-damaged":
		return q.page("/points/{point}", a.Object)
	}
	return ""
}
