package vsphere

import (
	"context"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.Folders = (*VSphere)(nil)

// tree is hypervisortest.FolderTree on a simulated vCenter.
type tree struct{ v *VSphere }

// ref is a folder, "" is the one of all VMs.
func (r tree) ref(ctx context.Context, t *testing.T, f volspec.Folder) (ref types.ManagedObjectReference) {
	t.Helper()
	if f != "" && f != "." {
		found, err := r.v.inv.Folder(ctx, f)
		require.NoError(t, err)
		return found.Ref
	}
	dc, err := r.v.c.Datacenter(ctx)
	require.NoError(t, err)
	require.NoError(t, r.v.c.Read(ctx, "a test", func(ctx context.Context, vc *vim25.Client) (err error) {
		ref, err = vmFolder(ctx, vc, dc.Reference())
		return err
	}))
	return ref
}

func (r tree) task(ctx context.Context, t *testing.T, of types.ManagedObjectReference, start func(context.Context, *object.Folder) (*object.Task, error)) {
	t.Helper()
	_, err := r.v.c.Task(ctx, "a test", func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		task, err := start(ctx, object.NewFolder(vc, of))
		if err != nil {
			return types.ManagedObjectReference{}, err
		}
		return task.Reference(), nil
	})
	require.NoError(t, err)
}

func (r tree) move(ctx context.Context, t *testing.T, what, into types.ManagedObjectReference) {
	t.Helper()
	r.task(ctx, t, into, func(ctx context.Context, f *object.Folder) (*object.Task, error) {
		return f.MoveInto(ctx, []types.ManagedObjectReference{what})
	})
}

func (r tree) Make(t *testing.T, f volspec.Folder) {
	t.Helper()
	var made types.ManagedObjectReference
	above := r.ref(t.Context(), t, volspec.Folder(path.Dir(string(f))))
	require.NoError(t, r.v.c.Read(t.Context(), "a test", func(ctx context.Context, vc *vim25.Client) error {
		o, err := object.NewFolder(vc, above).CreateFolder(ctx, path.Base(string(f)))
		if err == nil {
			made = o.Reference()
		}
		return err
	}))
	t.Cleanup(func() { r.remove(t, made) })
}

// remove leaves what is in the folder to the folder of all VMs.
func (r tree) remove(t *testing.T, ref types.ManagedObjectReference) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	all := r.ref(ctx, t, "")
	var left []object.Reference
	require.NoError(t, r.v.c.Read(ctx, "a test", func(ctx context.Context, vc *vim25.Client) (err error) {
		left, err = object.NewFolder(vc, ref).Children(ctx)
		return err
	}))
	for _, o := range left {
		r.move(ctx, t, o.Reference(), all)
	}
	r.task(ctx, t, ref, func(ctx context.Context, f *object.Folder) (*object.Task, error) { return f.Destroy(ctx) })
}

func (r tree) Move(t *testing.T, f, into volspec.Folder) {
	t.Helper()
	r.move(t.Context(), t, r.ref(t.Context(), t, f), r.ref(t.Context(), t, into))
}

func (r tree) Rename(t *testing.T, f volspec.Folder, name string) {
	t.Helper()
	r.task(t.Context(), t, r.ref(t.Context(), t, f), func(ctx context.Context, f *object.Folder) (*object.Task, error) {
		return f.Rename(ctx, name)
	})
}

func (r tree) MoveVM(t *testing.T, vm volspec.VMID, into volspec.Folder) {
	t.Helper()
	m, err := r.v.inv.VM(t.Context(), string(vm))
	require.NoError(t, err)
	r.move(t.Context(), t, m.Ref, r.ref(t.Context(), t, into))
}
