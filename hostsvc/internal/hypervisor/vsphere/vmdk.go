package vsphere

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// The deeds of the virtual disk manager, on places as vSphere writes them.

// diskTypes are vSphere's words for our formats.
var diskTypes = map[string]types.VirtualDiskType{
	volspec.Thin:             types.VirtualDiskTypeThin,
	volspec.ZeroedThick:      types.VirtualDiskTypePreallocated,
	volspec.EagerZeroedThick: types.VirtualDiskTypeEagerZeroedThick,
}

func specOf(format string) types.VirtualDiskSpec {
	return types.VirtualDiskSpec{DiskType: string(diskTypes[format]), AdapterType: string(types.VirtualDiskAdapterTypeLsiLogic)}
}

type diskManager func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error)

func (v *VSphere) onDisk(ctx context.Context, what string, start diskManager) error {
	v.sweepTransporter(ctx)
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return err
	}
	_, err = v.c.Task(ctx, what, func(ctx context.Context, vc *vim25.Client) (types.ManagedObjectReference, error) {
		return started(start(ctx, object.NewVirtualDiskManager(vc), dc))
	})
	return err
}

func (v *VSphere) createDisk(ctx context.Context, to string, size volspec.Size, format string, policy []types.BaseVirtualMachineProfileSpec) error {
	return v.onDisk(ctx, "creating disk "+to, func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error) {
		return m.CreateVirtualDisk(ctx, to, dc, &types.FileBackedVirtualDiskSpec{VirtualDiskSpec: specOf(format), CapacityKb: int64(size) >> 10, Profile: policy})
	})
}

// copyDisk copies a disk that nobody writes to. In a chain of snapshots the
// copy is whole.
func (v *VSphere) copyDisk(ctx context.Context, from, to, format string) error {
	return v.onDisk(ctx, fmt.Sprintf("copying disk %s to %s", from, to), func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error) {
		spec := specOf(format)
		return m.CopyVirtualDisk(ctx, from, dc, to, dc, &spec, false)
	})
}

func (v *VSphere) moveDisk(ctx context.Context, from, to string) error {
	return v.onDisk(ctx, fmt.Sprintf("moving disk %s to %s", from, to), func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error) {
		return m.MoveVirtualDisk(ctx, from, dc, to, dc, false)
	})
}

// extendDisk enlarges a disk that is not attached.
func (v *VSphere) extendDisk(ctx context.Context, at string, size volspec.Size, eager bool) error {
	return v.onDisk(ctx, "growing disk "+at, func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error) {
		return m.ExtendVirtualDisk(ctx, at, dc, int64(size)>>10, &eager)
	})
}

// removeDisk deletes a disk and what is beside it. Absent: nil. What is no
// disk but lies in its place goes too.
func (v *VSphere) removeDisk(ctx context.Context, at string) error {
	err := v.onDisk(ctx, "removing disk "+at, func(ctx context.Context, m *object.VirtualDiskManager, dc *object.Datacenter) (*object.Task, error) {
		return m.DeleteVirtualDisk(ctx, at, dc)
	})
	if err == nil || errkind.Is(err, errkind.InUse) || vcenter.Lost(err) {
		return err
	}
	datastore, file, ok := vcenter.SplitPath(at)
	if !ok {
		return err
	}
	// Without a descriptor that can be read its extent is not found from it.
	flat := strings.TrimSuffix(file, ".vmdk") + "-flat.vmdk"
	if again := errors.Join(v.c.Files().Delete(ctx, datastore, file), v.c.Files().Delete(ctx, datastore, flat)); again != nil {
		return err
	}
	return nil
}

// renewIdentity gives a copy its own serial: two disks with one on the same VM
// could not be told apart.
func (v *VSphere) renewIdentity(ctx context.Context, at string) error {
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return err
	}
	id := uuid.New()
	b := append([]byte{0x60, 0x00, 0xc2, 0x90 | id[0]&0x0f}, id[4:]...)
	text := fmt.Sprintf("% X-% X", b[:8], b[8:])
	return v.c.Do(ctx, "giving disk "+at+" an identity of its own", func(ctx context.Context, vc *vim25.Client) error {
		return object.NewVirtualDiskManager(vc).SetVirtualDiskUuid(ctx, at, dc, text)
	})
}

// cleanup is how long leftovers are removed for after a failure.
const cleanup = 30 * time.Second

// discard removes what an attempt has left, whatever has become of its context.
// It stays when it cannot be removed now: the next attempt begins with that.
func (v *VSphere) discard(ctx context.Context, at string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
	defer cancel()
	_ = v.removeDisk(ctx, at)
}
