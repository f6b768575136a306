package vsphere

import (
	"bytes"
	"context"
	"errors"
	"os"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Build implements hypervisor.Imager. The content is gathered in a sparse file
// on this machine and sent to a new disk under a temporary name; it is read back
// and compared, and then gets its name. A disk that is replaced stays where it is: the new one has the
// next number, see package layout.
func (v *VSphere) Build(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string, keep volspec.SnapshotID, fill func(context.Context, image.Target) error) error {
	if err := hypervisor.CheckBuild(size, format, keep); err != nil {
		return err
	}
	f, err := v.at(ctx, r, true)
	if err == nil {
		err = v.goHome(ctx, &f)
	}
	if err != nil {
		return err
	}
	if f.away != nil {
		return errkind.New(errkind.InUse, "disk %s cannot be replaced: %s", r.Volume, f.away.inWords())
	}
	end, ok := v.built.begin(r)
	if !ok {
		return errkind.New(errkind.InUse, "disk %s is being restored already: wait for it and repeat", r.Volume)
	}
	defer end()
	n, err := v.successor(ctx, f, keep)
	if err != nil {
		return err
	}
	if err := v.c.Files().MakeFolder(ctx, r.Datastore, layout.Folder(r.Group)); err != nil {
		return err
	}
	err = v.aside(ctx, f, n, func(temp string) error {
		to := blank{what: "disk " + string(r.Volume) + " on datastore " + r.Datastore, at: temp, size: hypervisor.RoundUp(size, unit), format: format}
		return v.fill(ctx, to, fill)
	})
	if vcenter.Is[*types.FileAlreadyExists](err) {
		return errkind.New(errkind.Exists, "disk %s on datastore %s cannot be built: there is one already", r.Volume, r.Datastore)
	}
	if err != nil {
		return err
	}
	crashpoint.Here("vsphere.build.named")
	return v.settle(ctx, r, n)
}

// successor is the name of the disk that is built.
func (v *VSphere) successor(ctx context.Context, f family, keep volspec.SnapshotID) (layout.Name, error) {
	n := layout.Name{Volume: f.r.Volume}
	last, there := f.disk()
	switch {
	case keep == "" && there:
		return n, errkind.New(errkind.Exists, "disk %s on datastore %s cannot be built: there is one already", f.r.Volume, f.r.Datastore)
	case keep == "":
		return n, nil
	case !there:
		return n, absent(f.r)
	}
	if _, err := v.describe(ctx, f, last); err != nil {
		return n, err
	}
	if err := v.unattached(ctx, f.r, "replaced"); err != nil {
		return n, err
	}
	_, err := v.findSnapshot(ctx, f, keep)
	if err == nil {
		err = errkind.New(errkind.Exists, "the old content of disk %s cannot be kept as snapshot %s: there is one already; use another id", f.r.Volume, keep)
	}
	if !errkind.Is(err, errkind.NotFound) {
		return n, err
	}
	n.ID, n.N = keep, last.N+1
	return n, nil
}

// blank is a disk that is made to be filled.
type blank struct {
	what   string // for sentences
	at     string // as vSphere writes it
	size   volspec.Size
	format string
}

// fill makes a disk and gives it the content that fill writes. After an error
// some of it may be there.
func (v *VSphere) fill(ctx context.Context, n blank, fill func(context.Context, image.Target) error) error {
	// The disk first: whether there is room is known before anything is read.
	if err := v.createDisk(ctx, n.at, n.size, n.format, nil); err != nil {
		return err
	}
	s, err := newScratch(v.o.Scratch, n.what, int64(n.size))
	if err != nil {
		return err
	}
	defer s.close()
	err = fill(ctx, s)
	s.End()
	if err != nil {
		return err
	}
	if empty, err := s.empty(ctx); empty || err != nil {
		return err
	}
	return v.sendTo(ctx, n, s)
}

// compare reads the data of s back. A difference is corrupt.
func compare(ctx context.Context, from reader, s *scratch, what string) error {
	a, b := make([]byte, window), make([]byte, window)
	for e, err := range s.data(ctx) {
		if err != nil {
			return err
		}
		for at := e.Offset; at < e.End(); at += window {
			n := min(window, e.End()-at)
			if _, err := s.f.ReadAt(a[:n], at); err != nil {
				return errkind.Wrap(errkind.Unavailable, err, "reading what was written for %s", what)
			}
			if _, err := from.readAt(ctx, b[:n], at); err != nil {
				return err
			}
			if !bytes.Equal(a[:n], b[:n]) {
				return errkind.New(errkind.Corrupt, "%s was written, and read back with another content near byte %d: look at its datastore", what, at)
			}
		}
	}
	return nil
}

var errScratch = errors.New("the directory for content on its way to a datastore")

// newScratch makes a sparse file that has no name: nothing is left of it.
func newScratch(dir, what string, size int64) (*scratch, error) {
	f, err := os.CreateTemp(dir, "mooring-build-")
	if err == nil {
		err = errors.Join(os.Remove(f.Name()), f.Truncate(size))
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, errkind.Wrap(errkind.Unavailable, errors.Join(errScratch, err), "%s cannot come through this machine: directory %s for content on its way cannot be used; repair it, or set another scratch directory", what, dir)
	}
	return &scratch{image.NewFilling(what, size), f}, nil
}
