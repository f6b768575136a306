package driver

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/wire"
)

// beats tells the host service what this guest uses, until ctx ends.
func (d *Driver) beats(ctx context.Context) {
	tick := time.NewTicker(d.o.Beat)
	defer tick.Stop()
	for {
		d.beat(log.WithRequest(ctx, ""))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// beat sends one heartbeat and returns what the service says this guest
// holds; answered is false when it said nothing. Disks that have grown are
// noticed here.
func (d *Driver) beat(ctx context.Context) (held []wire.Attachment, answered bool) {
	mounted, err := d.mountedVolumes()
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Error("mount table cannot be read")
		return nil, false
	}
	b := wire.Heartbeat{BootID: d.o.BootID, Plugin: d.o.Version}
	for id, v := range d.o.Ledger.All() {
		_, is := mounted[id]
		b.Uses = append(b.Uses, wire.VolumeUse{ID: id, Epoch: v.Epoch, Mounted: is, FSBytes: v.FSBytes, FSNote: v.FSNote})
	}
	call, cancel := context.WithTimeout(ctx, beatTime)
	defer cancel()
	reply, err := d.o.Host.Heartbeat(call, b)
	if d.host.saw(err) != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Debug("heartbeat was not answered")
		return nil, false
	}
	for _, a := range reply.Attachments {
		if _, is := mounted[a.ID]; is {
			d.grow(log.With(ctx, log.Volume, a.Name), a)
		}
	}
	return reply.Attachments, true
}

// grow lets a mounted filesystem follow its disk. It also completes the
// record of a volume whose use is only known from the engine.
func (d *Driver) grow(ctx context.Context, a wire.Attachment) {
	if !d.outdated(a) || d.works.running(a.ID) {
		return
	}
	unlock, err := d.locks.Lock(ctx, a.ID)
	if err != nil {
		return
	}
	defer unlock()
	if !d.outdated(a) {
		return
	}
	path, err := d.path(a.ID)
	if err != nil {
		return
	}
	dev, err := d.o.Disks.Lookup(Disk{Serial: a.Serial, Size: a.Size})
	if err != nil { // its new size is not seen here yet
		log.G(ctx).WithField(log.Err, err.Error()).Debug("disk has not grown yet")
		return
	}
	space, err := d.o.Mounts.Grow(ctx, path, dev, filesystem(a).ReadOnly)
	if err != nil {
		log.G(ctx).WithField(log.Err, err.Error()).Warn("filesystem could not be grown, it is tried again")
		return
	}
	d.setAttached(ctx, a, space)
	log.G(ctx).WithField("bytes", space.Bytes).WithField("note", space.Note).Info("size of the filesystem follows its disk")
}

// outdated reports whether the record of an attachment knows less than the
// host service. Epoch 0 is a record made from evidence alone.
func (d *Driver) outdated(a wire.Attachment) bool {
	v, ok := d.o.Ledger.Volume(a.ID)
	return ok && (v.Epoch == 0 || v.Epoch == a.Epoch && v.Size < a.Size)
}
