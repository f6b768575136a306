package portal_test

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/portal"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/volspec/volspectest"
	"mooring.dev/mooring/pkg/wire"
)

var (
	operator = volspec.Caller{Role: volspec.Operator, Group: "g1", GroupName: "acme", User: "u6", Session: "s6", Actor: "user:acme/op"}
	restorer = volspec.Caller{Role: volspec.RestoreOperator, Group: "g1", GroupName: "acme", User: "u7", Session: "s7", Actor: "user:acme/re"}
	digger   = volspec.Caller{Role: volspec.TenantGuest, GuestFiles: true, Group: "g1", GroupName: "acme", User: "u8", Session: "s8", Actor: "user:acme/guest"}
)

// routeOf is the row of the table that an address leads to: the most words win,
// as they do in net/http.
func routeOf(method, address string) (best portal.Route, found bool) {
	address, _, _ = strings.Cut(address, "?")
	parts := strings.Split(address, "/")
	most := -1
	for _, rt := range portal.Routes() {
		want := strings.Split(strings.TrimSuffix(rt.Path, "{$}"), "/")
		if rt.Method != method || len(want) != len(parts) {
			continue
		}
		fits, words := true, 0
		for i := range want {
			if want[i] == parts[i] {
				words++
			} else {
				fits = fits && strings.HasPrefix(want[i], "{")
			}
		}
		if fits && words > most {
			best, found, most = rt, true, words
		}
	}
	return best, found
}

// permissionOf is what the page at an address needs, "" for none.
func permissionOf(path string) string {
	rt, ok := routeOf(http.MethodGet, path)
	if !ok {
		return "no such page: " + path
	}
	return rt.Permission
}

// Every page with things on it, as everybody: whole, or refused.
func TestPagesOfATenantsThings(t *testing.T) {
	for who, c := range map[string]volspec.Caller{"owner": owner, "acting": acting, "operator": operator, "restorer": restorer, "guest": guest, "guest with files": digger} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t, c)
			w.fillData("db")
			for _, path := range dataPages("db") {
				a := w.get(path)
				if need := permissionOf(path); need != "" && !slices.Contains(api.PermissionsOf(c), need) {
					assert.Equal(t, http.StatusForbidden, a.Code, path)
					continue
				}
				if assert.Equal(t, http.StatusOK, a.Code, "%s: %s", path, said(t, a.Body.String())) {
					checkPage(t, a.Body.String())
				}
			}
		})
	}
}

// said is the text of a page, for the reader of a failure.
func said(t *testing.T, page string) string {
	t.Helper()
	for _, n := range parse(t, page).all("main") {
		return words(n)
	}
	return page
}

// No form on a page asks for what its reader may not do.
func TestFormsAreOnlyForWhomTheyAre(t *testing.T) {
	for who, c := range map[string]volspec.Caller{"owner": owner, "operator": operator, "restorer": restorer, "guest": guest, "guest with files": digger} {
		t.Run(who, func(t *testing.T) {
			w := newWorld(t, c)
			w.fillData("db")
			for _, path := range dataPages("db") {
				a := w.get(path)
				if a.Code != http.StatusOK {
					continue
				}
				d := parse(t, a.Body.String())
				for _, n := range d.all("form", "a") {
					to := attr(n, "href") + attr(n, "action")
					if n.Data == "form" && attr(n, "method") == "post" {
						assert.True(t, may(c, http.MethodPost, to), "%s has a form for %s", path, to)
					} else if n.Data == "a" && strings.HasPrefix(to, "/") && inside(n, "main") != nil {
						assert.True(t, may(c, http.MethodGet, to), "%s leads to %s", path, to)
					}
				}
			}
		})
	}
}

// Who acts for a tenant that refuses its provider content is led to none, and
// told why.
func TestRefusedContentIsNotOffered(t *testing.T) {
	content := regexp.MustCompile(`/recover/[^/]+/(files|file|tar)|/kit$`)
	for _, refused := range []bool{false, true} {
		w := newWorld(t, acting)
		w.fillData("db")
		w.answers["GET /vmgroups/acme/tenant"] = wire.Tenant{Name: "acme", Readiness: wire.Readiness{Ready: true}, Security: wire.Security{ContentRefused: refused}}
		for _, path := range []string{"/points/p1", "/points/p4", "/recover", "/recover?of=db@fast", "/recover/p1", "/recover/p4", "/repositories/db"} {
			page := w.get(path).Body.String()
			checkPage(t, page)
			assert.Equal(t, refused, strings.Contains(page, "acme keeps its content from its provider"), path)
			offered := false
			for _, a := range parse(t, page).all("a") {
				offered = offered || content.MatchString(attr(a, "href"))
			}
			assert.Equal(t, !refused && !strings.HasPrefix(path, "/recover?") && path != "/recover", offered, "%s, refused: %v", path, refused)
		}
	}
}

// Each of many volumes and VMs is on one of the pages, also where a filter chooses.
func TestManyVolumesAndVMsComeInPages(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var volumes []wire.Volume
	var vms []wire.VM
	for i := range 130 {
		name := fmt.Sprintf("n%03d", i*7%130)
		volumes = append(volumes, wire.Volume{ID: volspec.VolumeID(name), Name: name + "@fast", State: volspec.Ready, Health: "ok"})
		vms = append(vms, wire.VM{ID: volspec.VMID(name), Name: name})
	}
	thing := regexp.MustCompile(`^/(volumes|vms)/n\d`)
	w.answers["GET /volumes"], w.answers["GET /vmgroups/acme/vms"] = wire.VolumeList{Volumes: volumes}, vms
	w.answers["GET /vmgroups/acme/folders"] = []wire.Folder{}
	for path, want := range map[string][]int{"/volumes": {100, 30}, "/vms": {100, 30}, "/volumes?q=n12": {10}, "/vms?q=n12": {10}} {
		seen := map[string]bool{}
		var shown []int
		for next := path; next != ""; {
			page := w.get(next).Body.String()
			next = ""
			d, n := parse(t, page), 0
			for _, a := range d.all("a") {
				if attr(a, "rel") == "next" {
					next = attr(a, "href")
				}
				if to := attr(a, "href"); thing.MatchString(to) {
					assert.False(t, seen[to], to)
					seen[to] = true
					n++
				}
			}
			shown = append(shown, n)
		}
		assert.Equal(t, want, shown, path)
	}
}

// may tells whether an address is there for somebody of a tenant.
func may(c volspec.Caller, method, to string) bool {
	rt, ok := routeOf(method, to)
	need := cmp.Or(rt.InTenant, rt.Permission)
	return ok && rt.Who != "masters" && (need == "" || slices.Contains(api.PermissionsOf(c), need))
}

// Whatever a tenant calls its things, a page shows it as a word.
func TestNamesAreWords(t *testing.T) {
	for what, name := range volspectest.Hostile {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t, owner)
			w.fillData(name)
			pages := dataPages(name)
			if !strings.ContainsAny(name, "<>`{") { // HTML and templates know nothing of it
				pages = []string{"/volumes", "/vms/" + url.PathEscape(name), "/jobs", "/points", "/search?q=" + url.QueryEscape(name)}
			}
			for _, path := range pages {
				a := w.get(path)
				body := a.Body.String()
				if to := a.Header().Get("Location"); to != "" { // dots are resolved
					assert.Regexp(t, "^/([^/\\\\]|$)", to, path)
					continue
				}
				require.NotEqual(t, http.StatusInternalServerError, a.Code, "%s: %s", path, said(t, body))
				checkPage(t, body)
				d := parse(t, body)
				for _, tag := range []string{"b", "img"} {
					assert.Empty(t, d.all(tag), "%s has an element of the name", path)
				}
				for _, n := range d.all("script") {
					assert.True(t, strings.HasPrefix(attr(n, "src"), "/static/"), path)
				}
				for _, n := range d.all("svg") {
					assert.False(t, has(n, "onload"), path)
				}
				assert.NotContains(t, body, "of-this-session</", "no template of a name is run")
			}
		})
	}
}

// Empty lists teach what to do next, each to whom may do it.
func TestEmptyPagesTeach(t *testing.T) {
	for path, link := range map[string]string{
		"/volumes": "/volumes/new", "/jobs": "/jobs/new", "/repositories": "/repositories/new", "/points": "/jobs", "/recover": "/jobs", "/vms": "", "/activities": "", "/search": "", "/calendar?view=table": "",
	} {
		for _, c := range []volspec.Caller{owner, guest, digger} {
			w := newWorld(t, c)
			for _, p := range []string{"/vmgroups/acme/protection", "/vmgroups/acme/policies", "/vmgroups/acme/repositories", "/vmgroups/acme/vms", "/vmgroups/acme/folders", "/search"} {
				w.answers["GET "+p] = []string{}
			}
			for _, p := range []string{"/volumes", "/vmgroups/acme/points", "/vmgroups/acme/jobs", "/jobs", "/calendar", "/vmgroups/acme/backup-usage"} {
				w.answers["GET "+p] = map[string]string{}
			}
			a := w.get(path)
			if need := permissionOf(path); need != "" && !slices.Contains(api.PermissionsOf(c), need) {
				continue
			}
			require.Equal(t, http.StatusOK, a.Code, "%s: %s", path, said(t, a.Body.String()))
			checkPage(t, a.Body.String())
			assert.Contains(t, a.Body.String(), `class="empty"`, path)
			if link != "" && may(c, http.MethodGet, link) {
				assert.Contains(t, a.Body.String(), `href="`+link+`"`, path)
			} else if link != "" {
				assert.NotContains(t, a.Body.String(), `href="`+link+`"`, path)
			}
		}
	}
}

func TestWizardMakesAJob(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var made wire.Policy
	w.answers["POST /vmgroups/acme/policies"] = took(t, &made, wire.Policy{Name: "nightly"})

	a := w.post("/jobs/new", "step", "0", "to", "next", "name", "nightly")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "Choose something to protect")
	assert.Contains(t, a.Body.String(), `value="nightly"`, "what was typed is still there")

	// Every step is sent as its form would be: with all that the page holds.
	fill := map[int][]string{
		0: {"name", "nightly", "volumes", "db@fast", "patterns", "web-*", "vms", "db"},
		1: {"repository", "db"},
		2: {"when", "weekly", "time", "02:15", "days", "Mon", "days", "Thu", "zone", "Europe/Berlin"},
		3: {"last", "3", "daily", "7", "priority", "2", "rpo", "7d"},
		4: {"consistency", "crash", "verify", "weekly", "mode", "full", "copy_to", "db2", "copy_when", "daily"},
	}
	hidden := []string{}
	for step := range 5 {
		a = w.post("/jobs/new", append(append([]string{"to", "next"}, fill[step]...), hidden...)...)
		if step == 0 {
			a = w.post("/jobs/new", append([]string{"to", "next", "step", "0"}, fill[0]...)...)
		}
		require.Equal(t, http.StatusOK, a.Code, "%d: %s", step, said(t, a.Body.String()))
		checkPage(t, a.Body.String())
		hidden = nil
		for _, n := range parse(t, a.Body.String()).all("input") {
			if attr(n, "type") == "hidden" && attr(n, "name") != "csrf" && inside(n, "main") != nil {
				hidden = append(hidden, attr(n, "name"), attr(n, "value"))
			}
		}
	}
	assert.Contains(t, a.Body.String(), "On Monday, Thursday at 02:15, Europe/Berlin")
	a = w.post("/jobs/new", append([]string{"to", "save"}, hidden...)...)
	require.Equal(t, http.StatusSeeOther, a.Code, said(t, a.Body.String()))
	assert.Equal(t, "/jobs/nightly", a.Header().Get("Location"))
	on := true
	assert.Equal(t, wire.Policy{
		Name: "nightly", Enabled: &on, Volumes: []string{"db@fast", "web-*"}, VMs: []string{"db"}, Exclude: []string{}, Repository: "db", Schedule: "Mon,Thu 02:15", Timezone: "Europe/Berlin",
		RPO: "7d", Consistency: "crash", Keep: wire.Keep{Last: 3, Daily: 7}, Verify: wire.VerifyPolicy{Schedule: "weekly", Mode: "full"}, Priority: 2,
		Copy: wire.CopyPolicy{Repository: "db2", Schedule: "daily", Keep: wire.Keep{Last: 3, Daily: 7}},
	}, normal(made))
}

// A policy that is edited and left as it is protects the same, whatever its
// volumes are called.
func TestWizardKeepsWhatAPolicyProtects(t *testing.T) {
	for _, kept := range [][]string{{`db@fast`}, {`a\,b*`, `c`}, {`db\*@fast`, `*`}, {`x\\`, `y`}} {
		w := newWorld(t, owner)
		w.fillData("db")
		w.answers["GET /vmgroups/acme/policies/db"] = wire.Policy{Name: "db", Volumes: kept, Repository: "db", Consistency: "crash", Overlap: "skip", Priority: 3}
		var saved wire.Policy
		w.answers["PUT /vmgroups/acme/policies/db"] = took(t, &saved, wire.Policy{Name: "db"})
		sent := []string{"to", "save"}
		for _, n := range parse(t, w.get("/jobs/db/edit").Body.String()).all("input", "select") {
			if inside(n, "main") != nil && attr(n, "name") != "csrf" && (attr(n, "type") != "checkbox" || has(n, "checked")) {
				sent = append(sent, attr(n, "name"), attr(n, "value"))
			}
		}
		a := w.post("/jobs/db/edit", sent...)
		require.Equal(t, http.StatusSeeOther, a.Code, said(t, a.Body.String()))
		assert.Equal(t, kept, saved.Volumes)
	}
	w := newWorld(t, owner)
	w.fillData("a,b")
	page := w.post("/jobs/new", "step", "0", "to", "back", "patterns", `a\,b@fast, a,b@fast, db*`).Body.String()
	assert.Regexp(t, `name="volumes" value="a,b@fast" checked`, page, "the pattern of one volume is its tick")
	assert.Contains(t, page, `name="patterns" type="text" value="a, b@fast, db*"`)
}

// normal is a policy without the difference between no list and an empty one.
func normal(p wire.Policy) wire.Policy {
	if p.Exclude == nil {
		p.Exclude = []string{}
	}
	return p
}

// What the service refuses is said on the step where it can be changed.
func TestWizardSaysWhatTheServiceRefuses(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	w.answers["POST /vmgroups/acme/policy-preview"] = func([]byte) (any, error) {
		return nil, errkind.New(errkind.Invalid, "schedule: there is no 25th hour")
	}
	a := w.post("/jobs/new", "step", "4", "to", "next", "name", "x", "patterns", "*", "repository", "db", "when", "expert", "expression", "25:00", "zone", "UTC", "priority", "3")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "there is no 25th hour")
}

// A recovery says what it will replace, and asks for the name before it does.
func TestRecoveryInPlaceAsks(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var asked wire.RunRestore
	w.answers["POST /vmgroups/acme/points/p1/restore"] = took(t, &asked, wire.Job{ID: "j9"})
	a := w.post("/recover/p1", "how", "in-place")
	require.Equal(t, http.StatusOK, a.Code, a.Body.String())
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "This replaces what is there now")
	a = w.post("/recover/p1/begin", "how", "in-place", "confirm", "other")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	assert.NotContains(t, w.asked, "POST /vmgroups/acme/points/p1/restore")
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "This replaces what is there now", "the question stands again")
	assert.Contains(t, a.Body.String(), "Type db@fast to confirm</span>", "with what is wrong")
	a = w.post("/recover/p1/begin", "how", "new", "name", "")
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "It needs a name", "what was never said is asked for where it is typed")
	a = w.post("/recover/p1/begin", "how", "in-place", "confirm", "db@fast")
	assert.Equal(t, "/activities/j9", a.Header().Get("Location"), a.Body.String())
	assert.Equal(t, wire.RunRestore{InPlace: true}, asked)

	asked = wire.RunRestore{}
	a = w.post("/recover/p1/begin", "how", "new", "name", "db-restored", "datastore", "fast")
	assert.Equal(t, "/activities/j9", a.Header().Get("Location"))
	assert.Equal(t, wire.RunRestore{Name: "db-restored", Options: map[string]string{"datastore": "fast"}}, asked)

	w = newWorld(t, restorer)
	w.fillData("db")
	assert.NotContains(t, w.get("/recover/p1").Body.String(), "in-place", "who may not is not offered it")
}

func TestMakeRepository(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var made wire.CreateRepository
	w.answers["POST /vmgroups/acme/repositories"] = took(t, &made, wire.Repository{Name: "main"})
	a := w.post("/repositories/new", "type", "s3", "name", "main", "endpoint", "s3.example", "bucket", "")
	assert.Equal(t, http.StatusBadRequest, a.Code)
	checkPage(t, a.Body.String())
	assert.Contains(t, a.Body.String(), "Write the bucket")
	assert.Contains(t, a.Body.String(), `value="s3.example"`)
	a = w.post("/repositories/new", "type", "s3", "name", "main", "endpoint", "s3.example", "bucket", "b", "access_key", "k", "secret_key", " s ")
	assert.Equal(t, "/repositories/main", a.Header().Get("Location"), said(t, a.Body.String()))
	assert.Equal(t, wire.CreateRepository{Name: "main", Location: wire.Location{Type: "s3", Endpoint: "s3.example", Bucket: "b"}, Credentials: wire.Credentials{AccessKey: "k", SecretKey: " s "}}, made)

	page := w.post("/repositories/new", "type", "sftp", "name", "", "private_key", "hidden-key").Body.String()
	checkPage(t, page)
	assert.NotContains(t, page, "hidden-key", "secrets are never sent back")
	page = w.post("/repositories/new", "type", "kit", "attach", "yes", "name", "", "kit", "hidden-kit").Body.String()
	assert.NotContains(t, page, "hidden-kit")
	assert.NotContains(t, w.get("/repositories/new").Body.String(), "type=directory", "folders are the master's")

	made = wire.CreateRepository{}
	w.post("/repositories/new", "type", "kit", "attach", "yes", "name", "main", "kit", "the kit")
	assert.Equal(t, wire.CreateRepository{Name: "main", Attach: true, Kit: "the kit"}, made)
}

// A download never becomes a page of the portal, whatever its name and content.
func TestDownloadsAreNoPages(t *testing.T) {
	for _, name := range []string{`x.html`, "a\r\nSet-Cookie: x=y", `"; filename="evil.html`, `../../etc/passwd`, ``} {
		h := portal.Attachment(name)
		assert.True(t, strings.HasPrefix(h, "attachment"), h)
		assert.NotContains(t, h, "\n")
		assert.NotContains(t, h, "..%2F")
		assert.NotContains(t, h, "/")
	}
	w := newWorld(t, owner)
	w.fillData("db")
	w.answers["POST /vmgroups/acme/repositories/db/kit"] = wire.Kit{Text: "<script>secret</script>"}
	a := w.post("/repositories/db/kit")
	assert.Equal(t, http.StatusOK, a.Code)
	assert.Equal(t, "application/octet-stream", a.Header().Get("Content-Type"))
	assert.Equal(t, `attachment; filename=recovery-kit-db.txt`, a.Header().Get("Content-Disposition"))
}

// The kit has the credentials of its place only for who asks for them.
func TestTheRecoveryKitWithAndWithoutCredentials(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var asked wire.KitOptions
	w.answers["POST /vmgroups/acme/repositories/db/kit"] = took(t, &asked, wire.Kit{Text: "kit"})
	page := w.get("/repositories/db/kit").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, `name="credentials"`)
	w.post("/repositories/db/kit", "credentials", "on")
	assert.True(t, asked.Credentials)
	asked = wire.KitOptions{Credentials: true}
	w.post("/repositories/db/kit")
	assert.False(t, asked.Credentials)

	repo, _ := w.answers["GET /vmgroups/acme/repositories/db"].(wire.Repository)
	repo.Location = wire.Location{Type: "directory", Path: "/srv/db"}
	w.answers["GET /vmgroups/acme/repositories/db"] = repo
	assert.NotContains(t, w.get("/repositories/db/kit").Body.String(), `name="credentials"`, "a folder has none")
}

// One disk of a VM comes back alone, to a new volume or into its VM.
func TestRecoveryOfOneDisk(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	var asked wire.RunRestore
	w.answers["POST /vmgroups/acme/points/p4/restore"] = took(t, &asked, wire.Job{ID: "j9"})
	page := w.get("/recover/p4").Body.String()
	assert.Contains(t, page, `<option value="1">db (1 GiB)</option>`)
	assert.NotContains(t, page, `<option value="2"`, "what the point does not hold is not offered")

	page = w.post("/recover/p4", "how", "new", "disk", "1", "name", "data").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "A new volume data is made from disk db (1 GiB) of the point; VM db stays as it is.")
	assert.Contains(t, page, `name="disk" value="1"`)
	w.post("/recover/p4/begin", "how", "new", "disk", "1", "name", "data", "datastore", "fast")
	assert.Equal(t, wire.RunRestore{Name: "data", Disk: "1", Options: map[string]string{"datastore": "fast"}}, asked)

	page = w.post("/recover/p4", "how", "in-place", "disk", "1").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "Everything that was written to disk db (1 GiB) of VM db after")
	assert.Contains(t, page, "Its other disks stay as they are.")
	asked = wire.RunRestore{}
	w.post("/recover/p4/begin", "how", "in-place", "disk", "1", "confirm", "db")
	assert.Equal(t, wire.RunRestore{InPlace: true, Disk: "1"}, asked)
	assert.Equal(t, http.StatusBadRequest, w.post("/recover/p4/begin", "how", "new", "disk", "2", "name", "x").Code)
}

// An action that fails leaves the boxes of the page's other forms as they are.
func TestARefusedBackupLeavesTheSettingsOfTheVolume(t *testing.T) {
	w := newWorld(t, owner)
	w.fillData("db")
	v, _ := w.answers["GET /vmgroups/acme/volumes/db@fast"].(wire.Volume)
	v.Spec.Protect = true
	w.answers["GET /vmgroups/acme/volumes/db@fast"] = v
	w.answers["POST /vmgroups/acme/backups"] = func([]byte) (any, error) {
		return nil, errkind.New(errkind.Unavailable, "the repository is offline")
	}
	page := w.post("/volumes/db@fast/backup").Body.String()
	checkPage(t, page)
	assert.Contains(t, page, "The repository is offline.")
	assert.Regexp(t, `name="protect" value="on" checked`, page)
}

// A user of the master sees runs of all tenants, and whose they are.
func TestMasterSeesActivitiesOfAll(t *testing.T) {
	for _, path := range []string{"/activities", "/calendar", "/calendar?view=table", "/activities/j2?vmgroup=acme", "/repositories", "/search?q=db"} {
		for _, c := range []volspec.Caller{master, viewer} {
			w := newWorld(t, c)
			w.fillData("db")
			a := w.get(path)
			require.Equal(t, http.StatusOK, a.Code, "%s: %s", path, said(t, a.Body.String()))
			checkPage(t, a.Body.String())
			assert.Contains(t, a.Body.String(), "acme", path)
		}
	}
	w := newWorld(t, master)
	w.fillData("db")
	assert.Equal(t, http.StatusNotFound, w.get("/activities/j2").Code, "no tenant is guessed")
}
