package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/hostclient"
)

// A thousand volumes: a listing is one call, and an engine that starts asks
// for all of them at once without overrunning the service.
func TestThousandVolumes(t *testing.T) {
	all := plains(t, "p1")
	g := all[0]
	plugin := g.throughRelay(t)
	host, change := hostRelay(t, g.Guest)
	r := newRig(t, "thousand", lab.Folder(t, own("thousand")), all, lab.Bin, change)
	const count = 1000
	var wg sync.WaitGroup
	names := make(chan string)
	for range 16 {
		wg.Go(func() {
			for name := range names {
				if r := g.API(t.Context(), http.MethodPost, "/volumes/create", map[string]any{"Name": name, "Driver": harness.Driver, "DriverOpts": map[string]string{"size": "16mb"}}); r.Code != 0 {
					t.Errorf("%s", r)
				}
			}
		})
	}
	begin := time.Now()
	for i := range count {
		names <- fmt.Sprintf("v%04d", i)
	}
	close(names)
	wg.Wait()
	t.Logf("%d creates took %s", count, time.Since(begin).Round(time.Millisecond))

	plugin.follow(nil)
	host.follow(nil)
	ls := g.Docker(t.Context(), "volume", "ls", "-q").OK(t)
	require.Len(t, ls.Lines(), count)
	t.Logf("docker volume ls took %s", ls.Took.Round(time.Millisecond))
	require.Equal(t, 1, plugin.count("VolumeDriver.List"))
	require.Zero(t, plugin.count("VolumeDriver.Get")+plugin.count("VolumeDriver.Path"))
	require.LessOrEqual(t, host.count("/api/v1/volumes"), 3, "pages of one listing")

	g.StopEngine(t)
	plugin.follow(nil)
	host.follow(nil)
	begin = time.Now()
	g.StartEngine(t)
	t.Logf("the engine started in %s, asked %d times, on %d connections to the service with %d requests", time.Since(begin).Round(time.Millisecond),
		plugin.count("VolumeDriver.Get"), host.accepted(), host.count(""))
	require.GreaterOrEqual(t, plugin.count("VolumeDriver.Get"), count)
	require.LessOrEqual(t, host.accepted(), 32)
	require.Less(t, host.count(""), count/2)
	require.Len(t, listed(t, g.Guest), count)

	// Removed behind the engine's back, all at once.
	begin = time.Now()
	require.NoError(t, r.admin.RemoveVMGroup(t.Context(), team, true, true))
	t.Logf("removing the vmgroup took %s", time.Since(begin).Round(time.Millisecond))
	left, err := r.admin.Volumes(t.Context(), hostclient.VolumesQuery{State: "all"})
	require.NoError(t, err)
	require.Empty(t, left.Volumes)
	require.Empty(t, listed(t, g.Guest))
}
