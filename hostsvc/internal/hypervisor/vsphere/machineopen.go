package vsphere

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// frozenDisk is a disk of a snapshot of a VM.
type frozenDisk struct {
	machineDisk
	of frozenMachine
}

func (d frozenDisk) String() string {
	return fmt.Sprintf("%s of VM %s (snapshot %s)", d.Label, d.of.vm.Name, d.of.snapshot.id)
}

// findMachineDisk finds a disk of a snapshot. No such: not-found. One of which
// there is no image: unsupported.
func (v *VSphere) findMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (d frozenDisk, err error) {
	if err := hypervisor.CheckSnapshotID(id); err != nil {
		return d, err
	}
	m, err := v.inv.VM(ctx, string(vm))
	if err != nil {
		return d, err
	}
	what := fmt.Sprintf("looking at snapshot %s of VM %s", id, m.Name)
	now, err := v.condition(ctx, what, m)
	if err != nil {
		return d, err
	}
	s, ok := now.find(id)
	if !ok {
		return d, errkind.New(errkind.NotFound, "VM %s has no snapshot %s", m.Name, id)
	}
	f, err := v.frozenMachine(ctx, what, m, s)
	if err != nil {
		return d, err
	}
	i := slices.IndexFunc(f.disks, func(d machineDisk) bool { return d.Key == key })
	if i < 0 {
		return d, errkind.New(errkind.NotFound, "snapshot %s of VM %s has no disk %s", id, m.Name, key)
	}
	d = frozenDisk{f.disks[i], f}
	if d.Refusal != "" {
		return d, errkind.New(errkind.Unsupported, "%s of VM %s cannot be read: %s", d.Label, m.Name, d.Refusal)
	}
	return d, nil
}

// machineImage is a disk of a snapshot that is open for reading.
type machineImage struct {
	v       *VSphere
	disk    frozenDisk
	content content
	copy    string          // a copy of our own, to be removed; "" when there is none
	ctx     context.Context // of reading, which knows none: ended by Close
	end     context.CancelFunc
	known   known
	close   sync.Once
}

// OpenMachineDisk implements hypervisor.MachineImager. Of what no transport reads
// where it lies, such as a disk with other snapshots below this one, vSphere makes
// a copy first, which goes when the image is closed.
func (v *VSphere) OpenMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key string) (image.Image, error) {
	d, err := v.findMachineDisk(ctx, vm, id, key)
	if err != nil {
		return nil, err
	}
	o := &machineImage{v: v, disk: d}
	ds, file, err := v.placeOf(ctx, d.at)
	if err != nil {
		return nil, err
	}
	from := source{what: d.String(), ds: ds, file: file, size: o.Size(), frozen: &d}
	o.content, err = v.openDisk(ctx, from)
	if errkind.Is(err, errkind.Unsupported) {
		from.file, from.ours, from.frozen = d.readName(uuid.NewString()), true, nil
		o.copy = from.at()
		if err = v.copyDisk(ctx, d.at, o.copy, volspec.Thin); err == nil {
			o.content, err = v.openDisk(ctx, from)
		}
		if err != nil {
			v.discard(ctx, o.copy)
		}
	}
	if err != nil {
		return nil, err
	}
	o.ctx, o.end = context.WithCancel(context.WithoutCancel(ctx))
	return o, nil
}

// readName is the file of a copy, beside the disk.
func (d frozenDisk) readName(unique string) string {
	_, file, _ := vcenter.SplitPath(d.at)
	return path.Join(path.Dir(file), readsOf(d.of.snapshot.id)+d.Key+"-"+unique+".vmdk")
}

func readsOf(id volspec.SnapshotID) string { return "mooring-read-" + string(id) + "." }

// sweepReads removes copies of a snapshot's disks that were never closed, as far
// as it can.
func (v *VSphere) sweepReads(ctx context.Context, m vcenter.VM, s machineSnapshot) {
	f, err := v.frozenMachine(ctx, "looking at snapshot "+string(s.id), m, s)
	if err != nil {
		return
	}
	swept := map[string]bool{}
	for _, d := range f.disks {
		_, file, ok := vcenter.SplitPath(d.at)
		folder := vcenter.Path(d.Datastore, path.Dir(file))
		if !ok || !d.chained || swept[folder] {
			continue
		}
		swept[folder] = true
		for _, name := range v.filesIn(ctx, d.Datastore, path.Dir(file), readsOf(s.id)+"*.vmdk") {
			v.discard(ctx, vcenter.Path(d.Datastore, name))
		}
	}
}

// filesIn are the disks in a folder whose names fit a pattern, as far as they
// can be found out.
func (v *VSphere) filesIn(ctx context.Context, datastore, folder, pattern string) (names []string) {
	ds, err := v.inv.Datastore(ctx, datastore)
	if err != nil {
		return nil
	}
	found, err := v.search(ctx, ds, folder, pattern, false)
	if err != nil {
		return nil
	}
	for _, f := range found {
		for _, file := range f.File {
			if name := path.Base(file.GetFileInfo().Path); !strings.HasSuffix(name, "-flat.vmdk") {
				names = append(names, path.Join(folder, name))
			}
		}
	}
	return names
}

// Size implements image.Image.
func (o *machineImage) Size() int64 { return int64(o.disk.Size) }

// ReadAt implements image.Image.
func (o *machineImage) ReadAt(p []byte, off int64) (int, error) { return o.read(o.ctx, p, off) }

func (o *machineImage) read(ctx context.Context, p []byte, off int64) (int, error) {
	if o.ctx.Err() != nil {
		return 0, errkind.New(errkind.Internal, "%s is closed", o.disk)
	}
	return readWithin(ctx, o.content, o.Size(), p, off)
}

// Data implements image.Image. Change tracking tells what is allocated; where
// it cannot, everything is read once, and zeros are left out.
func (o *machineImage) Data(ctx context.Context) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		what := fmt.Sprintf("reading %s", o.disk)
		if ctx.Err() != nil {
			yield(image.Extent{}, vcenter.Translate(context.Cause(ctx), what))
			return
		}
		areasOr(o.v.machineAreas(ctx, o.disk, cbt.All), func() { o.known.scan(ctx, what, o.Size(), o.content, o.read, yield) }, yield)
	}
}

// Close implements image.Image.
func (o *machineImage) Close() (err error) {
	o.close.Do(func() {
		o.end()
		err = o.content.Close()
		if o.copy != "" {
			o.v.discard(context.Background(), o.copy)
		}
	})
	return err
}
