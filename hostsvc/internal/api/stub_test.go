package api

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "debug", Format: "json", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// stub stands for all use cases: it records what reached it and answers with
// zero values, or as do says.
type stub struct {
	mu    sync.Mutex
	calls []reached
	do    func(ctx context.Context) error
}

// reached is one call of a use case, by whom and with what.
type reached struct {
	op     string
	caller volspec.Caller
	args   []any
}

func (s *stub) note(ctx context.Context, op string, c volspec.Caller, args ...any) error {
	s.mu.Lock()
	s.calls = append(s.calls, reached{op, c, args})
	do := s.do
	s.mu.Unlock()
	if do == nil {
		return nil
	}
	return do(ctx)
}

// take returns what was recorded, and forgets it.
func (s *stub) take() []reached {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.calls
	s.calls = nil
	return out
}

func (s *stub) answer(do func(ctx context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.do = do
}

type stubVolumes struct{ *stub }

func (s stubVolumes) Get(ctx context.Context, c volspec.Caller, group, name string) (wire.Volume, error) {
	return wire.Volume{Name: name}, s.note(ctx, "volume.Get", c, group, name)
}

func (s stubVolumes) List(ctx context.Context, c volspec.Caller, f volume.ListFilter) (wire.VolumeList, error) {
	return wire.VolumeList{}, s.note(ctx, "volume.List", c, f)
}

func (s stubVolumes) Create(ctx context.Context, c volspec.Caller, group string, r wire.CreateVolume) (wire.Volume, error) {
	return wire.Volume{Name: r.Name}, s.note(ctx, "volume.Create", c, group, r)
}

func (s stubVolumes) Remove(ctx context.Context, c volspec.Caller, group, name string, purge bool) error {
	return s.note(ctx, "volume.Remove", c, group, name, purge)
}

func (s stubVolumes) Set(ctx context.Context, c volspec.Caller, group, name string, r wire.SetVolume) (wire.Volume, error) {
	return wire.Volume{}, s.note(ctx, "volume.Set", c, group, name, r)
}

func (s stubVolumes) Resize(ctx context.Context, c volspec.Caller, group, name string, r wire.Resize) (wire.Volume, error) {
	return wire.Volume{}, s.note(ctx, "volume.Resize", c, group, name, r)
}

func (s stubVolumes) Undelete(ctx context.Context, c volspec.Caller, group, name string, r wire.Undelete) (wire.Volume, error) {
	return wire.Volume{}, s.note(ctx, "volume.Undelete", c, group, name, r)
}

func (s stubVolumes) Attach(ctx context.Context, c volspec.Caller, name string, r wire.Attach) (wire.Attachment, error) {
	return wire.Attachment{}, s.note(ctx, "volume.Attach", c, name, r)
}

func (s stubVolumes) Detach(ctx context.Context, c volspec.Caller, name string, r wire.Detach) error {
	return s.note(ctx, "volume.Detach", c, name, r)
}

func (s stubVolumes) ForceDetach(ctx context.Context, c volspec.Caller, group, name string, r wire.DetachVolume) error {
	return s.note(ctx, "volume.ForceDetach", c, group, name, r)
}

func (s stubVolumes) SetFormat(ctx context.Context, c volspec.Caller, name string, r wire.SetFormat) error {
	return s.note(ctx, "volume.SetFormat", c, name, r)
}

func (s stubVolumes) Heartbeat(ctx context.Context, c volspec.Caller, r wire.Heartbeat) (wire.HeartbeatReply, error) {
	return wire.HeartbeatReply{}, s.note(ctx, "volume.Heartbeat", c, r)
}

func (s stubVolumes) Snapshots(ctx context.Context, c volspec.Caller, group, name string) ([]wire.Snapshot, error) {
	return nil, s.note(ctx, "volume.Snapshots", c, group, name)
}

func (s stubVolumes) CreateSnapshot(ctx context.Context, c volspec.Caller, group, name string, r wire.CreateSnapshot) (wire.Snapshot, error) {
	return wire.Snapshot{}, s.note(ctx, "volume.CreateSnapshot", c, group, name, r)
}

func (s stubVolumes) DeleteSnapshot(ctx context.Context, c volspec.Caller, group, name, snapshot string) error {
	return s.note(ctx, "volume.DeleteSnapshot", c, group, name, snapshot)
}

func (s stubVolumes) VMs(ctx context.Context) ([]wire.VM, error) {
	return nil, s.note(ctx, "volume.VMs", nobody)
}

func (s stubVolumes) Datastores(ctx context.Context) ([]wire.Datastore, error) {
	return []wire.Datastore{{Name: "ds one", State: "online", Capacity: 100, Free: 40, Volumes: 3, Allocated: 70}},
		s.note(ctx, "volume.Datastores", nobody)
}

func (s stubVolumes) Scan(ctx context.Context, c volspec.Caller, datastore string, r wire.Scan) (wire.ScanResult, error) {
	return wire.ScanResult{}, s.note(ctx, "volume.Scan", c, datastore, r)
}

type stubTenants struct{ *stub }

func (s stubTenants) Create(ctx context.Context, c volspec.Caller, r wire.CreateVMGroup) (wire.VMGroup, error) {
	return wire.VMGroup{}, s.note(ctx, "tenancy.Create", c, r)
}

func (s stubTenants) Update(ctx context.Context, c volspec.Caller, name string, r wire.UpdateVMGroup) (wire.VMGroup, error) {
	return wire.VMGroup{}, s.note(ctx, "tenancy.Update", c, name, r)
}

func (s stubTenants) Remove(ctx context.Context, c volspec.Caller, name string, force, removeVolumes bool) error {
	return s.note(ctx, "tenancy.Remove", c, name, force, removeVolumes)
}

func (s stubTenants) List(ctx context.Context) ([]wire.VMGroup, error) {
	return nil, s.note(ctx, "tenancy.List", nobody)
}

func (s stubTenants) Get(ctx context.Context, name string) (wire.VMGroup, error) {
	return wire.VMGroup{Name: name, VMs: []wire.VM{{Name: "m"}}, Access: []wire.Access{{Datastore: "d"}}},
		s.note(ctx, "tenancy.Get", nobody, name)
}

func (s stubTenants) Export(ctx context.Context, name string) (string, error) {
	return "[[vmgroup]]", s.note(ctx, "tenancy.Export", nobody, name)
}

func (s stubTenants) VMs(ctx context.Context, group string) ([]wire.VM, error) {
	return []wire.VM{{Name: "m"}}, s.note(ctx, "tenancy.VMs", nobody, group)
}

func (s stubTenants) AddVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error {
	return s.note(ctx, "tenancy.AddVMs", c, group, vms)
}

func (s stubTenants) ReplaceVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error {
	return s.note(ctx, "tenancy.ReplaceVMs", c, group, vms)
}

func (s stubTenants) RemoveVMs(ctx context.Context, c volspec.Caller, group string, vms []string) error {
	return s.note(ctx, "tenancy.RemoveVMs", c, group, vms)
}

func (s stubTenants) AddAccess(ctx context.Context, c volspec.Caller, group string, r wire.SetAccess) error {
	return s.note(ctx, "tenancy.AddAccess", c, group, r)
}

func (s stubTenants) SetAccess(ctx context.Context, c volspec.Caller, group, datastore string, r wire.SetAccess) error {
	return s.note(ctx, "tenancy.SetAccess", c, group, datastore, r)
}

func (s stubTenants) RemoveAccess(ctx context.Context, c volspec.Caller, group, datastore string) error {
	return s.note(ctx, "tenancy.RemoveAccess", c, group, datastore)
}

func (s stubTenants) Folders(ctx context.Context, group string) ([]wire.Folder, error) {
	return []wire.Folder{{Folder: "/f"}}, s.note(ctx, "tenancy.Folders", nobody, group)
}

func (s stubTenants) AddFolder(ctx context.Context, c volspec.Caller, group, folder string) error {
	return s.note(ctx, "tenancy.AddFolder", c, group, folder)
}

func (s stubTenants) RemoveFolder(ctx context.Context, c volspec.Caller, group, folder string) error {
	return s.note(ctx, "tenancy.RemoveFolder", c, group, folder)
}

type stubFreezes struct{ *stub }

func (s stubFreezes) Next(ctx context.Context, c volspec.Caller, after string, wait time.Duration) (wire.FreezeOrders, error) {
	return wire.FreezeOrders{}, s.note(ctx, "freeze.Next", c, after, wait)
}

func (s stubFreezes) Report(ctx context.Context, c volspec.Caller, id string, r wire.FreezeReport) (wire.FreezeAnswer, error) {
	return wire.FreezeAnswer{}, s.note(ctx, "freeze.Report", c, id, r)
}

type stubEnrolment struct{ *stub }

func (s stubEnrolment) Enroll(ctx context.Context, c volspec.Caller, host string, binding []byte, r wire.Enroll) (wire.Certificate, error) {
	return wire.Certificate{}, s.note(ctx, "enroll.Enroll", c, host, binding, r)
}

func (s stubEnrolment) Renew(ctx context.Context, c volspec.Caller, chain []*x509.Certificate, r wire.Renew) (wire.Certificate, error) {
	return wire.Certificate{}, s.note(ctx, "enroll.Renew", c, chain, r)
}

func (s stubEnrolment) Invite(ctx context.Context, c volspec.Caller, vm string, place bool) (wire.Invitation, error) {
	return wire.Invitation{}, s.note(ctx, "enroll.Invite", c, vm, place)
}

func (s stubEnrolment) Revoke(ctx context.Context, c volspec.Caller, vm string) error {
	return s.note(ctx, "enroll.Revoke", c, vm)
}

func (s stubEnrolment) States(context.Context) (map[volspec.VMID]string, error) {
	return map[volspec.VMID]string{callerA.VM: "revoked"}, nil
}

type stubSystem struct{ *stub }

func (s stubSystem) Status(ctx context.Context) (wire.Status, error) {
	return wire.Status{Ready: true, Counts: map[string]int64{"volumes": 3, "trashed": 1, "new word": 5}},
		s.note(ctx, "system.Status", nobody)
}

func (s stubSystem) Doctor(ctx context.Context) ([]wire.Finding, error) {
	return nil, s.note(ctx, "system.Doctor", nobody)
}

func (s stubSystem) Ready(ctx context.Context) error {
	return s.note(ctx, "system.Ready", nobody)
}

// rig is a server on a few channels, with a client for each.
type rig struct {
	t    *testing.T
	uses *stub
	srv  *Server
}

// nobody is recorded for calls that are not told who asks.
var nobody volspec.Caller

var (
	callerAdmin   = volspec.Caller{Admin: true, Role: volspec.MasterAdmin, Actor: "admin:0"}
	callerA       = volspec.Caller{VM: "aaaaaaaa-0000-4000-8000-000000000001", VMName: "vm a", Actor: "vm:vm a"}
	callerB       = volspec.Caller{VM: "bbbbbbbb-0000-4000-8000-000000000002", VMName: "vmb", Actor: "vm:vmb"}
	callerViewer  = volspec.Caller{Admin: true, Role: volspec.MasterViewer, User: "u1", Actor: "user:viewer", From: "192.0.2.1"}
	callerTenant  = ofX(volspec.TenantAdmin)
	callerVisitor = volspec.Caller{Visitor: true, Actor: "visitor:192.0.2.1", From: "192.0.2.1"}
	callerStray   = volspec.Caller{Stranger: true, Actor: "stranger:192.0.2.1:5"}
	callerUnknown = volspec.Caller{VM: "cccccccc-0000-4000-8000-000000000003", VMName: "stray", Actor: "vm:stray"}
)

// ofX is a user of the tenant x.
func ofX(r volspec.Role) volspec.Caller {
	return volspec.Caller{Role: r, Group: "id-of-x", GroupName: "x", User: "u-" + volspec.UserID(r), Actor: "user:x/" + string(r), From: "192.0.2.1"}
}

func newRig(t *testing.T, change ...func(*Options)) *rig {
	u := &stub{}
	o := Options{
		Allowances: stubAllowances{u}, Transporters: stubTransporters{u},
		Volumes: stubVolumes{u}, Tenants: stubTenants{u}, Bundles: stubBundles{u}, System: stubSystem{u}, Backups: stubBackups{u}, SelfBackup: stubSelfBackup{u}, Audit: stubAudit{u}, Notify: stubNotify{u}, Accounts: stubAccounts{u}, Freezes: stubFreezes{u}, Enrolment: stubEnrolment{u}, Providers: stubProviders{u},
		Overview: stubOverview{u},
		Isolation: func(ctx context.Context, _ volspec.Caller) ([]wire.Finding, error) {
			return nil, u.note(ctx, "isolation.Check", nobody)
		},
		Version: "1.2.3", Capabilities: []string{"snapshots"},
	}
	for _, c := range change {
		c(&o)
	}
	return &rig{t: t, uses: u, srv: New(o)}
}

// as fixes a channel's caller.
func as(c volspec.Caller) Identity {
	return func(context.Context, *http.Request) (volspec.Caller, error) { return c, nil }
}

// channel serves one more socket until the test ends, and returns its path.
func (g *rig) channel(id Identity) string {
	g.t.Helper()
	path, l := listen(g.t)
	ctx, stop := context.WithCancel(g.t.Context())
	done := make(chan error, 1)
	go func() { done <- g.srv.Serve(ctx, l, id) }()
	g.t.Cleanup(func() {
		stop()
		assert.NoError(g.t, <-done)
	})
	return path
}

func listen(t *testing.T) (string, net.Listener) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "api")
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	path := dir + "/s.sock"
	l, err := transport.ListenUnix(t.Context(), path, 0o666, -1, -1)
	require.NoError(t, err)
	return path, l
}

// reply is an answer as bytes.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends one request on a connection of its own. head holds headers as
// "Name: value".
func ask(t *testing.T, socket, method, target, body string, head ...string) reply {
	t.Helper()
	r, err := try(t, socket, method, target, body, head...)
	require.NoError(t, err)
	return r
}

func try(t *testing.T, socket, method, target, body string, head ...string) (reply, error) {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return transport.Dial(ctx, "unix://"+socket)
	}}
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://mooringd"+target, strings.NewReader(body))
	require.NoError(t, err)
	for _, h := range head {
		k, v, _ := strings.Cut(h, ": ")
		req.Header.Set(k, v)
	}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{}, err
	}
	return reply{resp.StatusCode, resp.Header, string(data)}, resp.Body.Close()
}
