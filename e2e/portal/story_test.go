package portal

import (
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// The story that the portal is made for: a provider's first visit, two tenants
// out of a pool of ten sockets, whose services the provider configures, and a
// tenant who then helps himself. Half of it is done without a mouse. Then all
// of them look around: see everyPage.
func TestPortalStory(t *testing.T) {
	s := newSite(t, "story", "web1", "web2", "db1")
	shot := &picture{story: "story"}

	// The first visit.
	master := s.tab(t)
	master.Open("/")
	master.Sees("Welcome", "One-time code")
	shot.of(master, "first-visit")
	master.Fill("One-time code", "WRONG-CODE")
	master.Fill("Several tenants", "true")
	master.Fill("User", "root")
	master.Fill("Password", masterPassword)
	master.Fill("Password again", masterPassword)
	master.Press("Create administrator")
	master.Sees("code")
	master.Fill("One-time code", s.code(t))
	master.Fill("Password", masterPassword)
	master.Fill("Password again", masterPassword)
	master.Press("Create administrator")
	master.Sees("no tenants")
	shot.of(master, "no-tenants")

	// Ten sockets, two tenants.
	master.Press("Allowances")
	master.Press("Edit the pool")
	master.Fill("Sockets allowed", "10")
	master.Press("Save")
	master.Sees("0 of 10 delegated")
	first := s.createTenant(master, shot, "Tenant1", "2")
	s.ofOne(t, master, shot)
	master.Keyboard()
	second := s.createTenant(master, shot, "Tenant2", "4")
	master.Press("Allowances")
	master.Sees("6 of 10 delegated", "4 left")
	master.Press("Tenants")
	master.Sees("Tenant1", "Tenant2", "Not configured")

	// A tenant comes too early.
	one := s.logIn(t, "Tenant1", "ops", first)
	one.Sees("Change your password")
	shot.of(one, "must-change")
	changePassword(one, first)
	one.Sees("Your service is not configured")
	shot.of(one, "not-configured")

	// Three steps for each.
	s.configure(master, "Tenant1", "web1")
	s.configure(master, "Tenant2", "db1")
	one.Open("/")
	one.Misses("Your service is not configured")

	// The tenant helps himself.
	secret := make([]byte, 300_000)
	for i := range secret {
		secret[i] = byte(rand.Uint32())
	}
	s.fill(t, "web1", "shop", map[string][]byte{"orders/2026.csv": secret, "readme.txt": []byte("the shop of Tenant1\n")})
	protect(one, shot)
	one.Keyboard()
	got := recoverFile(t, one)
	require.True(t, bytes.Equal(secret, got), "the file comes back as it was")

	// The provider looks in, for a time and with a reason.
	master.Press("Tenants")
	master.PressIn("Tenant1", "Act as")
	master.Fill("Reason", "asked to look at the job")
	master.Press("Act as Tenant1")
	master.Sees("You act for tenant Tenant1")
	master.Press("Jobs")
	master.Sees("nightly")
	shot.of(master, "acting")
	master.Press("Stop acting")
	master.Misses("You act for tenant")
	one.Press("Audit log")
	one.Sees("acting for Tenant1", "asked to look at the job")

	// Nothing of it is there for the other.
	two := s.tab(t)
	two.Keyboard()
	logIn(two, "Tenant2", "ops", second)
	changePassword(two, second)
	for _, page := range []string{"/", "/volumes", "/jobs", "/points", "/repositories", "/activities", "/audit", "/users"} {
		two.Open(page)
		two.Misses("Tenant1", "shop", "web1", "orders")
	}
	s.everyPage(t, one)
}

// ofOne looks at the installation as one that has a single tenant, and lets it
// grow.
func (s *site) ofOne(t *testing.T, master *harness.Tab, shot *picture) {
	t.Helper()
	mode := func(mode string) {
		settings, err := s.admin.Settings(t.Context())
		require.NoError(t, err)
		settings.Mode = mode
		_, err = s.admin.PutSettings(t.Context(), settings)
		require.NoError(t, err)
		master.Open("/")
	}
	mode(wire.ModeSingle)
	master.Sees("Tenant1", "Not configured", "CPU sockets")
	shot.of(master, "one-tenant")
	master.Press("Tenant")
	master.Sees("Customer Tenant1", "Latest in the audit log")
	mode(wire.ModeMulti)
	master.Sees("1 tenant", "Good")
}

// Passwords of the story.
const (
	masterPassword = "correct horse battery 1"
	tenantPassword = "another good password 2"
)

// createTenant fills the form for a tenant and returns the password of its
// first user, which is shown once.
func (s *site) createTenant(p *harness.Tab, shot *picture, name, sockets string) string {
	p.Press("Tenants")
	p.Press("Create new tenant")
	if name == "Tenant1" {
		p.Fill("Tenant name", name)
		p.Fill("E-mail", "no address")
		p.Fill("Website", "example.com")
	}
	p.Fill("Tenant name", name)
	p.Fill("Description", "Customer "+name)
	p.Fill("E-mail", "ops@"+name+".example")
	p.Fill("Contact phone", "+49 30 5550100")
	p.Fill("Website", "https://"+name+".example")
	p.Fill("Address", "1 Harbour Road, Hamburg")
	p.Fill("Labels", "gold, north")
	p.Fill("Sockets allowed", sockets)
	p.Fill("User name", "ops")
	p.Fill("Generate a password", "true")
	p.Press("Create tenant")
	p.Sees(name+" is created", "shown only now")
	if name == "Tenant1" {
		shot.of(p, "tenant-created")
	}
	return p.Text(".secret code")
}

func changePassword(p *harness.Tab, old string) {
	p.Fill("Password until now", old)
	p.Fill("New password", tenantPassword)
	p.Fill("New password again", tenantPassword)
	p.Press("Change password")
}

// configure leads a tenant through the wizard.
func (s *site) configure(p *harness.Tab, tenant, vm string) {
	p.Press("Tenants")
	p.Press("Cards")
	p.PressIn(tenant, "Configure")
	p.Sees("Step 1 of 3")
	p.Fill(vm, "true")
	p.Fill("Right to "+s.ds.Name, "Create volumes")
	p.Fill("All volumes on "+s.ds.Name, "512mb")
	p.Fill("Default datastore", s.ds.Name)
	p.Press("Save and continue")
	p.Sees("Step 2 of 3", "The inventory is saved")
	p.Press("Save and continue")
	p.Sees("Step 3 of 3")
	p.Fill("Folder", filepath.Join(lab.Dir, "repositories", tenant))
	p.Press("Create repository")
	p.Sees("The service of " + tenant + " is configured")
	p.Press("Look at the tenant")
	p.Sees(vm, "main")
}

// protect makes a job for the volume, runs it and watches it end.
func protect(p *harness.Tab, shot *picture) {
	p.Press("Volumes")
	p.Sees("shop", "Unprotected")
	p.Press("Jobs")
	p.Sees("No jobs yet")
	p.Press("Create job")
	p.Fill("Name of the job", "nightly")
	p.Fill("shop", "true")
	shot.of(p, "job-what")
	p.Press("Next")
	p.Sees("Where the recovery points are kept", "main")
	p.Press("Next")
	p.Sees("When it runs")
	p.Fill("Time", "02:30")
	shot.of(p, "job-when")
	p.Press("Next")
	p.Fill("One a day for", "7")
	shot.of(p, "job-keep")
	p.Press("Next")
	p.Sees("How points come about")
	p.Press("Next")
	p.Sees("Review", "shop", "Next runs")
	shot.of(p, "job-review")
	p.Press("Create job")
	p.Sees("nightly")
	p.Press("Run now")
	p.Sees("The backup has begun")
	p.Sees("this is the first backup of it", "Done") // by events: nobody loads the page again
	p.Misses("Queued")
}

// recoverFile finds the volume's recovery point and downloads a file out of it.
func recoverFile(t *testing.T, p *harness.Tab) []byte {
	t.Helper()
	p.Press("Recovery points")
	p.Sees("shop", "1 point")
	p.Press("shop")
	links := p.Links()
	at := slices.IndexFunc(links, func(l string) bool { return strings.HasPrefix(l, "/points/") })
	require.GreaterOrEqual(t, at, 0, "%s", p.Words())
	p.Open(links[at])
	p.Sees("Recovery point of shop")
	p.Press("Browse files")
	p.Sees("readme.txt")
	p.Press("orders")
	p.Sees("2026.csv")
	return p.Download("Download 2026.csv")
}
