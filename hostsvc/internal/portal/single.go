package portal

import (
	"net/http"

	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// single tells the master's pages whether there is one tenant only, so that they
// show it instead of lists of one. If that cannot be read they show lists.
func (q *request) single() bool {
	if !q.caller.Admin || !q.can("service.read") {
		return false
	}
	if q.mode == "" {
		s, err := q.api.Settings(q.ctx())
		if err != nil {
			log.G(q.ctx()).WithField(log.Err, err.Error()).Warn("the mode of the installation is not known")
			s.Mode = wire.ModeMulti
		}
		q.mode = s.Mode
	}
	return q.mode == wire.ModeSingle
}

// only is the tenant of an installation that has one, nil before it is made.
// Deleted ones, which may come back, and the service's own vmgroup are not it.
func (q *request) only() (*wire.Tenant, error) {
	for _, state := range []string{wire.TenantEnabled, wire.TenantDisabled} {
		list, err := q.api.Tenants(q.ctx(), hostclient.TenantQuery{State: state, Limit: 2})
		if err != nil {
			return nil, err
		}
		for _, t := range list.Tenants {
			if t.Name != volspec.DefaultGroup {
				return &t, nil
			}
		}
	}
	return nil, nil
}

// toOnly leads from the list of tenants to the only one there is. It says
// whether it did: where something was looked for the list is shown.
func (q *request) toOnly() (bool, error) {
	if q.r.URL.RawQuery != "" || !q.single() {
		return false, nil
	}
	t, err := q.only()
	if err != nil || t == nil {
		return false, err
	}
	http.Redirect(q.w, q.r, pathOf("tenants", t.Name), http.StatusSeeOther)
	return true, nil
}

// singleHome is the overview of the master over the only tenant.
func (q *request) singleHome(p homePage, t wire.Tenant) error {
	card := cardOf(t)
	p.Only, p.Stats = &card, q.protectionStats(p.Dashboard)
	return q.render("home_single", "Overview", p)
}
