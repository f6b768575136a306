package driver

import (
	"context"
	"errors"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// format makes the filesystem of a disk that never had one.
//
// Whether the disk is new is the host service's word alone, given once; that
// it reads as zeros is looked at before the grant and again after it. Once a
// grant was used, nobody formats this disk again: if it is not finished the
// service replaces the disk by another one.
func (d *Driver) format(ctx context.Context, a wire.Attachment, dev string, busy bool) error {
	switch {
	case a.Format != volspec.Blank:
		return errkind.New(errkind.InUse, "volume %s is being formatted by somebody else: repeat the command in a moment", a.Name)
	case busy:
		return errkind.New(errkind.InUse, "the disk of volume %s is new but in use: it is not formatted", a.Name)
	case a.ReadOnly:
		return errkind.New(errkind.Internal, "the disk of volume %s is new but attached read-only: it cannot be formatted", a.Name)
	}
	start := time.Now()
	fs := filesystem(a)
	if err := d.o.Disks.CheckBlank(ctx, dev); err != nil {
		return err
	}
	if err := d.setFormat(ctx, a, volspec.Formatting); err != nil {
		return err
	}
	crashpoint.Here("plugin.mount.formatting")
	if err := d.o.Disks.CheckBlank(ctx, dev); err != nil {
		// Nothing was written: the service must not replace the disk as one whose
		// mkfs was interrupted. Data that was not there before the grant is for
		// people to look at; what could not be read is looked at again.
		left := volspec.Blank
		if errkind.Is(err, errkind.Corrupt) {
			left = volspec.Formatted
		}
		return errors.Join(err, d.setFormat(context.WithoutCancel(ctx), a, left))
	}
	if err := d.o.Disks.Format(ctx, dev, fs); err != nil {
		return err
	}
	crashpoint.Here("plugin.mount.mkfs")
	if err := d.setFormat(ctx, a, volspec.Formatted); err != nil {
		return err
	}
	crashpoint.Here("plugin.mount.formatted")
	log.G(ctx).WithField("filesystem", fs.Type).WithField(log.Dur, time.Since(start).Milliseconds()).Info("volume formatted")
	return nil
}

// setFormat tells the service a step of the formatting.
func (d *Driver) setFormat(ctx context.Context, a wire.Attachment, to volspec.Format) error {
	ctx, cancel := context.WithTimeout(ctx, undoTime)
	defer cancel()
	return d.host.saw(d.o.Host.SetFormat(ctx, a.Name, wire.SetFormat{Epoch: a.Epoch, State: to}))
}

// reattach swaps the writable attachment under which a read-only volume was
// formatted, perhaps by a plugin that died right after, for a read-only one.
func (d *Driver) reattach(ctx context.Context, a wire.Attachment) (wire.Attachment, string, error) {
	if err := d.host.saw(d.o.Host.Detach(ctx, a.Name, wire.Detach{Epoch: a.Epoch})); err != nil {
		return a, "", err
	}
	crashpoint.Here("plugin.reattach.detached")
	b, err := d.attach(ctx, a.Name, 0)
	switch {
	case err != nil:
		return a, "", err
	case b.ID != a.ID:
		return a, "", errOther
	case b.Format != volspec.Formatted:
		return a, "", errkind.New(errkind.Internal, "volume %s is %s after it was formatted", b.Name, b.Format)
	}
	d.setAttached(ctx, b, Space{})
	dev, err := d.find(ctx, b)
	return b, dev, err
}
