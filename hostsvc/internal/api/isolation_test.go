package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/freeze"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/transporter"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// The tests here are about information: they play the same requests in two
// worlds that differ only in what another tenant has, and every byte of every
// answer must be the same.

// word marks everything that belongs to the other tenant. No answer to
// anybody else contains it, unless the request did.
const word = "zzsecret"

var admin = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}

// vm is a fixed VM of the test's world.
func vm(n int, name string) volspec.Caller {
	return volspec.Caller{
		VM: volspec.VMID(fmt.Sprintf("%08d-0000-4000-8000-000000000000", n)), VMName: name, VMDatastore: "ds1", Actor: "vm:" + name,
	}
}

var (
	owner   = vm(1, word+"-vm1") // in the vmgroup that has the volumes
	partner = vm(2, word+"-vm2") // in the same one
	tenant  = vm(3, "tenant-vm") // in another
	stray   = vm(4, "stray-vm")  // in none, and there is no _DEFAULT
)

// world is real use cases on a real catalog behind real sockets.
type world struct {
	t       *testing.T
	volumes *volume.Service
	tenants *tenancy.Service
	freezes *freeze.Broker
	hv      *memory.Memory
	vaults  vaults
	guests  *enroll.Service
	srv     *api.Server
	socket  map[string]string // by name of the VM
	hold    *wire.Attachment  // what owner has attached, nil when owner has nothing
	ids     []string          // of the owner's volumes
	order   string            // to freeze one of them
}

type quiet struct{}

func (quiet) Status(context.Context) (wire.Status, error)    { return wire.Status{}, nil }
func (quiet) Doctor(context.Context) ([]wire.Finding, error) { return nil, nil }
func (quiet) Ready(context.Context) error                    { return nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	o := memory.Options{Datastores: []hypervisor.Datastore{{Name: "ds1", Reflink: true}, {Name: "ds2", Reflink: true}}}
	callers := []volspec.Caller{owner, partner, tenant, stray}
	for _, c := range callers {
		o.VMs = append(o.VMs, hypervisor.VM{ID: c.VM, Name: c.VMName, Datastore: c.VMDatastore})
	}
	hv := memory.New(o)
	cat, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, cat.Close()) })

	w := &world{t: t, socket: map[string]string{}, freezes: freeze.New(), hv: hv, vaults: vaults{names: map[string][]string{}}}
	w.tenants = tenancy.New(tenancy.Options{Store: cat.Tenancy(), Machines: hv, Datastores: hv, Folders: hv,
		RemoveVolumes: func(ctx context.Context, c volspec.Caller, g volspec.VMGroupID) error {
			return w.volumes.RemoveAll(ctx, c, g)
		}})
	w.volumes = volume.New(volume.Options{
		Store: cat.Volumes(), Hypervisor: hv, Check: tenancy.Check, Resolve: tenancy.Resolve, RestoreGroup: w.tenants.RestoreGroup,
		Instance: uuid.NewString(), Installation: "test", TrashKeep: time.Hour, AttachWait: 100 * time.Millisecond, Reconcile: time.Hour,
	})
	require.NoError(t, w.tenants.EnsureDefault(t.Context(), false))
	require.NoError(t, w.volumes.IdentifyDatastores(t.Context()))
	require.NoError(t, w.volumes.Recover(t.Context()))
	authority, err := enroll.OpenAuthority(t.TempDir(), "test")
	require.NoError(t, err)
	w.guests = enroll.New(enroll.Options{Store: cat.Enrolment(), Machines: hv, Authority: authority, URL: func() string { return "tls://host:1020" }})
	w.srv = api.New(api.Options{Volumes: w.volumes, Tenants: w.tenants, System: quiet{}, Freezes: w.freezes, Backups: w.vaults, Audit: audit.New(cat.AuditLog()), Version: "test",
		Allowances: w.tenants, Transporters: transporter.New(transporter.Options{Store: cat.Transporters()}),
		Enrolment: w.guests})
	for _, c := range callers {
		w.socket[c.VMName] = w.serve(w.srv, c)
	}
	return w
}

func (w *world) serve(srv *api.Server, c volspec.Caller) string {
	dir, err := os.MkdirTemp("/tmp", "iso")
	require.NoError(w.t, err)
	l, err := transport.ListenUnix(w.t.Context(), dir+"/s", 0o600, -1, -1)
	require.NoError(w.t, err)
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- srv.Serve(ctx, l, func(context.Context, *http.Request) (volspec.Caller, error) { return c, nil })
	}()
	w.t.Cleanup(func() {
		stop()
		assert.NoError(w.t, <-done)
		assert.NoError(w.t, os.RemoveAll(dir))
	})
	return dir + "/s"
}

// group makes a vmgroup that may use ds1, with one VM or more.
func (w *world) group(name, description string, vms ...string) {
	_, err := w.tenants.Create(w.t.Context(), admin, wire.CreateVMGroup{Name: name, Description: description, DefaultDatastore: "ds1", VMs: vms})
	require.NoError(w.t, err)
	require.NoError(w.t, w.tenants.SetAccess(w.t.Context(), admin, name, "ds1", wire.SetAccess{AllowCreate: new(true)}))
}

// secrets is what the other tenant has: volumes in every state a guest could
// meet, snapshots, a vmgroup with a description, a datastore of its own, and a
// folder in which a VM of nobody lies.
func (w *world) secrets() {
	ctx := w.t.Context()
	w.group(word+"-group", word+" description", owner.VMName, partner.VMName)
	require.NoError(w.t, w.tenants.AddAccess(ctx, admin, word+"-group", wire.SetAccess{Datastore: "ds2", AllowCreate: new(true)}))
	for _, name := range []string{"common", word + "-held", word + "-idle", word + "-away@ds2", word + "-trash", "odd name #%?&ü"} {
		v, err := w.volumes.Create(ctx, owner, "", wire.CreateVolume{Name: name})
		require.NoError(w.t, err)
		w.ids = append(w.ids, string(v.ID))
	}
	w.hv.MakeFolder(word + "-folder")
	w.hv.MoveVM(stray.VM, word+"-folder")
	require.NoError(w.t, w.tenants.AddFolder(ctx, admin, word+"-group", word+"-folder"))
	_, err := w.volumes.CreateSnapshot(ctx, admin, word+"-group", word+"-idle", wire.CreateSnapshot{Name: word + "-snapshot"})
	require.NoError(w.t, err)
	require.NoError(w.t, w.volumes.Remove(ctx, owner, "", word+"-trash", false))
	a, err := w.volumes.Attach(ctx, owner, word+"-held", wire.Attach{BootID: "boot"})
	require.NoError(w.t, err)
	w.hold = &a
	w.ids = append(w.ids, a.Serial)
	w.freeze(a)
	code, err := w.guests.Invite(ctx, admin, owner.VMName, false)
	require.NoError(w.t, err)
	w.ids = append(w.ids, code.Code)
	w.vaults.names[word+"-group"] = []string{word + "-repository", word + "-point", word + "-policy", word + "-job", "common"}
}

// freeze has the owner hold what it has attached until the test ends.
func (w *world) freeze(a wire.Attachment) {
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(w.t.Context())
	w.t.Cleanup(func() { stop(); wg.Wait() })
	frozen := make(chan struct{})
	wg.Go(func() {
		_, err := w.freezes.Hold(ctx, freeze.Order{VM: owner.VM, Volume: a.ID, Name: a.Name, Epoch: a.Epoch, Lease: wire.MaxFreezeLease}, func(ctx context.Context) error {
			close(frozen)
			<-ctx.Done()
			return nil
		})
		assert.NoError(w.t, err)
	})
	got, err := w.freezes.Next(ctx, owner, "", time.Second)
	require.NoError(w.t, err)
	require.Len(w.t, got.Orders, 1)
	w.order = got.Orders[0].ID
	w.ids = append(w.ids, w.order)
	wg.Go(func() {
		_, err := w.freezes.Report(ctx, owner, w.order, wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: wire.MaxFreezeLease.Milliseconds()})
		assert.NoError(w.t, err)
	})
	<-frozen
}

// play sends one request as one VM and returns status, headers and body with
// what is random or a moment in time replaced.
func (w *world) play(c volspec.Caller, method, target, body string) (status int, answer, raw string) {
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return transport.Dial(ctx, "unix://"+w.socket[c.VMName])
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(w.t.Context(), method, "http://mooringd"+target, strings.NewReader(body))
	require.NoError(w.t, err)
	req.Header.Set(wire.HeaderRequest, "same")
	resp, err := tr.RoundTrip(req)
	require.NoError(w.t, err)
	b, err := io.ReadAll(resp.Body)
	require.NoError(w.t, err)
	require.NoError(w.t, resp.Body.Close())
	resp.Header.Del("Date")
	resp.Header.Del("Content-Length") // follows from the body, and its times differ in length
	var head strings.Builder
	require.NoError(w.t, resp.Header.Write(&head))
	raw = fmt.Sprintf("%d\n%s\n%s", resp.StatusCode, head.String(), b)
	return resp.StatusCode, moments.Replace(raw), raw
}

// replacer hides what differs between two runs of the same thing.
type replacer []struct {
	what *regexp.Regexp
	by   string
}

func (r replacer) Replace(s string) string {
	for _, x := range r {
		s = x.what.ReplaceAllString(s, x.by)
	}
	return s
}

var moments = replacer{
	{regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`), "UUID"},
	{regexp.MustCompile(`"serial":"[0-9a-f]{20}"`), `"serial":"S"`},
	{regexp.MustCompile(`"next":"[^"]+"`), `"next":"N"`},
	{regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(Z|[+-][0-9:]+)`), "TIME"},
}

// step is one request.
type step struct{ method, target, body string }

// names are words for {name}: the other tenant's volumes in every spelling,
// their ids and serials, and what never existed.
func names(ids []string) []string {
	return append([]string{
		"common", word + "-held", word + "-held@ds1", word + "-held@DS1", word + "-idle", word + "-away", word + "-away@ds2", word + "-trash",
		word + "-idle@" + word + "-snapshot", "odd name #%?&ü", "never", "never@ds1", "never@ds2", "never@nowhere", "..", word + "-group/" + word + "-held",
	}, ids...)
}

// script is every endpoint with every name and with bodies that aim at the
// other tenant. What changes the caller's own world comes in the same order
// in both, so the own answers agree.
func script(t *testing.T, ids []string, held wire.Attachment, order string) (steps []step) {
	t.Helper()
	bodies := map[string][]any{
		"/volumes/{name}/attach": {wire.Attach{BootID: "b"}, wire.Attach{BootID: "boot", WaitMS: 1}},
		"/volumes/{name}/detach": {wire.Detach{}, wire.Detach{Epoch: held.Epoch}},
		"/volumes/{name}/format": {wire.SetFormat{Epoch: held.Epoch, State: volspec.Formatting}, wire.SetFormat{State: volspec.Formatted}},
		"/freezes/{id}": {
			wire.FreezeReport{State: wire.FreezeFrozen, LeftMS: 1}, wire.FreezeReport{State: wire.FreezeRefused},
			wire.FreezeReport{State: wire.FreezeThawed, Held: true},
		},
		"/heartbeat": {
			wire.Heartbeat{BootID: "b"},
			wire.Heartbeat{BootID: "b", Uses: []wire.VolumeUse{{ID: held.ID, Epoch: held.Epoch, Mounted: true, FSBytes: 1}}},
		},
	}
	for _, name := range append(names(ids), "x") {
		bodies["/volumes"] = append(bodies["/volumes"],
			wire.CreateVolume{Name: "clone of " + name[:1], Options: map[string]string{"clone-from": name}},
			wire.CreateVolume{Name: "clone of " + name[:1], Options: map[string]string{"clone-from": name, "from-snapshot": word + "-snapshot"}},
			wire.CreateVolume{Name: name, Options: map[string]string{"datastore": "ds2"}})
	}
	for _, row := range append(api.GuestRows(), api.AdminRows()...) {
		targets := []string{strings.NewReplacer("{vmgroup}", word+"-group", "{vm}", owner.VMName, "{datastore}", "ds2", "{snapshot}", word+"-snapshot", "{id}", order,
			"{repository}", word+"-repository", "{point}", word+"-point", "{policy}", word+"-policy", "{job}", word+"-job").Replace(row.Path)}
		if strings.Contains(row.Path, "{name}") {
			whole := targets[0]
			targets = nil
			words := names(ids)
			if strings.Contains(row.Path, "{vmgroup}") { // no endpoint of a guest, whatever the name
				words = words[:2]
			}
			for _, n := range words {
				targets = append(targets, strings.ReplaceAll(whole, "{name}", strings.ReplaceAll(url.PathEscape(n), ".", "%2E")))
			}
		}
		if row.Path == "/freezes/{id}" {
			targets = append(targets, "/freezes/never")
		}
		if row.Method == http.MethodGet && row.Path == "/volumes" {
			targets = append(targets, "/volumes?vmgroup="+word+"-group", "/volumes?state=all", "/volumes?after=x", "/volumes?datastore=ds2&limit=1")
		}
		sent := []string{""}
		if row.In != nil {
			sent = nil
			for _, b := range append(bodies[row.Path], reflect.New(row.In).Interface()) {
				data, err := json.Marshal(b)
				require.NoError(t, err)
				sent = append(sent, string(data))
			}
		}
		for _, target := range targets {
			for _, body := range sent {
				steps = append(steps, step{row.Method, wire.Prefix + target, body})
			}
		}
	}
	return steps
}

// Nothing a VM can ask depends on what a vmgroup has that is not its own.
func TestAnswersDoNotDependOnOthers(t *testing.T) {
	full, empty := newWorld(t), newWorld(t)
	full.secrets()
	for _, w := range []*world{full, empty} {
		w.group("tenants", "", tenant.VMName)
		_, err := w.volumes.Create(t.Context(), tenant, "", wire.CreateVolume{Name: "mine"})
		require.NoError(t, err)
	}
	before := full.inventory()
	steps := script(t, append(full.ids[:1:1], full.hold.Serial), *full.hold, full.order)
	require.Greater(t, len(steps), 200)
	for _, c := range []volspec.Caller{tenant, stray} {
		succeeded := 0
		for _, s := range steps {
			what := fmt.Sprintf("%s: %s %s %s", c.VMName, s.method, s.target, s.body)
			status, got, raw := full.play(c, s.method, s.target, s.body)
			_, want, _ := empty.play(c, s.method, s.target, s.body)
			if !assert.Equal(t, want, got, what) {
				continue
			}
			if status == http.StatusOK {
				succeeded++
			}
			asked, err := url.PathUnescape(s.target)
			require.NoError(t, err)
			asked += s.body
			if !strings.Contains(asked, word) {
				assert.NotContains(t, raw, word, what)
			}
			for _, id := range full.ids {
				if !strings.Contains(asked, id) {
					assert.NotContains(t, raw, id, what)
				}
			}
		}
		assert.Positive(t, succeeded, "some requests of %s are about its own things", c.VMName)
	}
	assert.Equal(t, before, full.inventory(), "the other tenant's things are as they were")
}

// inventory is everything the other tenant has.
func (w *world) inventory() []wire.Volume {
	l, err := w.volumes.List(w.t.Context(), admin, volume.ListFilter{Group: word + "-group", State: "all"})
	require.NoError(w.t, err)
	require.NotEmpty(w.t, l.Volumes)
	return l.Volumes
}

// The control: the same requests by a VM of the group do find its things.
func TestTheOwnGroupSeesItsOwn(t *testing.T) {
	w := newWorld(t)
	w.secrets()
	for _, c := range []volspec.Caller{owner, partner} {
		status, _, raw := w.play(c, "GET", wire.Prefix+"/volumes", "")
		assert.Equal(t, http.StatusOK, status)
		for _, name := range []string{"common", word + "-held", word + "-idle", word + "-away@ds2"} {
			assert.Contains(t, raw, name)
		}
		status, _, raw = w.play(c, "GET", wire.Prefix+"/volumes/"+word+"-held", "")
		assert.Equal(t, http.StatusOK, status)
		assert.Contains(t, raw, `"attached_to":"`+owner.VMName+`"`)
	}
}

// A volume of the same name is another volume.
func TestSameNameIsNotSameVolume(t *testing.T) {
	w := newWorld(t)
	w.secrets()
	w.group("tenants", "", tenant.VMName)
	status, _, raw := w.play(tenant, "POST", wire.Prefix+"/volumes", `{"name":"common"}`)
	require.Equal(t, http.StatusOK, status, raw)
	for _, id := range w.ids {
		assert.NotContains(t, raw, id)
	}
	status, _, _ = w.play(tenant, "DELETE", wire.Prefix+"/volumes/common", "")
	require.Equal(t, http.StatusOK, status)
	status, _, _ = w.play(tenant, "GET", wire.Prefix+"/volumes/common", "")
	assert.Equal(t, http.StatusNotFound, status)
	status, _, _ = w.play(owner, "GET", wire.Prefix+"/volumes/common", "")
	assert.Equal(t, http.StatusOK, status)
}
