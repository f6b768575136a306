package memory_test

import (
	"context"
	"path"
	"strconv"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/faulty"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/hypervisortest"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type guest struct{ *memory.Memory }

func (g guest) Write(dev hypervisor.Device, off int64, data []byte) error {
	return g.Memory.Write(dev.VM, dev.Serial, off, data)
}

func (g guest) Read(dev hypervisor.Device, off int64, n int) ([]byte, error) {
	return g.Memory.Read(dev.VM, dev.Serial, off, n)
}

func (g guest) Size(dev hypervisor.Device) (volspec.Size, error) {
	d, err := g.Stat(context.Background(), dev.Ref)
	return d.Size, err
}

func (g guest) Mount(_ *testing.T, dev hypervisor.Device) func() {
	g.SetBusy(dev.Ref, true)
	return func() { g.SetBusy(dev.Ref, false) }
}

// machines are whole VMs of a memory.
type machines struct{ *memory.Memory }

func (m machines) Add(_ *testing.T, name string) volspec.VMID {
	v := hypervisor.VM{ID: volspec.VMID(uuid.NewString()), Name: name, Datastore: "one"}
	m.AddVM(v)
	for i, why := range []string{"", "it is independent: make it dependent", ""} {
		m.AddMachineDisk(v.ID, hypervisor.MachineDisk{
			Key: strconv.Itoa(2000 + i), Label: "Hard disk " + strconv.Itoa(i+1), Size: 16 * volspec.MiB, Datastore: "one", Refusal: why,
		})
	}
	return v.ID
}

func (m machines) Write(_ *testing.T, vm volspec.VMID, key string, off int64, data []byte) {
	m.WriteMachineDisk(vm, key, off, data)
}

func (m machines) Read(_ *testing.T, vm volspec.VMID, key string, off int64, n int) []byte {
	return m.ReadMachineDisk(vm, key, off, n)
}

func (m machines) LoseTrack(_ *testing.T, vm volspec.VMID, key string) {
	m.Memory.LoseTrack(vm, key, false)
}

func (m machines) Foreign(_ *testing.T, vm volspec.VMID, name string) { m.SetForeignSnapshot(vm, name) }

// tree changes the folders of a memory.
type tree struct{ *memory.Memory }

func (m tree) Make(t *testing.T, f volspec.Folder) {
	m.MakeFolder(f)
	t.Cleanup(func() { m.MoveFolder(f, "") })
}

func (m tree) Move(_ *testing.T, f, into volspec.Folder) {
	m.MoveFolder(f, volspec.Folder(path.Join(string(into), path.Base(string(f)))))
}

func (m tree) Rename(_ *testing.T, f volspec.Folder, name string) {
	m.MoveFolder(f, volspec.Folder(path.Join(path.Dir(string(f)), name)))
}

func (m tree) MoveVM(_ *testing.T, vm volspec.VMID, into volspec.Folder) { m.Memory.MoveVM(vm, into) }

func fixture(reflink bool) func(*testing.T) hypervisortest.Fixture {
	return func(*testing.T) hypervisortest.Fixture {
		store := func(name string) hypervisor.Datastore {
			return hypervisor.Datastore{Name: name, Capacity: volspec.GiB, Reflink: reflink}
		}
		var vms [2]hypervisor.VM
		for i, name := range []string{"vm-b", "vm-a"} {
			vms[i] = hypervisor.VM{ID: volspec.VMID(uuid.NewString()), Name: name, Datastore: "one", Folder: memory.AllVMs}
		}
		m := memory.New(memory.Options{
			Datastores: []hypervisor.Datastore{store("two"), store("one")},
			VMs:        vms[:],
			Moments:    reflink,
		})
		return hypervisortest.Fixture{
			Hypervisor: m, Datastore: "one", Other: "two", VMs: vms, Guest: guest{m},
			Machines: machines{m}, Tree: tree{m},
			Reopen:  func(*testing.T) hypervisor.Hypervisor { return m },
			Corrupt: func(_ *testing.T, r hypervisor.Ref) { m.Corrupt(r) },
			SetPower: func(_ *testing.T, vm volspec.VMID, on bool) {
				m.SetPower(vm, map[bool]hypervisor.Power{true: hypervisor.On, false: hypervisor.Off}[on])
			},
			SetState: func(_ *testing.T, name string, s hypervisor.DatastoreState) {
				d := store(name)
				d.State, d.ID = s, "memory-"+name
				if s != hypervisor.Online {
					d.Detail = "so says the test"
				}
				m.SetDatastore(d)
			},
		}
	}
}

func TestContract(t *testing.T)        { hypervisortest.Run(t, fixture(false)) }
func TestContractReflink(t *testing.T) { hypervisortest.Run(t, fixture(true)) }

// A decorator keeps the contract too.
func TestContractDecorated(t *testing.T) {
	hypervisortest.Run(t, func(t *testing.T) hypervisortest.Fixture {
		f := fixture(true)(t)
		inner := f.Hypervisor
		f.Hypervisor = faulty.New(inner, faulty.Plan{})
		f.Reopen = func(*testing.T) hypervisor.Hypervisor { return faulty.New(inner, faulty.Plan{}) }
		return f
	})
}

func TestUnknownPowerReleasesNothing(t *testing.T) {
	f := fixture(false)(t)
	m := f.Hypervisor.(*memory.Memory)
	r := hypervisor.Ref{Datastore: "one", Group: "g", Volume: "v"}
	require.NoError(t, m.Create(t.Context(), r, volspec.MiB, volspec.Thin))
	_, err := m.Attach(t.Context(), f.VMs[0].ID, r, false)
	require.NoError(t, err)
	m.SetBusy(r, true)
	m.SetPower(f.VMs[0].ID, hypervisor.Unknown)
	assert.Equal(t, errkind.InUse, errkind.Of(m.Detach(t.Context(), f.VMs[0].ID, r)))
	m.SetPower(f.VMs[0].ID, hypervisor.On)
	assert.Equal(t, errkind.InUse, errkind.Of(m.Detach(t.Context(), f.VMs[0].ID, r)))
	m.Reboot(f.VMs[0].ID)
	require.NoError(t, m.Detach(t.Context(), f.VMs[0].ID, r))
}
