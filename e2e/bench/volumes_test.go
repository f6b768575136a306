package bench

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// pairs is how often each operation is measured with either driver, in turn.
const pairs = 100

// BenchmarkDockerAPI measures create, inspect, list and remove through the
// engine's API, in turn with the driver local, with ours, and with a plugin
// that does nothing: what the plugin protocol itself costs.
func BenchmarkDockerAPI(b *testing.B) {
	store := lab.Folder(b, "ds")
	g := lab.NewGuest(b, "vm")
	d := lab.Daemon(b, "api", []*harness.Datastore{store}, []*harness.Guest{g}, func(c *harness.Config) { c.Log.Level = "info" })
	d.Start(b)
	defer d.Stop(b)
	g = lab.Guest(b, "vm")
	g.InstallPlugin(b)
	ctx := context.Background()
	call := func(method, path string, body any) time.Duration {
		r := g.API(ctx, method, path, body)
		require.Zero(b, r.Code, "%s", r)
		return r.Took
	}
	serveEmptyPlugin(b, g)
	var times [3]struct{ create, inspect, list, remove sample }
	for b.Loop() {
		for i := range pairs + 5 {
			for j, driver := range []string{"local", emptyPlugin, harness.Driver} {
				name := fmt.Sprintf("bench-%s-%d", driver, i)
				create := call(http.MethodPost, "/volumes/create", map[string]any{"Name": name, "Driver": driver})
				inspect := call(http.MethodGet, "/volumes/"+name, nil)
				list := call(http.MethodGet, "/volumes", nil)
				remove := call(http.MethodDelete, "/volumes/"+name, nil)
				if i < 5 {
					continue // warm up
				}
				t := &times[j]
				t.create, t.inspect = append(t.create, create), append(t.inspect, inspect)
				t.list, t.remove = append(t.list, list), append(t.remove, remove)
			}
		}
	}
	local, null, ours := times[0], times[1], times[2]
	compare(b, "create", ours.create, local.create, null.create, "p50 ≤ 10 ms")
	compare(b, "inspect", ours.inspect, local.inspect, null.inspect, "≤ 2 × local")
	compare(b, "ls", ours.list, local.list, null.list, "")
	compare(b, "rm", ours.remove, local.remove, null.remove, "≤ 2 × local")
}

// BenchmarkLargeInstallation fills 1000 vmgroups with ten volumes each and
// lists one of them, from the daemon's channel.
func BenchmarkLargeInstallation(b *testing.B) {
	const groups, each = 1000, 10
	store := lab.Folder(b, "large")
	g := lab.NewGuest(b, "tenant")
	d := lab.Daemon(b, "large", []*harness.Datastore{store}, []*harness.Guest{g}, func(c *harness.Config) { c.Log.Level = "warn" })
	d.Start(b)
	defer d.Stop(b)
	ctx := context.Background()
	admin := hostclient.NewAdmin("unix://"+d.Config.Admin.Socket, hostclient.Options{})
	fill(ctx, b, admin, groups, each)
	require.NoError(b, admin.AddVMs(ctx, "tenant500", []string{"tenant"}))
	guest := hostclient.New("unix://"+g.Socket(), hostclient.Options{})
	var lists sample
	for b.Loop() {
		for range pairs {
			start := time.Now()
			list, err := guest.List(ctx)
			require.NoError(b, err)
			require.Len(b, list, each)
			lists = append(lists, time.Since(start))
		}
	}
	b.ReportMetric(float64(lists.at(0.5).Microseconds())/1000, "list-p50-ms")
	alone(fmt.Sprintf("list one vmgroup of %d with %d volumes in all", groups, groups*each), lists.String(), "< 50 ms")
}

func fill(ctx context.Context, b *testing.B, admin *hostclient.Admin, groups, each int) {
	var eg errgroup.Group
	eg.SetLimit(8)
	for i := range groups {
		eg.Go(func() error {
			name := fmt.Sprintf("tenant%d", i)
			if _, err := admin.CreateVMGroup(ctx, wire.CreateVMGroup{Name: name, DefaultDatastore: "large"}); err != nil {
				return err
			}
			for j := range each {
				if _, err := admin.CreateVolume(ctx, name, wire.CreateVolume{Name: fmt.Sprintf("v%d", j)}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	require.NoError(b, eg.Wait())
}

// BenchmarkQuota makes 200 creates compete for a limit of 100.
func BenchmarkQuota(b *testing.B) {
	store := lab.Folder(b, "quota")
	g := lab.NewGuest(b, "greedy")
	d := lab.Daemon(b, "quota", []*harness.Datastore{store}, []*harness.Guest{g}, func(c *harness.Config) {
		c.Log.Level = "warn"
		c.VMGroups = []harness.ConfigVMGroup{{
			Name: "limited", DefaultDatastore: "quota", VMs: []string{"greedy"},
			Access: []harness.ConfigAccess{{Datastore: "quota", AllowCreate: true, TotalSize: "10000mb"}},
		}}
	})
	d.Start(b)
	defer d.Stop(b)
	guest := hostclient.New("unix://"+g.Socket(), hostclient.Options{Conns: 50})
	var made atomic.Int64
	var took time.Duration
	for b.Loop() {
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 200 {
			wg.Go(func() {
				_, err := guest.Create(context.Background(), wire.CreateVolume{Name: fmt.Sprintf("v%d", i), Options: map[string]string{"size": (100 * volspec.MiB).Option()}})
				if err == nil {
					made.Add(1)
				} else if !errkind.Is(err, errkind.Quota) {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		took = time.Since(start)
	}
	b.ReportMetric(float64(made.Load()), "volumes")
	alone("200 parallel creates at a quota of 100", fmt.Sprintf("%d made in %s", made.Load(), ms(took)), "exactly 100")
}

// BenchmarkPluginStart measures from exec to the first answer, without a host
// service, and the memory the plugin then has.
func BenchmarkPluginStart(b *testing.B) {
	var ready sample
	var peak int64
	for b.Loop() {
		for i := range 20 {
			dir := filepath.Join(b.TempDir(), fmt.Sprint(i))
			require.NoError(b, os.MkdirAll(dir, 0o755))
			took, rss := startPlugin(b, dir)
			ready, peak = append(ready, took), max(peak, rss)
		}
	}
	b.ReportMetric(float64(ready.at(0.5).Microseconds())/1000, "ready-p50-ms")
	b.ReportMetric(float64(peak)/1024, "rss-MiB")
	alone("plugin: start to first answer, no host service", ready.String(), "< 200 ms")
	alone("plugin: memory", fmt.Sprintf("%.1f MiB", float64(peak)/1024), "< 40 MiB")
}

// waitAnswer dials until the socket answers the activation.
func waitAnswer(b *testing.B, socket string) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	deadline := time.Now().Add(10 * time.Second)
	for {
		resp, err := client.Post("http://plugin/Plugin.Activate", "application/json", strings.NewReader("{}"))
		if err == nil {
			require.NoError(b, resp.Body.Close())
			return
		}
		require.True(b, time.Now().Before(deadline), "the plugin does not answer: %v", err)
		time.Sleep(time.Millisecond)
	}
}
