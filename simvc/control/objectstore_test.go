package control_test

import (
	"io"
	"net/http"
	"path"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/simvc/control"
)

func TestDisksAsObjects(t *testing.T) {
	s := start(t, control.Options{})
	ctx := t.Context()
	require.NoError(t, s.SetDatastoreType(ctx, "ds-1", "vsan"))
	require.Error(t, s.SetDatastoreType(ctx, "ds-1", "floppy"))
	ds, err := s.finder().Datastore(ctx, "ds-1")
	require.NoError(t, err)
	files := object.NewFileManager(s.vc)
	err = files.MakeDirectory(ctx, "[ds-1] a/b", s.dc, true)
	assert.True(t, fault.Is(err, &types.CannotCreateFile{}), "%v", err)
	spaces := object.NewDatastoreNamespaceManager(s.vc)
	_, err = spaces.CreateDirectory(ctx, ds, "a", "")
	require.NoError(t, err)
	_, err = spaces.CreateDirectory(ctx, ds, "a", "")
	assert.True(t, fault.Is(err, &types.FileAlreadyExists{}), "%v", err)
	require.NoError(t, files.MakeDirectory(ctx, "[ds-1] a/b", s.dc, true))
	require.NoError(t, s.createDisk("[ds-1] a/b/x.vmdk", mib, types.VirtualDiskTypeThin))
	shown, err := spaces.ConvertNamespacePathToUuidPath(ctx, s.dc, s.Dir+"/ds-1/a")
	require.NoError(t, err)
	shown = path.Base(shown)
	assert.NotEqual(t, "a", shown)
	require.NoError(t, files.MakeDirectory(ctx, "[ds-1] "+shown+"/c", s.dc, false))
	assert.DirExists(t, filepath.Join(s.Dir, "ds-1/a/c"), "both names lead there")
	for file, status := range map[string]int{"a/b/x.vmdk": http.StatusOK, "a/b/x-flat.vmdk": http.StatusNotFound} {
		u := object.NewDatastoreURL(*s.vc.URL(), s.dc.InventoryPath, "ds-1", file)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
		require.NoError(t, err)
		res, err := s.vc.Client.Client.Do(req)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		assert.Equal(t, status, res.StatusCode, file)
	}
	_, err = s.wait(files.DeleteDatastoreFile(ctx, "[ds-1] a/b/x-flat.vmdk", s.dc))
	assert.True(t, fault.Is(err, &types.FileNotFound{}), "%v", err)
	other, err := s.finder().Datastore(ctx, "ds-0")
	require.NoError(t, err)
	_, err = spaces.CreateDirectory(ctx, other, "a", "")
	assert.True(t, fault.Is(err, &types.CannotCreateFile{}), "%v", err)
}

func TestLeasesThatAreForgottenAndCut(t *testing.T) {
	s := start(t, control.Options{VMs: 1})
	ctx := t.Context()
	export := func() *nfc.Lease {
		res, err := methods.ExportVm(ctx, s.vc, &types.ExportVm{This: s.vm("vm-0").Reference()})
		require.NoError(t, err)
		return nfc.NewLease(s.vc, res.Returnval)
	}
	require.NoError(t, s.Power(ctx, "vm-0", false))
	l := export()
	info, err := l.Wait(ctx, nil)
	require.NoError(t, err)
	require.NoError(t, s.Fault(ctx, control.Fault{Method: "GET", Object: "nfc", CutAfter: 1000, Count: 1}))
	body, _, err := s.vc.Download(ctx, info.Items[0].URL, &soap.Download{Method: "GET"})
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	require.Error(t, err)
	require.NoError(t, l.Complete(ctx))

	require.NoError(t, s.SetLeaseTimeout(ctx, 10*time.Millisecond))
	l = export()
	require.Eventually(t, func() bool { return fault.Is(l.Progress(ctx, 1), &types.InvalidState{}) }, time.Minute, 20*time.Millisecond)
}
