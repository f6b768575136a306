package tenancy_test

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/catalog"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

var root = volspec.Caller{Admin: true, Actor: "admin:0"}

// world is a service over a real catalog, with a hypervisor of a few fields.
type world struct {
	*tenancy.Service
	t      *testing.T
	cat    *catalog.Catalog
	vms    []hypervisor.VM
	stores []string
	tree   []volspec.Folder // below allVMs
	away   error            // of the hypervisor
	remove func(context.Context, volspec.Caller, volspec.VMGroupID) error

	canceled, detached []string // vmgroups
	detach             error    // of the next repository
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := catalog.Open(t.Context(), catalog.Options{Driver: catalog.SQLite, Path: filepath.Join(t.TempDir(), "catalog.db")})
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, c.Check(context.Background()))
		require.NoError(t, c.Close())
	})
	w := &world{t: t, cat: c, stores: []string{"datastore1", "datastore3", "Mixed"}}
	w.tree = []volspec.Folder{"/DC0/vm/tenants", "/DC0/vm/tenants/acme", "/DC0/vm/tenants/acme/web", "/DC0/vm/tenants/globex", "/DC0/vm/acme"}
	w.remove = w.purge
	for _, name := range []string{"Photon1", "Photon2", "Photon3", "Photon4", "Photon5", "Photon6"} {
		w.vms = append(w.vms, hypervisor.VM{ID: volspec.VMID("id-" + name), Name: name, Datastore: "datastore1", Power: hypervisor.On})
	}
	w.Service = w.over(c.Tenancy())
	return w
}

func (w *world) over(s tenancy.Store) *tenancy.Service {
	return tenancy.New(tenancy.Options{
		Store: s, Machines: w, Datastores: w, Folders: w,
		RemoveVolumes: func(ctx context.Context, c volspec.Caller, g volspec.VMGroupID) error { return w.remove(ctx, c, g) },
		Grace:         grace, NewUser: w.newUser,
		CancelJobs: func(_ context.Context, _ volspec.Caller, g volspec.VMGroup) error {
			w.canceled = append(w.canceled, g.Name)
			return nil
		},
		DetachRepositories: w.detachAll,
	})
}

func (w *world) VMs(context.Context) ([]hypervisor.VM, error) { return w.vms, w.away }

func (w *world) Datastores(context.Context) (all []hypervisor.Datastore, err error) {
	for _, name := range w.stores {
		all = append(all, hypervisor.Datastore{Name: name, State: hypervisor.Online})
	}
	return all, w.away
}

const allVMs volspec.Folder = "/DC0/vm"

func (w *world) FindFolder(_ context.Context, f volspec.Folder) (volspec.Folder, error) {
	if !f.IsAbs() {
		f = allVMs + "/" + f
	}
	for _, have := range w.tree {
		if have == f {
			return f, w.away
		}
	}
	return "", cmp.Or(w.away, error(errkind.New(errkind.NotFound, "no folder %s", f)))
}

// place puts a VM into a folder, "" into none.
func (w *world) place(name string, f volspec.Folder) {
	for i, vm := range w.vms {
		if vm.Name == name {
			w.vms[i].Folder = f
		}
	}
}

// purge deletes a group's volumes, as the volume service does.
func (w *world) purge(ctx context.Context, _ volspec.Caller, g volspec.VMGroupID) error {
	return w.cat.Volumes().Update(ctx, func(tx volume.Tx) error {
		all, err := tx.Volumes(volume.Filter{Group: g})
		for _, r := range all {
			if err == nil {
				err = tx.DeleteVolume(r.ID)
			}
		}
		return err
	})
}

func (w *world) group(name string, vms ...string) {
	w.t.Helper()
	_, err := w.Create(w.t.Context(), root, wire.CreateVMGroup{Name: name, VMs: vms})
	require.NoError(w.t, err)
}

func (w *world) get(name string) wire.VMGroup {
	w.t.Helper()
	g, err := w.Get(w.t.Context(), name)
	require.NoError(w.t, err)
	return g
}

// volume puts a volume into a group; holder is the VM that has it, or "".
func (w *world) volume(group, name, holder string, state volspec.State) volspec.VolumeID {
	w.t.Helper()
	id := volspec.VolumeID(group + "/" + name)
	require.NoError(w.t, w.cat.Volumes().Update(w.t.Context(), func(tx volume.Tx) error {
		g, err := tx.GroupByName(group)
		if err != nil {
			return err
		}
		r := volume.Record{ID: id, Key: volume.Key{Group: g.ID, Datastore: "datastore1", Name: name}, State: state, Size: gib}
		if holder != "" {
			r.Holder.VM = volspec.VMID("id-" + holder)
		}
		return tx.PutVolume(r)
	}))
	return id
}

func (w *world) drop(id volspec.VolumeID) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Volumes().Update(w.t.Context(), func(tx volume.Tx) error { return tx.DeleteVolume(id) }))
}

// refused asserts a refusal's kind and how its text begins.
func refused(t *testing.T, err error, kind errkind.Kind, text string) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, kind, errkind.Of(err), "%v", err)
	got := errkind.Text(err)
	require.GreaterOrEqual(t, len(got), len(text), got)
	assert.Equal(t, text, got[:len(text)])
}

func (w *world) members(name string) (names []string) {
	w.t.Helper()
	for _, vm := range w.get(name).VMs {
		names = append(names, vm.Name)
	}
	return names
}

func (w *world) audit() (lines []volspec.Audit) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Volumes().View(w.t.Context(), func(tx volume.Tx) (err error) {
		lines, err = tx.Audit("", 0)
		return err
	}))
	return lines
}

func p[T any](v T) *T { return &v }

const grace = 7 * 24 * time.Hour

// newUser stands for the accounts: a user is a setting.
func (w *world) newUser(_ context.Context, _ volspec.Caller, g volspec.VMGroup, r wire.CreateUser) (func(tenancy.Tx) (wire.User, error), error) {
	if r.Name == "weak" {
		return nil, errkind.New(errkind.Invalid, "the password is too short")
	}
	return func(tx tenancy.Tx) (wire.User, error) {
		if r.Name == "taken" {
			return wire.User{}, errkind.New(errkind.Exists, "User taken already exists")
		}
		return wire.User{Name: r.Name, Tenant: g.Name, Role: r.Role}, tx.PutSetting("user "+r.Name, g.Name)
	}, nil
}

// repository gives a group one that holds some bytes.
func (w *world) repository(group, name string, stored int64) {
	w.t.Helper()
	require.NoError(w.t, w.cat.Backup().Update(w.t.Context(), func(tx backup.Tx) error {
		g, err := tx.GroupByName(group)
		if err != nil {
			return err
		}
		id := volspec.RepositoryID(group + "/" + name)
		if err := tx.PutRepository(backup.Repo{ID: id, Group: g.ID, Name: name, Place: string(id), Stored: stored}); err != nil {
			return err
		}
		return tx.PutSealed(id, "sealed")
	}))
}

// detachAll forgets a group's repositories, as the backup service does.
func (w *world) detachAll(ctx context.Context, _ volspec.Caller, g volspec.VMGroup) error {
	w.detached = append(w.detached, g.Name)
	return w.cat.Backup().Update(ctx, func(tx backup.Tx) error {
		all, err := tx.Repositories(g.ID)
		for _, r := range all {
			if err == nil {
				err = errors.Join(w.detach, tx.DeleteRepository(r.ID))
			}
		}
		return err
	})
}
