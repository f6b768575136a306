package backup_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/hostsvc/internal/job"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

const ofDev = memory.AllVMs + "/tenants/dev"

// addVMIn makes a VM in a folder that is a member of no vmgroup.
func (w *world) addVMIn(f volspec.Folder, name string) volspec.VMID {
	vm := w.addVM(w.group, name, "")
	delete(w.vms.members, vm)
	w.vms.MakeFolder(f)
	w.vms.MoveVM(vm, f)
	return vm
}

// VMs of a folder are protected as members are, as long as they are in it. Those
// of others are not seen, wherever they lie.
func TestVMsOfFolders(t *testing.T) {
	w := newWorld(t)
	web, theirs := w.addVMIn(ofDev+"/web", "web"), w.addVMIn(ofDev, "theirs")
	w.vms.members[theirs] = volspec.VMGroup{ID: "other", Name: "Test"}
	w.addVMIn(memory.AllVMs+"/tenants/developers", "stray")
	w.addVM(w.group, "member", "")
	w.vms.granted[ofDev] = w.group
	proc := w.start(t, &plug{})
	proc.makeRepository(t, "main")
	p, err := proc.PutPolicy(t.Context(), admin, "Dev", wire.Policy{Name: "nightly", Volumes: []string{}, VMs: []string{"*"}, Repository: "main"}, false)
	require.NoError(t, err)
	preview, err := proc.PreviewPolicy(t.Context(), "Dev", p.Name)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"member", "web"}, preview.VMs)
	for _, name := range []string{"theirs", "stray", "never", string(theirs)} {
		_, err := proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{name}, Repository: "main"})
		refusedAlike(t, err, name)
	}
	require.Equal(t, job.Done, proc.runVM(t, "web").State)
	want := w.disksOf(t, web)
	assert.Len(t, proc.pointsOf(t, "vm/web"), 1)

	id, got := proc.restoreVM(t, "vm/web@latest", "again")
	same(t, want, got, "again")
	v, err := w.vms.VM(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, ofDev+"/web", v.Folder, "it is where the other is")
	assert.NotContains(t, w.vms.members, id, "and gets no volumes by that")

	// Moved out, it is out; its points stay.
	w.vms.SetPower(web, hypervisor.Off)
	w.vms.MoveVM(web, "attic")
	_, err = proc.Backup(t.Context(), admin, "Dev", wire.RunBackup{VMs: []string{"web"}, Repository: "main"})
	refusedAlike(t, err, "web")
	require.Len(t, proc.pointsOf(t, "vm/web"), 1)
	_, err = proc.RestorePoint(t.Context(), admin, "Dev", "vm/web@latest", wire.RunRestore{InPlace: true})
	require.Equal(t, errkind.NotFound, errkind.Of(err))
	assert.Contains(t, errkind.Text(err), "is not in vmgroup Dev any more, nor in a folder of it: restore it as a new VM")
	id, got = proc.restoreVM(t, "vm/web@latest", "third")
	same(t, want, got, "third")
	v, err = w.vms.VM(t.Context(), id)
	require.NoError(t, err)
	assert.Equal(t, ofDev+"/web", v.Folder)
}

// Where the folder of the original is not the vmgroup's any more, or is gone, a
// new VM becomes a member: otherwise it would be nobody's, or somebody else's.
func TestVMsOfLostFolders(t *testing.T) {
	for name, lose := range map[string]func(*vms){
		"taken away":        func(v *vms) { delete(v.granted, ofDev) },
		"granted elsewhere": func(v *vms) { v.granted[ofDev] = volspec.VMGroup{ID: "other", Name: "Test"} },
		"renamed":           func(v *vms) { v.MoveFolder(ofDev, "tenants/old") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			web := w.addVMIn(ofDev, "web")
			w.vms.granted[ofDev] = w.group
			proc := w.start(t, &plug{})
			proc.makeRepository(t, "main")
			require.Equal(t, job.Done, proc.runVM(t, "web").State)
			want := w.disksOf(t, web)
			lose(w.vms)
			id, got := proc.restoreVM(t, "vm/web@latest", "again")
			same(t, want, got, name)
			v, err := w.vms.VM(t.Context(), id)
			require.NoError(t, err)
			assert.Equal(t, memory.AllVMs, v.Folder)
			assert.Equal(t, w.group.Name, w.vms.members[id].Name)
		})
	}
}

// refusedAlike: a VM of others and one that never was are refused in the same
// words.
func refusedAlike(t *testing.T, err error, name string) {
	t.Helper()
	require.Equal(t, errkind.NotFound, errkind.Of(err), "%v", err)
	assert.Equal(t, "VM "+name+" is not in vmgroup Dev: see `mooring vmgroup vm ls` and `mooring vmgroup folder ls`", errkind.Text(err))
}
