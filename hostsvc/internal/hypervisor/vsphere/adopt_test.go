package vsphere

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/dockvols"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

const team = "5f0d2c3e-9a51-4c1f-8c3e-6b7212345678"

// oldDisk makes a volume of an old installation and returns where its bytes
// are on this machine.
func (s *site) oldDisk(t *testing.T, v *VSphere, name, content string) string {
	t.Helper()
	folder := dockvols.Root + "/" + team
	require.NoError(t, v.c.Files().MakeFolder(t.Context(), "ds-0", folder))
	require.NoError(t, v.createDisk(t.Context(), vcenter.Path("ds-0", folder+"/"+name+".vmdk"), 64*volspec.MiB, volspec.Thin, nil))
	flat := filepath.Join(s.sim.Dir, "ds-0", folder, name+"-flat.vmdk")
	f, err := os.OpenFile(flat, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte(content), 1<<20)
	require.NoError(t, err)
	return flat
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	return st.Ino
}

func TestVolumesOfAnOldInstallationAreTakenOverWithoutACopy(t *testing.T) {
	for disk, esx := range map[string]bool{FCD: false, VMDK: true} {
		t.Run(disk, func(t *testing.T) {
			s := newSite(t, disk, control.Options{ESX: esx})
			v := s.open(t)
			flat := s.oldDisk(t, v, "db", "precious")
			s.oldDisk(t, v, "web", "other")
			side := filepath.Join(filepath.Dir(flat), "db-5a3c9c1f27f3d1aa.vmfd")
			require.NoError(t, os.WriteFile(side, []byte(`{"status": "detached", "created": "Mon Aug 21 04:36:08 2017", "created-by": "vm1", "volOpts": {"fstype": "xfs"}}     `), 0o600))
			was := inode(t, flat)

			o := dockvols.Options{Datastore: "ds-0", Record: func(v dockvols.Volume) ([]byte, error) { return []byte("record of " + v.Name), nil }}
			store := old{v, "ds-0"}
			plan, err := dockvols.Plan(t.Context(), store, o)
			require.NoError(t, err)
			require.Len(t, plan, 2)
			for _, i := range plan {
				assert.Equal(t, dockvols.Adoptable, i.Action, i.Detail)
				assert.Equal(t, 64*volspec.MiB, i.Size)
			}
			assert.Equal(t, "xfs", plan[0].Spec.FSType)

			r := hypervisor.Ref{Datastore: "ds-0", Group: team, Volume: plan[0].ID}
			done, err := dockvols.Adopt(t.Context(), store, o)
			require.NoError(t, err)
			for _, i := range done {
				assert.Equal(t, dockvols.Adopted, i.Action, i.Detail)
			}
			moved := filepath.Join(s.sim.Dir, "ds-0", layout.Folder(team), string(r.Volume)+"-flat.vmdk")
			assert.Equal(t, was, inode(t, moved), "the same file")
			d, err := v.Stat(t.Context(), r)
			require.NoError(t, err)
			assert.Equal(t, "record of db", string(d.Meta))
			assert.Equal(t, 64*volspec.MiB, d.Size)
			dev, err := v.Attach(t.Context(), s.vm(t, v, "vm-0").ID, r, false)
			require.NoError(t, err)
			b, err := guest{s}.Read(dev, 1<<20, 8)
			require.NoError(t, err)
			assert.Equal(t, "precious", string(b))
			require.NoError(t, v.Detach(t.Context(), dev.VM, r))

			again, err := dockvols.Plan(t.Context(), store, o)
			require.NoError(t, err)
			assert.Empty(t, again)
		})
	}
}

func TestAVolumeOfAnOldInstallationThatAVMHasIsRefused(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	v := s.open(t)
	s.oldDisk(t, v, "db", "precious")
	vm := s.vm(t, v, "vm-1")
	m, err := v.inv.VM(t.Context(), string(vm.ID))
	require.NoError(t, err)
	s.plugOld(t, v, m, "db")
	items, err := dockvols.Adopt(t.Context(), old{v, "ds-0"}, dockvols.Options{Datastore: "ds-0", Record: func(dockvols.Volume) ([]byte, error) { return nil, nil }})
	require.NoError(t, err)
	require.Len(t, items, 1)
	assert.Equal(t, dockvols.Refused, items[0].Action)
	assert.Contains(t, items[0].Detail, "VM vm-1 has it")
	_, err = v.Stat(t.Context(), hypervisor.Ref{Datastore: "ds-0", Group: team, Volume: items[0].ID})
	assert.Equal(t, errkind.NotFound, errkind.Of(err))
}

// plugOld gives a VM a disk of the old installation.
func (s *site) plugOld(t *testing.T, v *VSphere, m vcenter.VM, name string) {
	t.Helper()
	err := v.change(t.Context(), "plugging", m, func(now machineNow) (*types.VirtualMachineConfigSpec, error) {
		return now.plug(m, hypervisor.Ref{}, located{file: vcenter.Path("ds-0", dockvols.Root+"/"+team+"/"+name+".vmdk")}, false)
	})
	require.NoError(t, err)
}
