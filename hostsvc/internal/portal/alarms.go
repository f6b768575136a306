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
	choice := q.listQuery()
	choice.Desc = true                         // the newest first
	l, err := q.api.AlarmList(q.ctx(), choice) // those of the caller's own tenant
	if err != nil {
		return err
	}
	p := alarmsPage{Part: partOf(q, l)}
	for _, a := range l.Rows {
		p.Alarms = append(p.Alarms, alarmRow{a, q.alarmURL(a)})
	}
	return q.render("alarms", "Alarms", p)
}

// alarmsPage is the data of alarms.html.
type alarmsPage struct {
	Alarms []alarmRow
	Part   part
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
		if a.Object == "self-backup" { // no job, and no page
			return ""
		}
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
