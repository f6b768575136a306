package hypervisortest

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// FolderTree does to folders of VMs what people do. Paths are relative.
type FolderTree interface {
	// Make makes a folder until the test ends. The one above it is there.
	Make(t *testing.T, f volspec.Folder)
	// Move puts a folder into another, "" is the folder of all VMs.
	Move(t *testing.T, f, into volspec.Folder)
	Rename(t *testing.T, f volspec.Folder, name string)
	MoveVM(t *testing.T, vm volspec.VMID, into volspec.Folder)
}

var folders = []sentence{
	{"Folders", "VM.Folder says where a VM is at the moment of the call: one that is moved, or lies below a folder that is moved or renamed, is somewhere else from then on.", foldersAreCurrent},
	{"FindFolder", "FindFolder is the absolute path of a folder of VMs that is there now.", folderIsFound},
	{"FindFolder", "A relative path begins below the folder that holds all VMs.", folderIsFound},
	{"FindFolder", "Unknown: not-found.", folderIsFound},
	{"FindFolder", "The folder of all VMs itself: invalid.", folderIsFound},
}

// folders is the ability; the test is skipped where folders cannot be made.
func (e *env) folders(t *testing.T) hypervisor.Folders {
	f, ok := hypervisor.As[hypervisor.Folders](e.h)
	if !ok || e.Tree == nil {
		t.Skip("folders of VMs cannot be made")
	}
	return f
}

func (e *env) find(t *testing.T, f volspec.Folder) volspec.Folder {
	t.Helper()
	found, err := e.folders(t).FindFolder(e.ctx, f)
	require.NoError(t, err)
	require.True(t, found.IsAbs(), found)
	return found
}

// at asserts where a VM is, in the list and when it is asked for.
func (e *env) at(t *testing.T, vm volspec.VMID, want volspec.Folder) {
	t.Helper()
	v, err := e.h.VM(e.ctx, vm)
	require.NoError(t, err)
	assert.Equal(t, want, v.Folder)
	for _, v := range e.called(t, v.Name) {
		assert.Equal(t, want, v.Folder)
	}
}

func foldersAreCurrent(t *testing.T, e *env) {
	e.folders(t)
	vm, other := e.VMs[0].ID, e.VMs[1].ID
	before, err := e.h.VM(e.ctx, vm)
	require.NoError(t, err)
	all := before.Folder
	require.NotEmpty(t, all, "it is in the folder of all VMs")
	for _, f := range []volspec.Folder{"tenants", "tenants/acme", "tenants/acme/web", "attic"} {
		e.Tree.Make(t, f)
	}
	e.Tree.MoveVM(t, vm, "tenants/acme/web")
	e.at(t, vm, all+"/tenants/acme/web")
	e.at(t, other, all)
	e.Tree.Rename(t, "tenants/acme", "globex")
	e.at(t, vm, all+"/tenants/globex/web")
	e.Tree.Move(t, "tenants/globex", "attic")
	e.at(t, vm, all+"/attic/globex/web")
	e.Tree.Move(t, "attic/globex/web", "")
	e.at(t, vm, all+"/web")
	e.Tree.MoveVM(t, vm, "attic")
	e.at(t, vm, all+"/attic")
	e.Tree.MoveVM(t, vm, "")
	e.at(t, vm, all)
	e.at(t, other, all)
}

func folderIsFound(t *testing.T, e *env) {
	f := e.folders(t)
	all := e.VMs[0].Folder
	e.Tree.Make(t, "tenants")
	e.Tree.Make(t, "tenants/a b")
	assert.Equal(t, all+"/tenants/a b", e.find(t, "tenants/a b"))
	assert.Equal(t, all+"/tenants/a b", e.find(t, all+"/tenants/a b"))
	for _, unknown := range []volspec.Folder{"acme", "tenants/a", "a b", "/tenants", "/nowhere/vm/tenants", all[:1] + "host", all + "/tenants/a b/c"} {
		_, err := f.FindFolder(e.ctx, unknown)
		requireKind(t, errkind.NotFound, err)
	}
	_, err := f.FindFolder(e.ctx, all)
	requireKind(t, errkind.Invalid, err)
	e.Tree.Rename(t, "tenants", "old")
	_, err = f.FindFolder(e.ctx, "tenants/a b")
	requireKind(t, errkind.NotFound, err)
	assert.Equal(t, all+"/old/a b", e.find(t, "old/a b"))
}

func machineInFolder(t *testing.T, e *env) {
	e.folders(t)
	m, vm := e.machinesWith(t, "original")
	b := e.wanted(t, m, vm, "copy")
	b.Folder = e.VMs[0].Folder + "/tenants"
	fill := func(context.Context, string, image.Target) error { return nil }
	_, err := m.BuildMachine(e.ctx, b, fill)
	requireKind(t, errkind.NotFound, err)
	assert.Empty(t, e.called(t, "copy"))
	e.Tree.Make(t, "tenants")
	id, err := m.BuildMachine(e.ctx, b, fill)
	require.NoError(t, err)
	e.at(t, id, b.Folder)
}
