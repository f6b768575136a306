package portal

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mooring.dev/mooring/pkg/wire"
)

var notificationRoutes = []*route{
	{method: http.MethodGet, path: "/notifications", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: showNotifications},
	{method: http.MethodPost, path: "/notifications", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", handle: saveNotifications},
	{method: http.MethodPost, path: "/notifications/test", who: everyUser, permission: "service.manage", inTenant: "tenant.manage", form: showNotifications, handle: testNotifications},
}

// notificationsPage is the data of notifications.html. Webhooks has one more
// than there are, for a new one. Tests are the outcome of a test, Secrets those
// of new webhooks.
type notificationsPage struct {
	wire.Notifications
	EmailLines string
	EventBoxes []eventBox
	Digests    []option
	Hooks      []hookView
	Ways       int
	Tests      []wire.NotifyTest
	Secrets    []wire.NotifyWebhook
}

type eventBox struct {
	Kind, Label string
	On          bool
}

// hookView is a webhook in the form; its fields have names with its number.
type hookView struct {
	wire.NotifyWebhook
	N   int
	New bool
}

// events are what notifications can be about. Who is told of a trouble is told
// of its end.
var events = []struct {
	label string
	kinds []string
}{
	{"A job failed", []string{"job-failed", "job-recovered"}},
	{"A backup is late", []string{"rpo-missed", "rpo-recovered"}},
	{"A repository cannot be reached", []string{"repository-offline", "repository-recovered"}},
	{"A recovery drill failed", []string{"drill-failed", "drill-recovered"}},
	{"A check of recovery points failed", []string{"verify-failed"}},
	{"A recovery point is damaged", []string{"point-damaged", "point-healed"}},
	{"Backup storage is over its limit", []string{"backup-quota", "backup-quota-recovered"}},
	{"No transporter works for jobs that wait", []string{"transporter-offline", "transporter-recovered"}},
	{"A volume was refused by a limit", []string{"quota"}},
}

func showNotifications(q *request) error {
	n, err := q.api.Notifications(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	return q.notifications(notificationsPage{Notifications: n})
}

func (q *request) notifications(p notificationsPage) error {
	p.EmailLines = strings.Join(p.Emails, "\n")
	p.Ways = len(p.Emails) + len(p.Webhooks)
	p.Digests = []option{{"", "None"}, {"daily", "Every day"}, {"weekly", "Every week"}}
	for _, e := range events {
		p.EventBoxes = append(p.EventBoxes, eventBox{e.kinds[0], e.label, len(p.Events) == 0 || slices.Contains(p.Events, e.kinds[0])})
	}
	for i, h := range p.Webhooks {
		p.Hooks = append(p.Hooks, hookView{NotifyWebhook: h, N: i})
	}
	p.Hooks = append(p.Hooks, hookView{N: len(p.Webhooks), New: true})
	return q.render("notifications", "Notifications", p)
}

// saveNotifications replaces them by the form. All events ticked is all there
// will ever be.
func saveNotifications(q *request) error {
	n := wire.Notifications{Emails: q.words("emails"), Digest: q.text("digest")}
	ticked := q.list("event")
	for _, e := range events {
		if len(ticked) < len(events) && slices.Contains(ticked, e.kinds[0]) {
			n.Events = append(n.Events, e.kinds...)
		}
	}
	if len(ticked) == 0 {
		q.note("event", "Choose one at least")
	}
	for i := 0; q.r.PostForm.Has("hook-url-" + strconv.Itoa(i)); i++ {
		at := "-" + strconv.Itoa(i)
		h := wire.NotifyWebhook{Name: q.text("hook-name" + at), URL: q.text("hook-url" + at)}
		switch {
		case h.URL == "" && h.Name == "" || q.bool("hook-remove"+at):
		case h.Name == "":
			q.note("hook-name"+at, "Give the webhook a name")
		case h.URL == "":
			q.note("hook-url"+at, "Write the address that gets the messages")
		default:
			n.Webhooks = append(n.Webhooks, h)
		}
	}
	if err := q.wrong(); err != nil {
		return err
	}
	saved, err := q.api.PutNotifications(q.ctx(), q.tenant(), n)
	if err != nil {
		return err
	}
	secrets := slices.DeleteFunc(slices.Clone(saved.Webhooks), func(h wire.NotifyWebhook) bool { return h.Secret == "" })
	if len(secrets) > 0 {
		return q.notifications(notificationsPage{Notifications: saved, Secrets: secrets})
	}
	return q.redirect("/notifications", "The notifications are saved.")
}

func testNotifications(q *request) error {
	n, err := q.api.Notifications(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	tests, err := q.api.TestNotifications(q.ctx(), q.tenant())
	if err != nil {
		return err
	}
	return q.notifications(notificationsPage{Notifications: n, Tests: tests})
}
