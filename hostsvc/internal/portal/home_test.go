package portal_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// fillHome gives a world a dashboard.
func (w *world) fillHome() {
	now := time.Now().UTC()
	d := wire.Dashboard{
		Protected: 41, Late: 2, Failed: 1, Unprotected: 3, Pending: 4, Points: 812, Volumes: 39, VMs: 12,
		Day: wire.Runs{Done: 38, Failed: 1, Bytes: 90 << 30, Stored: 7 << 30}, Week: wire.Runs{Done: 260, Partial: 2, Failed: 4, Canceled: 1, Bytes: 700 << 30, Stored: 51 << 30},
		Storage: wire.Share{Used: 430 << 30, Bounded: true, Desired: 500 << 30, Effective: 500 << 30},
		Running: []wire.Job{
			{ID: "j1", VMGroup: "acme", Kind: "backup", Object: "db@fast", State: "running", Stage: "read", Progress: wire.JobProgress{DoneBytes: 3 << 30, TotalBytes: 10 << 30, ETASeconds: 130}},
			{ID: "j2", VMGroup: "acme", Kind: "verify", Object: "web@fast", State: "queued", Progress: wire.JobProgress{ETASeconds: -1}},
		},
		Next: []wire.Run{{Time: now.Add(2 * time.Hour), VMGroup: "acme", Policy: "nightly", Task: "backup", State: "due"}, {Time: now.Add(20 * time.Hour), VMGroup: "acme", Policy: "weekly", Task: "verify", State: "due"}},
		Alarms: []wire.Alarm{
			{VMGroup: "acme", Kind: "rpo-missed", Object: "<b>db</b>@fast", Since: now.Add(-3 * time.Hour), Detail: "the newest point is 29 hours old, the policy nightly allows 24"},
			{VMGroup: "acme", Kind: "repository-offline", Object: "offsite", Since: now.Add(-20 * time.Minute), Detail: "the bucket does not answer"},
		},
		AlarmCount: 2,
		Tenants:    map[string]int{wire.HealthGood: 31, wire.HealthAlarms: 2, wire.TenantsAll: 32},
	}
	for i := range 14 {
		day := wire.DayOfRuns{Date: now.AddDate(0, 0, i-13).Format(time.DateOnly)}
		day.Done, day.Bytes = 30+i%5, int64(i)<<30
		if i%6 == 4 {
			day.Failed, day.Partial = 2, 1
		}
		d.Days = append(d.Days, day)
	}
	newest := slices.Clone(d.Alarms)
	slices.Reverse(newest)
	w.answers["GET /dashboard"], w.answers["GET /alarms"] = d, newest // as each is asked for
}

func TestTheFirstPageShowsHowThingsAre(t *testing.T) {
	for name, c := range callers {
		if c.Visitor {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c)
			w.fillTenants()
			w.fillHome()
			a := w.get("/")
			assert.Equal(t, http.StatusOK, a.Code, "%s", a.Body)
			page := a.Body.String()
			checkPage(t, page)
			assert.Contains(t, page, "430 GiB of 500 GiB")
			if c.Admin {
				assert.Contains(t, page, "32 tenants")
				assert.NotContains(t, w.asked, "GET /tenants", "counting tenants is one question")
			}
			assert.Contains(t, page, "30 %, 3 GiB of 10 GiB, 2 minutes 10 seconds left")
			assert.Contains(t, page, "&lt;b&gt;db&lt;/b&gt;", "what a tenant names is no markup")
			assert.NotContains(t, page, "<b>db")
			rows := 0
			for _, cell := range parse(t, page).all("th") {
				if attr(cell, "scope") == "row" {
					rows++
				}
			}
			assert.Equal(t, 14, rows, "the days of the chart are a table, too")
		})
	}
}

func TestAMasterWithoutTenantsIsLedToTheFirst(t *testing.T) {
	w := newWorld(t, master)
	w.fillHome()
	d := w.answers["GET /dashboard"].(wire.Dashboard)
	d.Tenants = map[string]int{wire.HealthNotices: 1, wire.TenantsAll: 0} // the service's own
	w.answers["GET /dashboard"] = d
	page := w.get("/").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "There are no tenants yet")
	assert.Contains(t, page, `href="/new/tenant"`)
	assert.Contains(t, page, "Create new tenant")
}

// one makes a world one of an installation with a single tenant.
func (w *world) one() {
	w.fillTenants()
	w.fillHome()
	w.answers["GET /settings"] = wire.Settings{Product: "Test <Cloud>", Mode: wire.ModeSingle}
	list := w.answers["GET /tenants"].(wire.TenantList)
	w.answers["GET /tenants"] = wire.TenantList{Tenants: append([]wire.Tenant{{Name: volspec.DefaultGroup}}, list.Tenants[0]), Total: 2}
}

func TestAMasterOfOneTenantSeesIt(t *testing.T) {
	for name, c := range map[string]volspec.Caller{"master": master, "viewer": viewer} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c)
			w.one()
			page := w.get("/").Body.String()
			checkPage(t, page)
			for _, sees := range []string{
				`<a href="/tenants/acme">acme</a>`, "2 alarms", "Not configured: repositories", "300 GiB of 500 GiB", "2 users", `href="/tenants/acme/act"`, "4 more wait for a first backup", "Tenant</a>",
			} {
				assert.Contains(t, page, sees)
			}
			for _, misses := range []string{"Tenants</a>", "32 tenants", "_DEFAULT", `href="/pool"`, "Create new tenant"} {
				assert.NotContains(t, page, misses)
			}
			assert.Equal(t, c.Role == volspec.MasterAdmin, strings.Contains(page, `href="/tenants/acme/setup"`), "who may configure it is led there")

			a := w.get("/tenants")
			assert.Equal(t, http.StatusSeeOther, a.Code)
			assert.Equal(t, "/tenants/acme", a.Header().Get("Location"), "there is no list of one")
			assert.Equal(t, http.StatusOK, w.get("/tenants?state=deleted").Code, "who looks for another finds the list")
			page = w.get("/tenants/acme").Body.String()
			assert.NotContains(t, page, `class="crumbs"`)

			w.answers["GET /settings"] = wire.Settings{Mode: wire.ModeMulti}
			page = w.get("/").Body.String()
			assert.Contains(t, page, "32 tenants", "it has grown")
			assert.Contains(t, page, "Tenants</a>")
			assert.Equal(t, http.StatusOK, w.get("/tenants").Code)
		})
	}
}

func TestAMasterOfOneTenantMakesItFirst(t *testing.T) {
	w := newWorld(t, master)
	w.one()
	w.answers["GET /tenants"] = wire.TenantList{Tenants: []wire.Tenant{{Name: volspec.DefaultGroup}}, Total: 1}
	d := w.answers["GET /dashboard"].(wire.Dashboard)
	d.Tenants = map[string]int{}
	w.answers["GET /dashboard"] = d
	assert.Contains(t, w.get("/").Body.String(), "There are no tenants yet")
	assert.Contains(t, w.get("/tenants").Body.String(), "Create new tenant")
}

func TestATenantLearnsThatItsServiceIsNotConfigured(t *testing.T) {
	w := newWorld(t, owner)
	w.fillHome()
	w.answers["GET /vmgroups/acme/tenant"] = wire.Tenant{Name: "acme", Readiness: wire.Readiness{
		Missing: []string{wire.PartTransporters}, Message: "Your service is not configured: a transporter (the provider assigns one) is missing",
	}}
	page := w.get("/").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "Your service is not configured.")
	assert.Contains(t, page, "A transporter (the provider assigns one) is missing.")
}

func TestWhoActsForATenantIsToldSo(t *testing.T) {
	w := newWorld(t, acting)
	w.fillHome()
	w.answers["DELETE /session/act-as"] = wire.Session{}
	page := w.get("/").Body.String()
	assert.Contains(t, page, "You act for tenant <strong>acme</strong> until")
	a := w.post("/act/stop")
	assert.Equal(t, http.StatusSeeOther, a.Code)
	assert.Contains(t, w.asked, "DELETE /session/act-as")
}

func TestAlarmsLeadToWhatTheyAreAbout(t *testing.T) {
	for name, c := range callers {
		if c.Visitor {
			continue
		}
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c)
			w.fillHome()
			page := w.get("/alarms").Body.String()
			checkPage(t, page)
			assert.Contains(t, page, "Backup too old")
			assert.Equal(t, !c.Admin, strings.Contains(page, `href="/volumes/%3Cb%3Edb%3C%2Fb%3E@fast"`), "the volume's page, for its tenant")
			assert.Equal(t, c.Admin, strings.Contains(page, `href="/tenants/acme"`), "the tenant's page, for the master")
			assert.Equal(t, !c.Admin, strings.Contains(page, `href="/repositories/offsite"`), "the repository's page, for its tenant")
			assert.Less(t, strings.Index(page, "offsite"), strings.Index(page, "29 hours old"), "the newest first")
			w.answers["GET /alarms"] = []wire.Alarm{}
			page = w.get("/alarms").Body.String()
			checkPage(t, page)
			assert.Contains(t, page, "There are no alarms")
		})
	}
}

func TestPagesFollowJobsWhileTheyRun(t *testing.T) {
	w := newWorld(t, owner)
	w.answers["GET /events"] = "event: job\ndata: " + `{"kind":"job","job":{"id":"j1","state":"running","object":"db","progress":{"done_bytes":1073741824,"total_bytes":4294967296,"eta_seconds":-1}}}` + "\n\n"
	a := w.get("/live")
	assert.Equal(t, "text/event-stream", a.Header().Get("Content-Type"))
	assert.Contains(t, a.Body.String(), "event: job\ndata: {\"id\":\"j1\",\"state\":\"running\",\"label\":\"Running\",\"done\":1073741824,\"total\":4294967296,\"text\":\"25 %, 1 GiB of 4 GiB\",\"over\":false}")
}

func TestPagesDoNotWaitForAHypervisorThatIsAway(t *testing.T) {
	w := newWorld(t, owner)
	w.fillHome()
	delete(w.answers, "GET /vmgroups/acme/tenant")
	w.silent = "GET /vmgroups/acme/tenant"
	a := w.get("/")
	assert.Equal(t, http.StatusOK, a.Code)
	checkPage(t, a.Body.String())
	assert.NotContains(t, a.Body.String(), "not configured", "nobody is told what is not known")
}
