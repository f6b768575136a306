package vsphere

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/cbt"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// change names a moment of a disk: how large it was then, and what change
// tracking calls the moment. Over a change of size tracking is not believed.
type change struct {
	size volspec.Size
	id   string
}

func (c change) String() string { return fmt.Sprintf("%d@%s", c.size, c.id) }

func parseChange(s string) (c change, ok bool) {
	size, id, ok := strings.Cut(s, "@")
	n, err := strconv.ParseInt(size, 10, 64)
	return change{volspec.Size(n), id}, ok && err == nil
}

// machineAreas asks change tracking of a snapshot's disk: for what changed since
// a moment, or for all that is allocated.
func (v *VSphere) machineAreas(ctx context.Context, d frozenDisk, since string) image.Extents {
	what := fmt.Sprintf("asking for changed areas of %s", d)
	if d.tracked == "" {
		return func(yield func(image.Extent, error) bool) {
			yield(image.Extent{}, errkind.New(errkind.Unsupported, "changes of %s are not tracked", d))
		}
	}
	return cbt.Areas(ctx, cbt.QuerierFunc(func(ctx context.Context, offset int64) (b cbt.Batch, err error) {
		err = v.c.Read(ctx, what, func(ctx context.Context, vc *vim25.Client) error {
			res, err := methods.QueryChangedDiskAreas(ctx, vc, &types.QueryChangedDiskAreas{
				This: d.of.vm.Ref, Snapshot: &d.of.snapshot.Snapshot, DeviceKey: d.device.Key, StartOffset: offset, ChangeId: since,
			})
			if err != nil {
				return err
			}
			b = cbt.Batch{Offset: res.Returnval.StartOffset, Length: res.Returnval.Length}
			for _, a := range res.Returnval.ChangedArea {
				b.Areas = append(b.Areas, image.Extent{Offset: a.Start, Length: a.Length})
			}
			return nil
		})
		if err != nil && ctx.Err() == nil {
			err = cbt.Explain(err)
		}
		return b, err
	}), int64(d.Size))
}

// ChangedMachineDisk implements hypervisor.MachineImager.
func (v *VSphere) ChangedMachineDisk(ctx context.Context, vm volspec.VMID, id volspec.SnapshotID, key, since string) image.Extents {
	return func(yield func(image.Extent, error) bool) {
		d, err := v.findMachineDisk(ctx, vm, id, key)
		if err != nil {
			yield(image.Extent{}, err)
			return
		}
		from, err := d.since(since)
		if err != nil {
			yield(image.Extent{}, d.untold(err))
			return
		}
		for e, err := range v.machineAreas(ctx, d, from) {
			if !yield(e, d.untold(err)) {
				return
			}
		}
	}
}

// since is the moment to ask change tracking with. Where its answer would not be
// believed: unsupported.
func (d frozenDisk) since(s string) (string, error) {
	was, ok := parseChange(s)
	switch {
	case !ok:
		return "", errkind.New(errkind.Unsupported, "%q names no moment of a disk", s)
	case was.size != d.Size:
		return "", errkind.New(errkind.Unsupported, "its size was %s and is %s now, over which tracking is not believed", was.size, d.Size)
	}
	from, err := cbt.Compare(was.id, d.tracked)
	if err != nil {
		return "", err
	}
	return from.String(), nil
}

// untold says of which disk changes cannot be told, with the reason.
func (d frozenDisk) untold(err error) error {
	if !errkind.Is(err, errkind.Unsupported) {
		return err
	}
	return errkind.New(errkind.Unsupported, "what changed on %s cannot be told: %s", d, errkind.Text(err))
}
