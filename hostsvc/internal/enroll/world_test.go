package enroll_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/api"
	"mooring.dev/mooring/hostsvc/internal/audit"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/enroll"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/hostclient"
	"mooring.dev/mooring/pkg/invite"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/transport"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

func TestMain(m *testing.M) {
	if err := log.Setup(log.Options{Level: "error", Format: "json", Output: io.Discard}); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

var admin = volspec.Caller{Admin: true, Actor: "admin:0"}

// world is an installation with two VMs, a and b, each in a vmgroup of its
// name, behind a real TLS door.
type world struct {
	t         *testing.T
	dir       string
	hv        *memory.Memory
	store     enroll.Store
	catalog   *catalog.Catalog
	tenants   *tenancy.Service
	volumes   *volume.Service
	log       *audit.Service
	authority *enroll.Authority
	guests    *enroll.Service
	url       string
	auto      bool

	mu    sync.Mutex
	later time.Duration // how far the service's clock is ahead
}

var vmIDs = map[string]volspec.VMID{"a": "aaaaaaaa-0000-4000-8000-000000000001", "b": "bbbbbbbb-0000-4000-8000-000000000002"}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	o := memory.Options{Datastores: []hypervisor.Datastore{{Name: "ds"}}}
	for name, id := range vmIDs {
		o.VMs = append(o.VMs, hypervisor.VM{ID: id, Name: name, Datastore: "ds"})
	}
	w.hv = memory.New(o)
	var err error
	w.catalog, err = catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(w.dir, "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, w.catalog.Check(context.Background()))
		assert.NoError(t, w.catalog.Close())
	})
	w.store = w.catalog.Enrolment()
	w.tenants = tenancy.New(tenancy.Options{Store: w.catalog.Tenancy(), Machines: w.hv, Datastores: w.hv})
	w.log = audit.New(w.catalog.AuditLog())
	w.volumes = volume.New(volume.Options{
		Store: w.catalog.Volumes(), Hypervisor: w.hv, Check: tenancy.Check, Resolve: tenancy.Resolve, RestoreGroup: w.tenants.RestoreGroup,
		Instance: uuid.NewString(), Installation: "test", TrashKeep: time.Hour, Reconcile: time.Hour,
	})
	require.NoError(t, w.volumes.IdentifyDatastores(t.Context()))
	require.NoError(t, w.volumes.Recover(t.Context()))
	yes := true
	for name := range vmIDs {
		_, err := w.tenants.Create(t.Context(), admin, wire.CreateVMGroup{Name: name, DefaultDatastore: "ds", VMs: []string{name}})
		require.NoError(t, err)
		require.NoError(t, w.tenants.SetAccess(t.Context(), admin, name, "ds", wire.SetAccess{AllowCreate: &yes}))
		_, err = w.volumes.Create(t.Context(), w.caller(vmIDs[name]), "", wire.CreateVolume{Name: "of-" + name})
		require.NoError(t, err)
	}
	w.authority, err = enroll.OpenAuthority(w.dir, "installation-1")
	require.NoError(t, err)
	w.guests = enroll.New(enroll.Options{
		Store: w.store, Machines: w.hv, GuestInfo: w.hv, Authority: w.authority,
		URL: func() string { return w.url }, Auto: func() bool { return w.auto }, Now: w.now,
	})
	w.serve()
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.later)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later += d
}

func (w *world) caller(id volspec.VMID) volspec.Caller {
	vm, err := w.hv.VM(context.Background(), id)
	if err != nil {
		return volspec.Caller{}
	}
	return volspec.Caller{VM: vm.ID, VMName: vm.Name, VMDatastore: vm.Datastore, Actor: "vm:" + vm.Name}
}

type quiet struct{}

func (quiet) Status(context.Context) (wire.Status, error)    { return wire.Status{}, nil }
func (quiet) Doctor(context.Context) ([]wire.Finding, error) { return nil, nil }
func (quiet) Ready(context.Context) error                    { return nil }

func (w *world) serve() {
	srv := api.New(api.Options{Volumes: w.volumes, Tenants: w.tenants, System: quiet{}, Enrolment: w.guests, Version: "test"})
	l, err := transport.ListenTLS(w.t.Context(), "127.0.0.1:0", w.authority.Server)
	require.NoError(w.t, err)
	w.url = "tls://" + l.Addr().String()
	ctx, stop := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() {
		done <- srv.ServeShared(ctx, l, api.CertifiedPeers(func(ctx context.Context, chain []*x509.Certificate, fresh bool) (volspec.Caller, error) {
			vm, err := w.guests.Authorize(ctx, chain, fresh)
			if err != nil {
				return volspec.Caller{}, err
			}
			if c := w.caller(vm); c.VM != "" {
				return c, nil
			}
			return volspec.Caller{}, errkind.New(errkind.Denied, "this VM is not known to mooringd any more")
		}))
	}()
	w.t.Cleanup(func() { stop(); assert.NoError(w.t, <-done) })
}

// invite makes a code for a VM.
func (w *world) invite(vm string) invite.Code {
	w.t.Helper()
	in, err := w.guests.Invite(w.t.Context(), admin, vm, false)
	require.NoError(w.t, err)
	assert.Equal(w.t, vmIDs[vm], in.VM)
	assert.Equal(w.t, w.url, in.URL)
	assert.Equal(w.t, w.authority.Pin().String(), in.CA)
	code, err := invite.Parse(in.Code)
	require.NoError(w.t, err)
	return code
}

// holder is whoever has a key and a certificate.
type holder struct {
	w    *world
	cert *tls.Certificate
	*hostclient.Client
}

func request(t *testing.T) (*ecdsa.PrivateKey, []byte) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	require.NoError(t, err)
	return key, der
}

func (w *world) holder(c wire.Certificate, key *ecdsa.PrivateKey) *holder {
	leaf, err := x509.ParseCertificate(c.Certificate)
	require.NoError(w.t, err)
	return w.with(&tls.Certificate{Certificate: [][]byte{c.Certificate}, PrivateKey: key, Leaf: leaf})
}

func (w *world) with(cert *tls.Certificate) *holder {
	client := hostclient.New(w.url, hostclient.Options{TLS: func() (*tls.Config, error) { return transport.ClientTLS(w.authority.Pin(), cert), nil }})
	w.t.Cleanup(client.Close)
	return &holder{w, cert, client}
}

// copy is another machine with the same key and certificate.
func (h *holder) copy() *holder { return h.w.with(h.cert) }

func (w *world) enrollWith(code invite.Code) (*holder, error) {
	key, der := request(w.t)
	c, err := hostclient.Enroll(w.t.Context(), w.url, w.authority.Pin(), code, der, hostclient.Options{})
	if err != nil {
		return nil, err
	}
	return w.holder(c, key), nil
}

// enrolled is a VM with a certificate.
func (w *world) enrolled(vm string) *holder {
	w.t.Helper()
	h, err := w.enrollWith(w.invite(vm))
	require.NoError(w.t, err)
	return h
}

// renewed asks for a new certificate with the old one.
func (h *holder) renewed() *holder {
	h.w.t.Helper()
	key, der := request(h.w.t)
	c, err := h.Renew(h.w.t.Context(), wire.Renew{Request: der})
	require.NoError(h.w.t, err)
	return h.w.holder(c, key)
}

// sees lists the volumes that the holder can see, as one word.
func (h *holder) sees() string {
	h.w.t.Helper()
	all, err := h.List(h.w.t.Context())
	require.NoError(h.w.t, err)
	var s string
	for _, v := range all {
		s += v.Volume + " "
	}
	return s
}

// refused checks that the holder is told no, with these words.
func (h *holder) refused(words string) {
	h.w.t.Helper()
	_, err := h.List(h.w.t.Context())
	require.ErrorContains(h.w.t, err, words)
	assert.Equal(h.w.t, errkind.Denied, errkind.Of(err))
}

func (w *world) state(vm string) string {
	w.t.Helper()
	states, err := w.guests.States(w.t.Context())
	require.NoError(w.t, err)
	return states[vmIDs[vm]]
}

// audited counts the lines of an action in the audit log.
func (w *world) audited(action string) (n int) {
	w.t.Helper()
	page, err := w.log.Page(w.t.Context(), "", audit.Query{Limit: 1000})
	require.NoError(w.t, err)
	for _, l := range page.Entries {
		if l.Action == action {
			n++
		}
	}
	return n
}
