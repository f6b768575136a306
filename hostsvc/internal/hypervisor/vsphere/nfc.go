package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/vmdk"
)

// overNFC moves disks whole, as streams, whatever kind of datastore they are on.
// vSphere streams disks of VMs only: one that is in no VM gets a carrier for as
// long, see nfccarrier.go. What comes lies in a sparse file on this machine until
// it is closed.
type overNFC struct{ v *VSphere }

func (overNFC) String() string { return "NFC" }

// leaseLimit is how many leases there are at a time: hosts have few buffers for
// them, and each holds a VM.
const leaseLimit = 2

// leases lets leaseLimit leases be.
type leases struct {
	once sync.Once
	room chan struct{}
}

func (l *leases) begin(ctx context.Context, what string) (end func(), err error) {
	l.once.Do(func() { l.room = make(chan struct{}, leaseLimit) })
	select {
	case l.room <- struct{}{}:
		return func() { <-l.room }, nil
	case <-ctx.Done():
		return nil, vcenter.Translate(context.Cause(ctx), what)
	}
}

// keepsObjects reports whether a datastore keeps disks as objects, with no files
// behind their names.
func keepsObjects(ds vcenter.Datastore) bool {
	switch ds.Type {
	case "vsan", "vsanD", "VVOL", "PMEM":
		return true
	}
	return false
}

func (t overNFC) open(ctx context.Context, s source) (content, error) {
	receive := t.fromCarrier
	switch {
	case s.frozen != nil && !keepsObjects(s.ds):
		return nil, errkind.New(errkind.Unsupported, "it would hold VM %s as long as it takes, and from datastore %s (%s) a copy can be read without that", s.frozen.of.vm.Name, s.ds.Name, s.ds.Type)
	case s.frozen != nil:
		receive = t.fromSnapshot
	case !s.ours:
		return nil, errkind.New(errkind.Unsupported, "disk %s cannot be put into a VM for it, because others use it", s.at())
	}
	what := "reading " + s.what + " as a stream"
	got, err := again(ctx, func() (*scratch, error) {
		end, err := t.v.leases.begin(ctx, what)
		if err != nil {
			return nil, err
		}
		defer end()
		return receive(ctx, what, s)
	})
	if err != nil {
		return nil, err
	}
	return streamed{got}, nil
}

// again tries anew, from the beginning, when a stream or a lease has broken off.
func again[T any](ctx context.Context, try func() (T, error)) (T, error) {
	for attempt := 1; ; attempt++ {
		done, err := try()
		if err == nil || attempt == attempts || ctx.Err() != nil || !vcenter.Lost(err) && !errors.Is(err, errBrokeOff) {
			return done, err
		}
	}
}

var errBrokeOff = errors.New("the stream broke off")

// fromSnapshot receives a disk of a VM's snapshot. The VM is held only as long as
// bytes flow.
func (t overNFC) fromSnapshot(ctx context.Context, what string, s source) (*scratch, error) {
	l, err := t.v.c.Lease(ctx, what, func(ctx context.Context, vc *vim25.Client) (ref types.ManagedObjectReference, err error) {
		res, err := methods.ExportSnapshot(ctx, vc, &types.ExportSnapshot{This: s.frozen.of.snapshot.Snapshot})
		if err == nil {
			ref = res.Returnval
		}
		return ref, err
	})
	if err != nil {
		return nil, err
	}
	d, ok := leased(l, s.frozen)
	if !ok {
		l.Abort(ctx)
		return nil, errkind.New(errkind.Unsupported, "%s: vSphere exports the snapshot without a disk that is surely this one", what)
	}
	return t.receive(ctx, what, l, d, s)
}

// leased is the disk of a lease that is in the same place of the VM.
func leased(l *vcenter.Lease, f *frozenDisk) (found vcenter.LeaseDisk, ok bool) {
	place := "/" + placeIn(f.of.config.Hardware.Device, f.device)
	for _, d := range l.Disks {
		if strings.HasSuffix(d.Key, place) {
			return d, true
		}
	}
	if len(l.Disks) == 1 && len(f.of.disks) == 1 {
		return l.Disks[0], true
	}
	return found, false
}

// placeIn names the place of a disk in a VM as leases do.
func placeIn(devices object.VirtualDeviceList, d *types.VirtualDisk) string {
	c, ok := devices.FindByKey(d.ControllerKey).(types.BaseVirtualController)
	if !ok || d.UnitNumber == nil {
		return fmt.Sprintf("disk:%d", d.Key)
	}
	kind := strings.TrimPrefix(fmt.Sprintf("%T", c), "*types.")
	return fmt.Sprintf("%s%d:%d", kind, c.GetVirtualController().BusNumber, *d.UnitNumber)
}

// fromCarrier receives a disk that is in no VM.
func (t overNFC) fromCarrier(ctx context.Context, what string, s source) (*scratch, error) {
	c, err := t.v.newCarrier(ctx, what, s.ds)
	if err != nil {
		return nil, err
	}
	got, err := t.receiveFrom(ctx, what, c, s)
	if err = errors.Join(err, c.remove(ctx)); err != nil {
		if got != nil {
			got.close()
		}
		return nil, err
	}
	return got, nil
}

// receiveFrom leaves the carrier with the disk.
func (t overNFC) receiveFrom(ctx context.Context, what string, c *carrier, s source) (*scratch, error) {
	if err := c.create(ctx, s.at()); err != nil {
		return nil, err
	}
	crashpoint.Here("vsphere.nfc.carried")
	l, err := t.v.c.Lease(ctx, what, func(ctx context.Context, vc *vim25.Client) (ref types.ManagedObjectReference, err error) {
		res, err := methods.ExportVm(ctx, vc, &types.ExportVm{This: c.m.Ref})
		if err == nil {
			ref = res.Returnval
		}
		return ref, err
	})
	if err != nil {
		return nil, err
	}
	if len(l.Disks) != 1 {
		l.Abort(ctx)
		return nil, errkind.New(errkind.Internal, "%s: vSphere exports a VM with one disk as one with %d", what, len(l.Disks))
	}
	return t.receive(ctx, what, l, l.Disks[0], s)
}

// receive fills a file with a disk of a lease, and ends that.
func (t overNFC) receive(ctx context.Context, what string, l *vcenter.Lease, d vcenter.LeaseDisk, s source) (*scratch, error) {
	to, err := newScratch(t.v.o.Scratch, s.what, s.size)
	if err != nil {
		l.Abort(ctx)
		return nil, err
	}
	if err := download(ctx, what, l, d, to); err != nil {
		l.Abort(ctx)
		to.close()
		return nil, err
	}
	crashpoint.Here("vsphere.nfc.received")
	return to, nil
}

// download fills a file with a disk of a lease, and completes that.
func download(ctx context.Context, what string, l *vcenter.Lease, d vcenter.LeaseDisk, to *scratch) error {
	var size int64
	err := l.Download(ctx, d, func(r io.Reader) (err error) {
		size, err = vmdk.Decode(r, func(off int64, data []byte) error {
			_, err := to.WriteAt(data, off)
			return err
		})
		return err
	})
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errkind.Wrap(errkind.Unavailable, errors.Join(errBrokeOff, err), "%s: the stream broke off; repeat it", what)
	case err != nil:
		return err
	case size != to.Size():
		return errkind.New(errkind.Corrupt, "%s: vSphere sent a disk of %d bytes instead of %d; look at the datastore", what, size, to.Size())
	}
	return l.Complete(ctx)
}

// streamed is a disk that came as a stream.
type streamed struct{ s *scratch }

// Close implements content.
func (c streamed) Close() error {
	c.s.close()
	return nil
}

func (c streamed) readAt(_ context.Context, p []byte, off int64) (int, error) {
	return c.s.ReadAt(p, off)
}

// data is where the stream had any.
func (c streamed) data(ctx context.Context) image.Extents { return c.s.data(ctx) }
