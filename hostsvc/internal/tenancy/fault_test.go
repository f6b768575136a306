package tenancy_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// faults is a store whose call number at fails.
type faults struct {
	tenancy.Store
	at, calls int
}

var errFault = errkind.New(errkind.Unavailable, "the catalog went away")

func (f *faults) Update(ctx context.Context, fn func(tenancy.Tx) error) error {
	return f.Store.Update(ctx, func(tx tenancy.Tx) error { return fn(faultTx{tx, f}) })
}

func (f *faults) View(ctx context.Context, fn func(tenancy.Tx) error) error {
	return f.Store.View(ctx, func(tx tenancy.Tx) error { return fn(faultTx{tx, f}) })
}

func (f *faults) step() error {
	if f.calls++; f.calls == f.at {
		return errFault
	}
	return nil
}

type faultTx struct {
	tenancy.Tx
	f *faults
}

func read[T any](f *faults, fn func() (T, error)) (v T, err error) {
	if err := f.step(); err != nil {
		return v, err
	}
	return fn()
}

func write(f *faults, fn func() error) error {
	if err := f.step(); err != nil {
		return err
	}
	return fn()
}

func (t faultTx) Groups() ([]volspec.VMGroup, error) { return read(t.f, t.Tx.Groups) }
func (t faultTx) GroupByName(name string) (volspec.VMGroup, error) {
	return read(t.f, func() (volspec.VMGroup, error) { return t.Tx.GroupByName(name) })
}
func (t faultTx) PutGroup(g volspec.VMGroup) error {
	return write(t.f, func() error { return t.Tx.PutGroup(g) })
}
func (t faultTx) DeleteGroup(id volspec.VMGroupID) error {
	return write(t.f, func() error { return t.Tx.DeleteGroup(id) })
}
func (t faultTx) Members(g volspec.VMGroupID) ([]volspec.Member, error) {
	return read(t.f, func() ([]volspec.Member, error) { return t.Tx.Members(g) })
}
func (t faultTx) Member(vm volspec.VMID) (volspec.Member, error) {
	return read(t.f, func() (volspec.Member, error) { return t.Tx.Member(vm) })
}
func (t faultTx) PutMember(m volspec.Member) error {
	return write(t.f, func() error { return t.Tx.PutMember(m) })
}
func (t faultTx) DeleteMember(vm volspec.VMID) error {
	return write(t.f, func() error { return t.Tx.DeleteMember(vm) })
}
func (t faultTx) AccessRows(g volspec.VMGroupID) ([]volspec.Access, error) {
	return read(t.f, func() ([]volspec.Access, error) { return t.Tx.AccessRows(g) })
}
func (t faultTx) PutAccess(a volspec.Access) error {
	return write(t.f, func() error { return t.Tx.PutAccess(a) })
}
func (t faultTx) DeleteAccess(g volspec.VMGroupID, ds string) error {
	return write(t.f, func() error { return t.Tx.DeleteAccess(g, ds) })
}
func (t faultTx) Folders(g volspec.VMGroupID) ([]volspec.FolderGrant, error) {
	return read(t.f, func() ([]volspec.FolderGrant, error) { return t.Tx.Folders(g) })
}
func (t faultTx) PutFolder(f volspec.FolderGrant) error {
	return write(t.f, func() error { return t.Tx.PutFolder(f) })
}
func (t faultTx) DeleteFolder(g volspec.VMGroupID, f volspec.Folder) error {
	return write(t.f, func() error { return t.Tx.DeleteFolder(g, f) })
}
func (t faultTx) VolumeStates(g volspec.VMGroupID) (map[volspec.State]int, error) {
	return read(t.f, func() (map[volspec.State]int, error) { return t.Tx.VolumeStates(g) })
}
func (t faultTx) StaleMeta(g volspec.VMGroupID) error {
	return write(t.f, func() error { return t.Tx.StaleMeta(g) })
}
func (t faultTx) HeldBy(vm volspec.VMID) (int, error) {
	return read(t.f, func() (int, error) { return t.Tx.HeldBy(vm) })
}
func (t faultTx) Setting(key string) (string, error) {
	return read(t.f, func() (string, error) { return t.Tx.Setting(key) })
}
func (t faultTx) PutSetting(key, value string) error {
	return write(t.f, func() error { return t.Tx.PutSetting(key, value) })
}
func (t faultTx) Details(g volspec.VMGroupID) (tenancy.Details, error) {
	return read(t.f, func() (tenancy.Details, error) { return t.Tx.Details(g) })
}
func (t faultTx) PutDetails(g volspec.VMGroupID, d tenancy.Details) error {
	return write(t.f, func() error { return t.Tx.PutDetails(g, d) })
}
func (t faultTx) Bound(g volspec.VMGroupID) ([]string, error) {
	return read(t.f, func() ([]string, error) { return t.Tx.Bound(g) })
}
func (t faultTx) TransporterNames() ([]string, error) { return read(t.f, t.Tx.TransporterNames) }
func (t faultTx) Bind(g volspec.VMGroupID, names []string) error {
	return write(t.f, func() error { return t.Tx.Bind(g, names) })
}
func (t faultTx) Pool() (volspec.Amounts, error) { return read(t.f, t.Tx.Pool) }
func (t faultTx) PutPool(a volspec.Amounts) error {
	return write(t.f, func() error { return t.Tx.PutPool(a) })
}
func (t faultTx) PutAllowance(g volspec.VMGroupID, a volspec.Amounts) error {
	return write(t.f, func() error { return t.Tx.PutAllowance(g, a) })
}
func (t faultTx) AddAudit(a volspec.Audit) error {
	return write(t.f, func() error { return t.Tx.AddAudit(a) })
}

// Whichever call of the catalog fails: the vmgroups are as they were, the
// error has a kind, and the same verb works afterwards.
func TestFailingCatalog(t *testing.T) {
	for name, verb := range map[string]func(context.Context, *tenancy.Service) error{
		"create": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.Create(ctx, root, wire.CreateVMGroup{Name: "new", DefaultDatastore: "datastore1", VMs: []string{"Photon3", "Photon4"}})
			return err
		},
		"tenant create": func(ctx context.Context, s *tenancy.Service) error {
			req := acme
			req.VMs, req.Transporters = []string{"Photon3"}, []string{wire.BuiltInTransporter}
			req.Allowance = &wire.Amounts{VMs: p(int64(3))}
			_, err := s.CreateTenant(ctx, root, req)
			return err
		},
		"tenant update": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.UpdateTenant(ctx, root, "g", wire.UpdateTenant{GuestAccess: p(true), State: p(wire.TenantDisabled)})
			return err
		},
		"tenant delete": func(ctx context.Context, s *tenancy.Service) error {
			return s.DeleteTenant(ctx, root, "g", false, false)
		},
		"allowance": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.SetAllowance(ctx, root, "g", wire.Amounts{VMs: p(int64(3))})
			return err
		},
		"pool": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.SetPool(ctx, root, wire.Amounts{VMs: p(int64(9))})
			return err
		},
		"update": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.Update(ctx, root, "g", wire.UpdateVMGroup{NewName: p("h"), DefaultDatastore: p("datastore1"), Description: p("d")})
			return err
		},
		"rm": func(ctx context.Context, s *tenancy.Service) error { return s.Remove(ctx, root, "g", true, true) },
		"vm add": func(ctx context.Context, s *tenancy.Service) error {
			return s.AddVMs(ctx, root, "g", []string{"Photon3", "Photon4"})
		},
		"vm rm": func(ctx context.Context, s *tenancy.Service) error {
			return s.RemoveVMs(ctx, root, "g", []string{"Photon1", "Photon2"})
		},
		"vm replace": func(ctx context.Context, s *tenancy.Service) error {
			return s.ReplaceVMs(ctx, root, "g", []string{"Photon2", "Photon3"})
		},
		"access add": func(ctx context.Context, s *tenancy.Service) error {
			return s.AddAccess(ctx, root, "g", wire.SetAccess{Datastore: "datastore1", DefaultDatastore: true})
		},
		"access set": func(ctx context.Context, s *tenancy.Service) error {
			return s.SetAccess(ctx, root, "g", "datastore3", wire.SetAccess{MaxSize: p(gib), DefaultDatastore: true})
		},
		"access rm": func(ctx context.Context, s *tenancy.Service) error {
			return s.RemoveAccess(ctx, root, "g", "datastore3")
		},
		"folder add": func(ctx context.Context, s *tenancy.Service) error {
			return s.AddFolder(ctx, root, "g", "tenants/acme/web")
		},
		"folder rm": func(ctx context.Context, s *tenancy.Service) error {
			return s.RemoveFolder(ctx, root, "g", "tenants/acme")
		},
		"apply": func(ctx context.Context, s *tenancy.Service) error {
			return s.Apply(ctx, file, []tenancy.Declared{{
				Name: "g", VMs: []string{"Photon2", "Photon3"}, DefaultDatastore: "datastore1",
				Allowance: &volspec.Amounts{Sockets: 1, VMs: 2, Volumes: 3}, Transporters: []string{},
			}, {Name: "new", VMs: []string{"Photon4"}, Folders: []string{"tenants/acme"}}})
		},
		"default": func(ctx context.Context, s *tenancy.Service) error { return s.EnsureDefault(ctx, true) },
		"restore": func(ctx context.Context, s *tenancy.Service) error {
			_, err := s.RestoreGroup(ctx, "id", "lost")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.group("g", "Photon1", "Photon2")
			require.NoError(t, w.AddAccess(t.Context(), root, "g", wire.SetAccess{Datastore: "datastore3"}))
			require.NoError(t, w.AddFolder(t.Context(), root, "g", "tenants/acme"))
			before := w.all()
			for at := 1; ; at++ {
				require.Less(t, at, 100)
				f := &faults{Store: w.cat.Tenancy(), at: at}
				err := verb(t.Context(), w.over(f))
				if f.calls < at {
					require.NoError(t, err)
					assert.NotEqual(t, before, w.all(), "the verb does something")
					assert.Greater(t, at, 2)
					return
				}
				require.Equal(t, errkind.Unavailable, errkind.Of(err), "call %d: %v", at, err)
				require.Equal(t, before, w.all(), "call %d", at)
			}
		})
	}
}

// all is what can be seen of vmgroups and of the pool.
func (w *world) all() []any {
	w.t.Helper()
	groups, err := w.List(w.t.Context())
	require.NoError(w.t, err)
	tenants, err := w.Tenants(w.t.Context(), tenancy.TenantQuery{})
	require.NoError(w.t, err)
	pool, err := w.Pool(w.t.Context())
	require.NoError(w.t, err)
	return []any{groups, tenants, pool}
}
