package tenancy_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/backup"
	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// placed are hosts of VMs.
type placed map[volspec.VMID]hypervisor.Host

func (p placed) VMHosts(context.Context) (map[volspec.VMID]hypervisor.Host, error) { return p, nil }

// unknown hosts.
type unknown struct{}

func (unknown) VMHosts(context.Context) (map[volspec.VMID]hypervisor.Host, error) {
	return nil, errkind.New(errkind.Unavailable, "vCenter is away")
}

// protected lets Dev have a recovery point of each VM and 100 bytes stored.
func (w *world) protected(vms ...volspec.VMID) volspec.VMGroup {
	_, err := w.Create(w.t.Context(), root, wire.CreateVMGroup{Name: "Dev"})
	require.NoError(w.t, err)
	_, err = w.Create(w.t.Context(), root, wire.CreateVMGroup{Name: "Test"})
	require.NoError(w.t, err)
	var g volspec.VMGroup
	require.NoError(w.t, w.cat.Backup().Update(w.t.Context(), func(tx backup.Tx) (err error) {
		g, err = tx.GroupByName("Dev")
		require.NoError(w.t, err)
		require.NoError(w.t, tx.PutRepository(backup.Repo{ID: "r", Group: g.ID, Name: "r", Place: "p", Stored: 100}))
		require.NoError(w.t, tx.PutSealed("r", "sealed"))
		for _, vm := range vms {
			require.NoError(w.t, tx.PutPoint(backup.Point{ID: volspec.PointID("p" + vm), Group: g.ID, Repository: "r", VMID: vm, VolumeID: volspec.VolumeID("d" + vm)}))
		}
		return nil
	}))
	return g
}

func n(v int64) *int64 { return &v }

func TestAllowanceIsChangedOnTheFly(t *testing.T) {
	w := newWorld(t)
	w.protected("a", "b")
	s := w.Service
	free, err := s.Allowance(t.Context(), "Dev")
	require.NoError(t, err)
	assert.Equal(t, wire.Allowance{VMs: wire.Share{Used: 2, Effective: 2}, Storage: wire.Share{Used: 100, Effective: 100}}, free, "nothing is bounded")

	less, err := s.SetAllowance(t.Context(), root, "Dev", wire.Amounts{VMs: n(1), Storage: n(50)})
	require.NoError(t, err, "less than is used is accepted")
	assert.Equal(t, wire.Share{Used: 2, Bounded: true, Desired: 1, Effective: 2}, less.VMs)
	assert.Equal(t, wire.Share{Used: 100, Bounded: true, Desired: 50, Effective: 100}, less.Storage)

	_, err = s.SetPool(t.Context(), root, wire.Amounts{VMs: n(1)})
	assert.Equal(t, errkind.Quota, errkind.Of(err))
	assert.Equal(t, "a pool of 1 protected VMs is too small: 2 are delegated, to Dev (2); take some of them back with `mooring vmgroup allowance set --name=NAME --vms=…`, or choose a larger pool", errkind.Text(err))
	pool, err := s.SetPool(t.Context(), root, wire.Amounts{VMs: n(5), Volumes: n(3)})
	require.NoError(t, err)
	assert.Equal(t, wire.Pool{
		VMs: wire.PoolShare{Bounded: true, Size: 5, Delegated: 2, Used: 2}, Volumes: wire.PoolShare{Bounded: true, Size: 3},
		Storage: wire.PoolShare{Delegated: 100, Used: 100},
	}, pool)
	none, err := s.Allowance(t.Context(), "Test")
	require.NoError(t, err)
	assert.Equal(t, wire.Share{Bounded: true}, none.VMs, "of a bounded pool nothing was delegated")
	assert.Equal(t, wire.Share{}, none.Storage)

	_, err = s.SetAllowance(t.Context(), root, "Test", wire.Amounts{VMs: n(4)})
	assert.Equal(t, "vmgroup Test cannot have 4 protected VMs: the pool has 5, of which 2 are delegated to other vmgroups and 3 are left; take them from another vmgroup, or raise the pool with `mooring allowance pool set --vms=…`", errkind.Text(err))
	_, err = s.SetAllowance(t.Context(), root, "Test", wire.Amounts{VMs: n(3)})
	require.NoError(t, err)
	for name, req := range map[string]wire.Amounts{"negative": {Volumes: n(-1)}, "too much": {VMs: n(3)}} {
		_, err := s.SetAllowance(t.Context(), root, "Dev", req)
		assert.Error(t, err, name)
	}
	same, err := s.Allowance(t.Context(), "Dev")
	require.NoError(t, err)
	assert.Equal(t, less.VMs, same.VMs, "what was refused changed nothing")
	_, err = s.SetAllowance(t.Context(), root, "Nobody", wire.Amounts{})
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
}

func TestAdmission(t *testing.T) {
	one, two := hypervisor.Host{ID: "h1", Name: "esx1", Sockets: 2}, hypervisor.Host{ID: "h2", Name: "esx2", Sockets: 4}
	hosts := placed{"a": one, "b": one, "c": two}
	for name, c := range map[string]struct {
		allowed wire.Amounts
		hosts   tenancy.Hosts
		who     tenancy.Newcomer
		want    string // beginning of the refusal
	}{
		"nothing is bounded":         {wire.Amounts{Storage: n(1)}, unknown{}, tenancy.Newcomer{Name: "c", VM: "c"}, ""},
		"protected already":          {wire.Amounts{VMs: n(1), Sockets: n(1)}, hosts, tenancy.Newcomer{Name: "a", VM: "a"}, ""},
		"one more VM":                {wire.Amounts{VMs: n(2)}, hosts, tenancy.Newcomer{Name: "b", VM: "b"}, ""},
		"one too many":               {wire.Amounts{VMs: n(1)}, hosts, tenancy.Newcomer{Name: "b", VM: "b"}, "VM b cannot be protected: vmgroup Dev uses 1 of the 1 protected VMs that were delegated to it; "},
		"less than is used":          {wire.Amounts{VMs: n(0)}, hosts, tenancy.Newcomer{Name: "b", VM: "b"}, "VM b cannot be protected: vmgroup Dev uses 1 of the 0 protected VMs"},
		"on the same host":           {wire.Amounts{Sockets: n(2)}, hosts, tenancy.Newcomer{Name: "b", VM: "b"}, ""},
		"on another host":            {wire.Amounts{Sockets: n(5)}, hosts, tenancy.Newcomer{Name: "c", VM: "c"}, "VM c cannot be protected: it runs on host esx2 with 4 sockets, vmgroup Dev uses 2 of the 5 sockets that were delegated to it; "},
		"on another, with room":      {wire.Amounts{Sockets: n(6)}, hosts, tenancy.Newcomer{Name: "c", VM: "c"}, ""},
		"hosts are not known":        {wire.Amounts{Sockets: n(6)}, unknown{}, tenancy.Newcomer{Name: "c", VM: "c"}, "the sockets of the hosts of the VMs are not known: "},
		"a hypervisor without hosts": {wire.Amounts{Sockets: n(0)}, nil, tenancy.Newcomer{Name: "c", VM: "c"}, ""},
		"volumes count apart":        {wire.Amounts{VMs: n(0), Volumes: n(1)}, hosts, tenancy.Newcomer{Name: "v", Volume: "v"}, ""},
		"no volume":                  {wire.Amounts{Volumes: n(0)}, hosts, tenancy.Newcomer{Name: "v", Volume: "v"}, "volume v cannot be protected: vmgroup Dev uses 0 of the 0 protected volumes"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			g := w.protected("a")
			_, err := w.SetAllowance(t.Context(), root, "Dev", c.allowed)
			require.NoError(t, err)
			s := tenancy.New(tenancy.Options{Store: w.cat.Tenancy(), Hosts: c.hosts})
			admit := s.Admission(t.Context())
			err = w.cat.Tenancy().View(t.Context(), func(tx tenancy.Tx) error { return admit(tx, g, c.who) })
			if c.want == "" {
				assert.NoError(t, err)
				return
			}
			require.Error(t, err)
			assert.Contains(t, errkind.Text(err), c.want)
		})
	}
}

// Together newcomers may be too many, though each alone is not.
func TestAdmissionOfSeveral(t *testing.T) {
	w := newWorld(t)
	g := w.protected("a")
	_, err := w.SetAllowance(t.Context(), root, "Dev", wire.Amounts{VMs: n(2)})
	require.NoError(t, err)
	admit := w.Admission(t.Context())
	ask := func(all ...tenancy.Newcomer) error {
		return w.cat.Tenancy().View(t.Context(), func(tx tenancy.Tx) error { return admit(tx, g, all...) })
	}
	assert.NoError(t, ask(tenancy.Newcomer{Name: "b", VM: "b"}, tenancy.Newcomer{Name: "a", VM: "a"}, tenancy.Newcomer{Name: "b", VM: "b"}))
	assert.Equal(t, errkind.Quota, errkind.Of(ask(tenancy.Newcomer{Name: "b", VM: "b"}, tenancy.Newcomer{Name: "c", VM: "c"})))
}

// The backup limit is the storage of the allowance: one number, whoever sets it.
func TestStorageIsTheBackupLimit(t *testing.T) {
	w := newWorld(t)
	g := w.protected()
	_, err := w.SetAllowance(t.Context(), root, "Dev", wire.Amounts{VMs: n(7)})
	require.NoError(t, err)
	set := func(limit int64) error {
		return w.cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error { return w.SetStorage(t.Context(), tx, g, limit) })
	}
	require.NoError(t, set(200))
	a, err := w.Allowance(t.Context(), "Dev")
	require.NoError(t, err)
	assert.EqualValues(t, 200, a.Storage.Desired)
	assert.EqualValues(t, 7, a.VMs.Desired, "the rest stays")
	_, err = w.SetPool(t.Context(), root, wire.Amounts{Storage: n(300), VMs: n(7)})
	require.NoError(t, err)
	assert.Equal(t, errkind.Quota, errkind.Of(set(301)))
	require.NoError(t, set(volspec.Unbounded))
	a, err = w.Allowance(t.Context(), "Dev")
	require.NoError(t, err)
	assert.Equal(t, wire.Share{Used: 100, Bounded: true, Effective: 100}, a.Storage, "no bound, of a bounded pool, is nothing")

	require.NoError(t, w.cat.Tenancy().Update(t.Context(), func(tx tenancy.Tx) error { g.Source = "/etc/m.toml"; return tx.PutGroup(g) }))
	_, err = w.SetAllowance(t.Context(), root, "Dev", wire.Amounts{VMs: n(6), Storage: n(1)})
	assert.Equal(t, "vmgroup Dev is declared in /etc/m.toml: set backup_totalsize there and reload", errkind.Text(err))
	_, err = w.SetAllowance(t.Context(), root, "Dev", wire.Amounts{VMs: n(6)})
	assert.NoError(t, err, "what no file says can be set")
}
