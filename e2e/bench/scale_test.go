package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// How a service for many tenants is measured: each page so often, while one
// tenant asks in so many streams.
const (
	askedEach = 40
	streams   = 16
)

// pages are what people look at, by who does. A path is of the interface, and
// has its like in the portal.
var pages = []struct{ name, path, portal string }{
	{"master: dashboard", "/dashboard", "/"},
	{"master: tenants", "/tenants", "/tenants"},
	{"master: jobs", "/jobs", "/activities"},
	{"master: failed jobs", "/jobs?state=failed", "/activities?state=failed"},
	{"master: calendar", "/calendar", "/calendar"},
	{"master: repositories", "/repositories", "/repositories"},
	{"master: pool", "/pool", "/pool"},
	{"master: audit", "/audit", "/audit"},
	{"master: search", "/search?q=db07", "/search?q=db07"},
	{"tenant: dashboard", "/dashboard", "/"},
	{"tenant: volumes", "/volumes", "/volumes"},
	{"tenant: policies", "/vmgroups/%s/policies", "/jobs"},
	{"tenant: points", "/vmgroups/%s/points", "/points"},
	{"tenant: jobs", "/jobs", "/activities"},
	{"tenant: calendar", "/calendar", "/calendar"},
	{"tenant: audit", "/audit", "/audit"},
	{"tenant: search", "/search?q=db07", "/search?q=db07"},
}

// BenchmarkManyTenants measures what people wait for in a service with 1000
// tenants, 20000 policies and 600000 recovery points, while jobs are queued and
// one tenant asks as fast as it can. MOORING_BENCH_TENANTS is another number.
func BenchmarkManyTenants(b *testing.B) {
	for _, driver := range []string{"sqlite", "postgres"} {
		b.Run(driver, func(b *testing.B) {
			for b.Loop() {
				measureTenants(b, driver)
			}
		})
	}
}

func measureTenants(b *testing.B, driver string) {
	tenants := 1000
	if text := os.Getenv("MOORING_BENCH_TENANTS"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(b, err)
		tenants = n
	}
	url := "https://" + freeAddress(b)
	d := lab.Daemon(b, "scale-"+driver, []*harness.Datastore{lab.Folder(b, "scale-"+driver)}, nil, func(c *harness.Config) {
		c.Log.Level, c.DefaultVMGroup = "error", false
		c.Volume.Reconcile = "1m" // as it is by default
		c.HTTPS = map[string]any{"listen": url[len("https://"):], "names": []string{"127.0.0.1"}}
	})
	place := []string{"-path", filepath.Join(d.Config.StateDir, "catalog.db")}
	if driver == "postgres" {
		d.Config.Catalog = harness.ConfigCatalog{Driver: driver, DSNFile: lab.Postgres(b)}
		dsn, err := os.ReadFile(d.Config.Catalog.DSNFile)
		require.NoError(b, err)
		place = []string{"-dsn", string(bytes.TrimSpace(dsn))}
	}
	require.NoError(b, os.MkdirAll(d.Config.StateDir, 0o700))
	said, err := exec.Command(buildEstate(b), append(place, "-datastore", "scale-"+driver, "-tenants", fmt.Sprint(tenants), "-queued", "500")...).CombinedOutput()
	require.NoError(b, err, "%s", said)
	d.Start(b)
	defer func() { d.Stop(b) }()
	what := fmt.Sprintf("%d tenants, %s: ", tenants, driver)
	d.Stop(b)
	start := time.Now()
	d.Start(b)
	alone(what+"restart until it answers", ms(time.Since(start)), verdict("< 30 s", time.Since(start) < 30*time.Second))

	ctx := context.Background()
	admin := hostclient.NewAdmin("unix://"+d.Config.Admin.Socket, hostclient.Options{})
	client := func(tenant string, role volspec.Role) *http.Client {
		_, err := admin.CreateUser(ctx, tenant, wire.CreateUser{Name: "bench", Role: role, Password: "correct-horse-battery-9"})
		require.NoError(b, err)
		return loggedIn(b, d, url, wire.Login{Tenant: tenant, User: "bench", Password: "correct-horse-battery-9"})
	}
	const busy, calm = "tenant-e57a0000", "tenant-e57a0001"
	master, tenant, other := client("", volspec.MasterAdmin), client(calm, volspec.TenantAdmin), client(busy, volspec.TenantAdmin)

	var t strings.Builder
	fmt.Fprintf(&t, "| %d tenants, %s | API | portal | API, one tenant storms | portal, one tenant storms | p95 < 300 ms |\n|---|---|---|---|---|---|\n", tenants, driver)
	start = time.Now()
	require.Equal(b, http.StatusOK, ask(ctx, master, url+wire.Prefix+"/dashboard"))
	alone(what+"the master's first dashboard after that", ms(time.Since(start)), "")
	quiet := measurePages(b, url, master, tenant, calm)
	storm, over := context.WithCancel(ctx)
	var stormy sync.WaitGroup
	var answered atomic.Int64
	for range streams {
		stormy.Go(func() {
			for storm.Err() == nil {
				if ask(storm, other, url+"/points") == http.StatusOK { // it may be refused, or end with the storm
					answered.Add(1)
				}
			}
		})
	}
	begun := time.Now()
	noisy := measurePages(b, url, master, tenant, calm)
	over()
	stormy.Wait()
	for i, p := range pages {
		slowest := max(quiet[i].api.at(0.95), quiet[i].portal.at(0.95), noisy[i].api.at(0.95), noisy[i].portal.at(0.95))
		fmt.Fprintf(&t, "| %s | %s | %s | %s | %s | %s |\n", p.name, quiet[i].api, quiet[i].portal, noisy[i].api, noisy[i].portal, outcome(slowest < 300*time.Millisecond))
	}
	extra = append(extra, t.String())
	alone(what+"pages that the storm got", fmt.Sprintf("%.1f in a second", float64(answered.Load())/time.Since(begun).Seconds()), "")
	alone(what+"memory of mooringd, highest", fmt.Sprintf("%d MiB", highWater(d.PID())>>20), "")
}

// asked are the times of a page, by the interface and in the portal.
type asked struct{ api, portal sample }

// measurePages asks for every page.
func measurePages(b *testing.B, url string, master, tenant *http.Client, name string) []asked {
	all := make([]asked, len(pages))
	for i, p := range pages {
		who := tenant
		if strings.HasPrefix(p.name, "master") {
			who = master
		}
		for range askedEach {
			for path, into := range map[string]*sample{wire.Prefix + named(p.path, name): &all[i].api, p.portal: &all[i].portal} {
				start := time.Now()
				require.Equal(b, http.StatusOK, ask(b.Context(), who, url+path), path)
				*into = append(*into, time.Since(start))
			}
		}
	}
	return all
}

func named(path, tenant string) string {
	if strings.Contains(path, "%s") {
		return fmt.Sprintf(path, tenant)
	}
	return path
}

// ask reads a page and returns its status, 0 if there was no answer.
func ask(ctx context.Context, c *http.Client, url string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0
	}
	res, err := c.Do(req)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return 0
	}
	return res.StatusCode
}

// loggedIn is a client with the cookie of a session.
func loggedIn(b *testing.B, d *harness.Daemon, url string, login wire.Login) *http.Client {
	ca, err := os.ReadFile(filepath.Join(d.Config.StateDir, "https-ca.crt"))
	require.NoError(b, err)
	pool := x509.NewCertPool()
	require.True(b, pool.AppendCertsFromPEM(ca))
	jar, err := cookiejar.New(nil)
	require.NoError(b, err)
	c := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: streams}}
	body, err := json.Marshal(login)
	require.NoError(b, err)
	res, err := c.Post(url+wire.Prefix+"/login", "application/json", bytes.NewReader(body))
	require.NoError(b, err)
	defer res.Body.Close()
	require.Equal(b, http.StatusOK, res.StatusCode)
	return c
}

func freeAddress(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	defer l.Close()
	return l.Addr().String()
}

// buildEstate builds the program that fills a catalog.
func buildEstate(b *testing.B) string {
	out := filepath.Join(lab.Dir, "estate")
	cmd := exec.Command("go", "build", "-o", out, "./hostsvc/internal/catalog/catalogtest/estate")
	cmd.Dir, cmd.Env = lab.Bin.Root, append(os.Environ(), "CGO_ENABLED=0")
	said, err := cmd.CombinedOutput()
	require.NoError(b, err, "%s", said)
	return out
}
