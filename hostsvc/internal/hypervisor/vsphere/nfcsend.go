package vsphere

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/vmdk"
	"mooring.dev/mooring/pkg/volspec"
)

// send imports a carrier with one disk, of which the data only are sent, and puts
// that disk into the place of the blank one.
func (t overNFC) send(ctx context.Context, n blank, s *scratch) error {
	what := "sending " + n.what + " as a stream"
	// A host wants to know the length before it takes anything.
	var length counter
	if err := encode(ctx, &length, s); err != nil {
		return err
	}
	_, err := again(ctx, func() (sent struct{}, err error) {
		end, err := t.v.leases.begin(ctx, what)
		if err != nil {
			return sent, err
		}
		defer end()
		return sent, t.sendOnce(ctx, what, n, s, int64(length))
	})
	return err
}

func (t overNFC) sendOnce(ctx context.Context, what string, n blank, s *scratch, length int64) error {
	ds, _, err := t.v.placeOf(ctx, n.at)
	if err != nil {
		return err
	}
	c, err := t.v.newCarrier(ctx, what, ds)
	if err != nil {
		return err
	}
	err = t.sendWith(ctx, c, n, s, length)
	return errors.Join(err, c.remove(ctx))
}

// sendWith leaves the carrier, which may have the disk after an error.
func (t overNFC) sendWith(ctx context.Context, c *carrier, n blank, s *scratch, length int64) error {
	if err := t.fillCarrier(ctx, c, n, s, length); err != nil {
		return err
	}
	crashpoint.Here("vsphere.nfc.sent")
	files, err := c.empty(ctx)
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return errkind.New(errkind.Unavailable, "%s: VM %s has %d disks instead of the one that was sent; repeat it", c.what, c.name(), len(files))
	}
	crashpoint.Here("vsphere.nfc.taken")
	if err := t.v.removeDisk(ctx, n.at); err != nil {
		return err
	}
	crashpoint.Here("vsphere.nfc.cleared")
	if err := t.v.moveDisk(ctx, files[0], n.at); err != nil {
		return err
	}
	crashpoint.Here("vsphere.nfc.placed")
	return nil
}

// fillCarrier makes the carrier with a disk that has the content.
func (t overNFC) fillCarrier(ctx context.Context, c *carrier, n blank, s *scratch, length int64) error {
	folder, host, err := c.placement(ctx)
	if err != nil {
		return err
	}
	thin, eager := n.format == volspec.Thin, n.format == volspec.EagerZeroedThick
	spec := c.spec(types.VirtualDeviceConfigSpecFileOperationCreate, &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{Backing: &types.VirtualDiskFlatVer2BackingInfo{
			VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: "[" + c.ds.Name + "]"},
			DiskMode:                     writableMode, ThinProvisioned: &thin, EagerlyScrub: &eager,
		}},
		CapacityInBytes: int64(n.size), CapacityInKB: int64(n.size) >> 10,
	})
	l, err := t.v.c.Lease(ctx, c.what, func(ctx context.Context, vc *vim25.Client) (ref types.ManagedObjectReference, err error) {
		pool, err := object.NewHostSystem(vc, host).ResourcePool(ctx)
		if err != nil {
			return ref, err
		}
		res, err := methods.ImportVApp(ctx, vc, &types.ImportVApp{
			This: pool.Reference(), Folder: &folder, Host: &host, Spec: &types.VirtualMachineImportSpec{ConfigSpec: spec},
		})
		if err == nil {
			ref = res.Returnval
		}
		return ref, err
	})
	if err != nil {
		return err
	}
	c.m.Ref = l.VM
	crashpoint.Here("vsphere.nfc.imported")
	if err := upload(ctx, c.what, l, s, length); err != nil {
		l.Abort(ctx)
		return err
	}
	return nil
}

// upload gives the disk of a lease the content, and completes that.
func upload(ctx context.Context, what string, l *vcenter.Lease, s *scratch, length int64) error {
	if len(l.Disks) != 1 {
		return errkind.New(errkind.Internal, "%s: vSphere takes a VM with one disk as one with %d", what, len(l.Disks))
	}
	r, w := io.Pipe()
	var encoder sync.WaitGroup
	encoder.Go(func() { _ = w.CloseWithError(encode(ctx, w, s)) })
	err := l.Upload(ctx, l.Disks[0], r, length)
	_ = r.Close()
	encoder.Wait()
	if err != nil {
		return err
	}
	return l.Complete(ctx)
}

// counter counts what is written.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// encode writes the data of s as a stream. It is the same every time.
func encode(ctx context.Context, w io.Writer, s *scratch) error {
	out, err := vmdk.NewWriter(w, s.Size())
	if err != nil {
		return err
	}
	buf := make([]byte, 16*vmdk.Grain)
	next := int64(0) // what is before has been written
	for e, err := range s.data(ctx) {
		if err != nil {
			return err
		}
		for next = max(next, e.Offset-e.Offset%vmdk.Grain); next < e.End(); {
			end := min((e.End()+vmdk.Grain-1)/vmdk.Grain*vmdk.Grain, s.Size())
			n := min(int64(len(buf)), end-next)
			if _, err := s.f.ReadAt(buf[:n], next); err != nil {
				return s.said("reading", err)
			}
			if _, err := out.WriteAt(buf[:n], next); err != nil {
				return err
			}
			next += n
		}
	}
	return out.Close()
}
