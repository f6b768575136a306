package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/e2e/harness"
)

// protocol is a rig whose engine speaks to the plugin, and its plugin to the
// service, through relays.
type protocol struct {
	*rig
	g, h         *plain // h has no relays
	plugin, host *relay
}

// What the engine and the plugin say to each other, and what becomes of it
// when they are slow, repeat themselves, lose answers or talk nonsense. The
// items are those of the engine's own tests and of what was found out about
// it; see also the other tests of this package.
func TestPluginProtocol(t *testing.T) {
	all := plains(t, "p1", "p2")
	p := &protocol{g: all[0], h: all[1]}
	p.plugin = p.g.throughRelay(t)
	var change func(*harness.Config)
	p.host, change = hostRelay(t, p.g.Guest)
	p.rig = newRig(t, "protocol", lab.Folder(t, own("protocol")), all, lab.Bin, func(c *harness.Config) {
		change(c)
		c.Volume.AttachWait = "1s"
	})
	for _, item := range []struct {
		name string
		do   func(t *testing.T, p *protocol)
	}{
		{"activated once, capabilities asked once", activatedOnce},
		{"one call of each kind for a run", oneOfEach},
		{"volumes of another container are mounted again", mountedForEach},
		{"copy from a running container", copyFromRunning},
		{"image content is copied up by a mount of its own", copiedUp},
		{"a failed mount is not followed by an unmount", failedMount},
		{"one call for a listing", oneCallForListing},
		{"times are RFC 3339", timesAreRFC3339},
		{"the answer to create, mount, unmount or remove is lost", answersLost},
		{"every answer to get is lost", getsLost},
		{"requests without a body and with nonsense", nonsense},
		{"hostile names", hostileNames},
		{"uses are counted by volume and id", usesCounted},
		{"created twice, in parallel, and while get errs", createdTwice},
		{"a create that takes too long, then again", slowCreate},
		{"a driver that appears within the retry time", appearsLate},
		{"listens before the service answers", listensEarly},
		{"stops while a request hangs", stopsInTime},
	} {
		t.Run(item.name, func(t *testing.T) {
			p.plugin.follow(nil)
			p.host.follow(nil)
			item.do(t, p)
			p.plugin.follow(nil)
			p.host.follow(nil)
			p.settled(t)
			require.Empty(t, listed(t, p.g.Guest))
		})
		if t.Failed() {
			return // what follows would stand on what failed
		}
	}
}

// counts compares how often the engine called.
func (p *protocol) counts(t *testing.T, want map[string]int) {
	t.Helper()
	have := map[string]int{}
	for c := range want {
		have[c] = p.plugin.count("VolumeDriver." + c)
	}
	require.Equal(t, want, have)
}

func activatedOnce(t *testing.T, p *protocol) {
	p.g.StopEngine(t)
	p.g.StartEngine(t)
	for i := range 3 {
		create(t, p.g.Guest, fmt.Sprint("data", i), "size=16mb")
	}
	require.Equal(t, "global", p.g.Docker(t.Context(), "volume", "inspect", "-f", "{{.Scope}}", "data0").OK(t).Stdout)
	listed(t, p.g.Guest)
	remove(t, p.g.Guest, "data0", "data1", "data2")
	require.Equal(t, 1, p.plugin.count("/Plugin.Activate"))
	p.counts(t, map[string]int{"Capabilities": 1, "Create": 3, "Remove": 3, "Path": 0})
	status, answer, err := ask(t.Context(), p.g.ownSocket(), "/Plugin.Activate", nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, status)
	require.JSONEq(t, `{"Implements":["VolumeDriver"]}`, answer)
}

func run(t *testing.T, g *plain, args ...string) harness.Result {
	t.Helper()
	return g.Docker(t.Context(), append([]string{"run", "--rm", "--network=none", "--volume-driver", harness.Driver}, args...)...)
}

func oneOfEach(t *testing.T, p *protocol) {
	run(t, p.g, "-v", "data:/vol", harness.Image, "true").OK(t)
	p.counts(t, map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 0})
	remove(t, p.g.Guest, "data")
	p.counts(t, map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1})

	p.plugin.follow(nil)
	run(t, p.g, "-v", "/vol", harness.Image, "true").OK(t)
	p.counts(t, map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1})

	p.plugin.follow(nil)
	p.g.Docker(t.Context(), "run", "--network=none", "--name", "unnamed", "--volume-driver", harness.Driver, "-v", "/vol", harness.Image, "true").OK(t)
	p.g.Docker(t.Context(), "rm", "-v", "unnamed").OK(t)
	p.counts(t, map[string]int{"Create": 1, "Mount": 1, "Unmount": 1, "Remove": 1})
}

func mountedForEach(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	keep(t, p.g.Guest, "owner", "data")
	run(t, p.g, "--volumes-from", "owner", harness.Image, "true").OK(t)
	drop(t, p.g.Guest, "owner")
	p.counts(t, map[string]int{"Mount": 2, "Unmount": 2})
	var ids []string
	for _, body := range p.plugin.bodies("VolumeDriver.Mount") {
		var m struct{ Name, ID string }
		require.NoError(t, json.Unmarshal([]byte(body), &m))
		require.Equal(t, "data", m.Name)
		require.NotEmpty(t, m.ID)
		ids = append(ids, m.ID)
	}
	require.NotEqual(t, ids[0], ids[1])
	p.detached(t, "data")
	remove(t, p.g.Guest, "data")
}

func copyFromRunning(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	keep(t, p.g.Guest, "owner", "data")
	p.g.Docker(t.Context(), "cp", "owner:/vol/log", "-").OK(t)
	p.counts(t, map[string]int{"Mount": 2, "Unmount": 1})
	require.Equal(t, "p1", p.volume(t, "data").AttachedTo)
	p.g.Docker(t.Context(), "kill", "owner").OK(t)
	p.detached(t, "data")
	p.counts(t, map[string]int{"Mount": 2, "Unmount": 2})
	drop(t, p.g.Guest, "owner")
	remove(t, p.g.Guest, "data")
}

func copiedUp(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	run(t, p.g, "--mount", "type=volume,src=data,dst=/seed,volume-nocopy", harness.Image, "sh", "-c", "! test -e /seed/from-image").OK(t)
	p.counts(t, map[string]int{"Mount": 1, "Unmount": 1})
	run(t, p.g, "-v", "data:/seed", harness.Image, "test", "-e", "/seed/from-image").OK(t)
	p.counts(t, map[string]int{"Mount": 3, "Unmount": 3})
	p.detached(t, "data")
	remove(t, p.g.Guest, "data")
}

func failedMount(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	keep(t, p.h.Guest, "owner", "data")
	run(t, p.g, "-v", "data:/vol", harness.Image, "true").Fails(t, "VolumeDriver.Mount: ", "attached to VM p2")
	p.counts(t, map[string]int{"Mount": 1, "Unmount": 0})
	drop(t, p.h.Guest, "owner")
	p.detached(t, "data")
	remove(t, p.g.Guest, "data")
}

func oneCallForListing(t *testing.T, p *protocol) {
	for i := range 5 {
		create(t, p.h.Guest, fmt.Sprint("data", i), "size=16mb")
	}
	require.Len(t, listed(t, p.g.Guest), 5)
	p.counts(t, map[string]int{"List": 1, "Get": 0, "Path": 0})
	require.Equal(t, 1, p.host.count("GET /api/v1/volumes"))
	remove(t, p.h.Guest, "data0", "data1", "data2", "data3", "data4")
}

func timesAreRFC3339(t *testing.T, p *protocol) {
	before := time.Now().Add(-time.Second)
	create(t, p.g.Guest, "data", "size=16mb")
	made, err := time.Parse(time.RFC3339, p.g.Docker(t.Context(), "volume", "inspect", "-f", "{{.CreatedAt}}", "data").OK(t).Stdout)
	require.NoError(t, err)
	require.WithinRange(t, made, before.Truncate(time.Second), time.Now())
	remove(t, p.g.Guest, "data")
}

const restarted = "run the command again"

// The engine repeats what got no answer, without its content. It must be told
// so, and the command that its user repeats must find everything in order.
func answersLost(t *testing.T, p *protocol) {
	p.plugin.follow(losing("VolumeDriver.Create", 1))
	tryCreate(t, p.g.Guest, "data", "size=16mb").Fails(t, restarted)
	create(t, p.g.Guest, "data", "size=16mb")
	require.Len(t, listed(t, p.g.Guest), 1)

	p.plugin.follow(losing("VolumeDriver.Mount", 1))
	run(t, p.g, "-v", "data:/vol", harness.Image, "true").Fails(t, restarted)
	run(t, p.g, "-v", "data:/vol", harness.Image, "sh", "-c", write).OK(t)
	p.detached(t, "data")

	p.plugin.follow(losing("VolumeDriver.Unmount", 1))
	run(t, p.g, "-v", "data:/vol", harness.Image, "sh", "-c", read).OK(t)
	p.detached(t, "data")

	p.plugin.follow(losing("VolumeDriver.Remove", 1))
	p.g.Docker(t.Context(), "volume", "rm", "data").Fails(t, restarted)
	again := step{do: func() harness.Result { return p.g.Docker(t.Context(), "volume", "rm", "data") }, done: noSuchVolume}
	require.NoError(t, again.try())
	require.Empty(t, listed(t, p.g.Guest))
}

// The engine gives up, but forgets nothing. It asks for one volume at a time
// by its name: these are three.
func getsLost(t *testing.T, p *protocol) {
	names := []string{"data0", "data1", "data2"}
	for _, n := range names {
		p.g.Docker(t.Context(), "volume", "create", "-d", harness.Driver, "-o", "size=16mb", "--label", "team=a", n).OK(t)
	}
	p.plugin.follow(losing("VolumeDriver.Get", -1))
	var wg sync.WaitGroup
	for _, args := range [][]string{
		{"volume", "inspect", "data0"}, {"volume", "create", "-d", harness.Driver, "data1"},
		{"run", "--rm", "--network=none", "-v", "data2:/vol", harness.Image, "true"},
	} {
		wg.Go(func() {
			if r := p.g.Docker(t.Context(), args...); r.Code == 0 {
				t.Errorf("without any answer to Get: %s", r)
			}
		})
	}
	wg.Wait()
	p.plugin.follow(nil)
	for _, n := range names {
		require.Equal(t, "a", p.g.Docker(t.Context(), "volume", "inspect", "-f", "{{.Labels.team}}", n).OK(t).Stdout)
	}
	require.Empty(t, p.g.Docker(t.Context(), "volume", "ls", "-q", "-f", "driver=local").OK(t).Stdout)
	remove(t, p.g.Guest, names...)
}

func createdTwice(t *testing.T, p *protocol) {
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			r := p.g.API(t.Context(), http.MethodPost, "/volumes/create", map[string]any{"Name": "data", "Driver": harness.Driver, "DriverOpts": map[string]string{"size": "16mb"}})
			if r.Code != 0 {
				t.Errorf("%s", r)
			}
			_, _, err := ask(t.Context(), p.g.ownSocket(), "/VolumeDriver.Create", []byte(`{"Name":"data","Opts":{"size":"16mb"}}`))
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.Len(t, listed(t, p.g.Guest), 1)
	sh(t, p.g.Guest, "data", write).OK(t)
	p.plugin.follow(func(x exchange) reply {
		if strings.HasSuffix(x.What, "VolumeDriver.Get") {
			return reply{http.StatusInternalServerError, []byte(`{"Err":"no idea"}`)}
		}
		return x.pass()
	})
	create(t, p.g.Guest, "data")
	require.Equal(t, 1, p.plugin.count("VolumeDriver.Create"), "the engine creates what Get does not find")
	p.plugin.follow(nil)
	sh(t, p.g.Guest, "data", read).OK(t)
	p.detached(t, "data")
	remove(t, p.g.Guest, "data")
}

// The service needs longer than the plugin may wait. The user is told to
// repeat, and the work is neither lost nor done twice.
func slowCreate(t *testing.T, p *protocol) {
	p.g.restart(t, "MOORING_TIMEOUT=2s")
	defer p.g.restart(t)
	p.host.follow(func(x exchange) reply {
		a := x.pass()
		if x.What == "/api/v1/volumes" {
			time.Sleep(4 * time.Second)
		}
		return a
	})
	r := tryCreate(t, p.g.Guest, "data", "size=16mb").Fails(t, "repeat the command")
	require.Less(t, r.Took, 15*time.Second)
	p.host.follow(nil)
	create(t, p.g.Guest, "data", "size=16mb")
	require.Len(t, listed(t, p.g.Guest), 1)
	remove(t, p.g.Guest, "data")
}

// What could not connect is repeated with its content.
func appearsLate(t *testing.T, p *protocol) {
	p.h.Stop(t)
	done := make(chan harness.Result, 1)
	go func() { done <- tryCreate(t, p.h.Guest, "data", "size=16mb") }()
	time.Sleep(1500 * time.Millisecond)
	// Others are served meanwhile.
	p.h.Docker(t.Context(), "run", "--rm", "--network=none", harness.Image, "true").OK(t)
	p.h.start(t)
	(<-done).OK(t)
	remove(t, p.h.Guest, "data")
}

func listensEarly(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	p.g.Stop(t)
	p.Stop(t)
	begin := time.Now()
	p.g.start(t)
	require.Less(t, time.Since(begin), 3*time.Second, "copying and starting the binary included")
	require.Equal(t, []string{"data@" + p.ds.Name}, listed(t, p.g.Guest), "from what was known before")
	p.Start(t)
	remove(t, p.g.Guest, "data")
}

// The engine kills a plugin ten seconds after it asked it to stop.
func stopsInTime(t *testing.T, p *protocol) {
	create(t, p.g.Guest, "data", "size=16mb")
	hold := make(chan struct{})
	arrived := make(chan struct{}, 10)
	p.host.follow(func(x exchange) reply {
		if strings.HasSuffix(x.What, "/attach") {
			arrived <- struct{}{}
			<-hold
		}
		return x.pass()
	})
	done := make(chan harness.Result, 1)
	go func() { done <- run(t, p.g, "-v", "data:/vol", harness.Image, "true") }()
	select {
	case <-arrived:
	case <-time.After(20 * time.Second):
		t.Fatal("the plugin did not ask for the disk")
	}
	begin := time.Now()
	p.g.Stop(t)
	require.Less(t, time.Since(begin), 9*time.Second)
	close(hold)
	p.host.follow(nil)
	p.g.start(t)
	<-done // whatever became of it
	run(t, p.g, "-v", "data:/vol", harness.Image, "true").OK(t)
	p.detached(t, "data")
	remove(t, p.g.Guest, "data")
}
