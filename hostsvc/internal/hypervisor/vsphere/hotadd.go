package vsphere

import (
	"context"
	"errors"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/pkg/crashpoint"
)

// overHotAdd moves disks by plugging them into the transporter, the VM in which
// this process runs: what is read and written there is all that moves.
type overHotAdd struct{ v *VSphere }

func (overHotAdd) String() string { return "HotAdd" }

// open plugs a disk in such that nothing that is written here would reach it.
func (t overHotAdd) open(ctx context.Context, s source) (content, error) {
	p, err := t.v.plugIn(ctx, plug{what: s.what, ds: s.ds, file: s.file, size: s.size, mode: types.VirtualDiskModeIndependent_nonpersistent})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// send writes the data and nothing else: a new disk reads as zeros.
func (t overHotAdd) send(ctx context.Context, n blank, s *scratch) error {
	ds, file, err := t.v.placeOf(ctx, n.at)
	if err != nil {
		return err
	}
	p, err := t.v.plugIn(ctx, plug{what: n.what, ds: ds, file: file, size: int64(n.size), mode: types.VirtualDiskModeIndependent_persistent})
	if err != nil {
		return err
	}
	err = p.dev.fill(ctx, s)
	crashpoint.Here("vsphere.hotadd.written")
	return errors.Join(err, p.close(ctx))
}
