package portal

import (
	"net/http"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/wire"
)

var transporterRoutes = []*route{
	{method: http.MethodGet, path: "/transporters", who: everyUser, permission: "vmgroup.read", handle: listTransporters},
	{method: http.MethodGet, path: "/transporters/{transporter}", who: masters, permission: "service.manage", handle: editTransporter},
	{method: http.MethodPost, path: "/transporters/{transporter}", who: masters, permission: "service.manage", handle: saveTransporter},
	{method: http.MethodGet, path: "/transporters/{transporter}/delete", who: masters, permission: "service.manage", handle: askToDeleteTransporter},
	{method: http.MethodPost, path: "/transporters/{transporter}/delete", who: masters, permission: "service.manage", handle: deleteTransporter},
}

// transportersList is the data of transporters.html.
type transportersList struct {
	Transporters []wire.Transporter
	Part         part
}

func listTransporters(q *request) error {
	l, err := q.api.TransporterList(q.ctx(), q.listQuery())
	if err != nil {
		return err
	}
	return q.render("transporters", "Transporters", transportersList{l.Rows, partOf(q, l)})
}

// transporter is the one that the path names.
func (q *request) transporter() (wire.Transporter, error) {
	all, err := q.api.Transporters(q.ctx(), "")
	if err != nil {
		return wire.Transporter{}, err
	}
	for _, x := range all {
		if x.Name == q.path("transporter") {
			return x, nil
		}
	}
	return wire.Transporter{}, errkind.New(errkind.NotFound, "there is no transporter %q: see the list of transporters", q.path("transporter"))
}

// transporterPage is the data of transporter.html.
type transporterPage struct {
	wire.Transporter
	Crumbs []action
	Base   string
}

func editTransporter(q *request) error {
	x, err := q.transporter()
	if err != nil {
		return err
	}
	return q.render("transporter", x.Name, transporterPage{x, []action{{Label: "Transporters", URL: "/transporters"}}, pathOf("transporters", x.Name)})
}

func saveTransporter(q *request) error {
	if _, err := q.api.UpdateTransporter(q.ctx(), q.path("transporter"), wire.UpdateTransporter{Description: new(q.text("description"))}); err != nil {
		return err
	}
	return q.redirect("/transporters", "The changes are saved.")
}

func askToDeleteTransporter(q *request) error {
	x, err := q.transporter()
	if err != nil {
		return err
	}
	return q.ask(confirm{
		Title: "Remove transporter " + x.Name, Crumbs: []action{{Label: "Transporters", URL: "/transporters"}},
		Button: "Remove transporter", Back: pathOf("transporters", x.Name),
		Effects: []string{"It must be offline, and no tenant may need it.", "If its mooringd is started again, it comes back by itself."},
	})
}

func deleteTransporter(q *request) error {
	name := q.path("transporter")
	if err := q.api.RemoveTransporter(q.ctx(), name); err != nil {
		return err
	}
	return q.redirect("/transporters", "The transporter "+name+" is removed.")
}
