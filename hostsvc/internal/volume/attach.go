package volume

import (
	"context"
	"time"

	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/undo"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// Attach gives the calling VM a volume's disk. Repeated in the same boot of
// the VM it answers the same attachment. A disk held by another VM is waited
// for, as long as the caller and Options.AttachWait allow; a holder that is
// off, gone or rebooted loses it at once.
func (s *Service) Attach(ctx context.Context, c volspec.Caller, name string, req wire.Attach) (wire.Attachment, error) {
	wait := min(time.Duration(req.WaitMS)*time.Millisecond, s.o.AttachWait)
	deadline := time.Now().Add(wait)
	for {
		released := s.releasedChan()
		a, err := do(ctx, s, "attaching volume "+name, func(ctx context.Context) (wire.Attachment, error) {
			return s.attach(ctx, c, name, req)
		})
		if !errkind.Is(err, errkind.InUse) || !time.Now().Before(deadline) {
			if k := errkind.Of(err); k == errkind.Denied {
				s.audit(ctx, c, "", "volume attach", name, err)
			}
			return a, err
		}
		// Another mooringd may be the one that releases: look again now and then.
		select {
		case <-released:
		case <-time.After(min(time.Until(deadline), time.Second)):
		case <-ctx.Done():
			return a, err
		}
	}
}

func (s *Service) attach(ctx context.Context, c volspec.Caller, name string, req wire.Attach) (wire.Attachment, error) {
	r, t, unlock, err := s.findLocked(ctx, c, "", name, volspec.DoMount)
	if err != nil {
		return wire.Attachment{}, err
	}
	defer unlock()
	if err := s.online(ctx, r.ref().Datastore, false); err != nil {
		return wire.Attachment{}, err
	}
	if err := s.settle(ctx, r.ID); err != nil {
		return wire.Attachment{}, err
	}
	if r, err = s.reread(ctx, r.ID); errkind.Is(err, errkind.NotFound) {
		return wire.Attachment{}, absent(t.name) // it was settled away
	} else if err != nil {
		return wire.Attachment{}, err
	}
	r, err = s.vacate(ctx, c, r)
	if err != nil {
		return wire.Attachment{}, err
	}
	if r.Holder.VM == c.VM {
		dev, err := s.o.Hypervisor.Attach(ctx, c.VM, r.ref(), r.Holder.ReadOnly)
		return attachment(r, dev.Serial), err
	}
	if r.Format == volspec.Formatting {
		if r, err = s.reset(ctx, r); err != nil {
			return wire.Attachment{}, err
		}
	}
	return s.plug(ctx, c, t, r, req)
}

// vacate makes the disk free for the caller or leaves it where it is already
// the caller's; otherwise errkind.InUse.
func (s *Service) vacate(ctx context.Context, c volspec.Caller, r Record) (Record, error) {
	if r.Holder.VM == "" {
		return r, nil
	}
	gone, err := s.holderGone(ctx, r.Holder)
	if err != nil {
		return r, err
	}
	// A guest that comes back for a disk whose first mkfs it did not finish
	// starts over with a blank one.
	unfinished := r.Holder.VM == c.VM && r.Format == volspec.Formatting
	if gone || unfinished {
		if r, err = s.release(ctx, r); err != nil {
			return r, err
		}
	}
	switch {
	case r.Holder.VM == "":
		return r, nil
	case r.Holder.VM == c.VM && !unfinished && !gone:
		return r, nil
	}
	return r, errkind.New(errkind.InUse, "volume %s is attached to VM %s since %s: stop the containers that use it there, or ask the administrator for `mooring volume detach --force`",
		r.Name(), r.Holder.VMName, r.Holder.Since.Format(time.RFC3339))
}

// reset replaces a half-formatted disk by a blank one.
func (s *Service) reset(ctx context.Context, r Record) (Record, error) {
	r, err := s.begin(ctx, r.ID, Op{Kind: OpReset}, nil)
	if err != nil {
		return r, err
	}
	if err := s.blankDisk(ctx, r); err != nil {
		return r, err
	}
	log.G(ctx).WithField(log.Volume, r.Name().String()).Info("disk replaced by a blank one: its first formatting was interrupted")
	return s.reread(ctx, r.ID)
}

// plug is intent, deed and record of an attach to a VM that does not have the
// disk.
func (s *Service) plug(ctx context.Context, c volspec.Caller, t target, r Record, req wire.Attach) (a wire.Attachment, err error) {
	m, err := s.o.Hypervisor.VM(ctx, c.VM)
	if err != nil {
		return a, err
	}
	if err := s.openView(ctx, r); err != nil {
		return a, err
	}
	boot := m.BootID
	if boot == "" {
		boot = req.BootID
	}
	r, err = s.begin(ctx, r.ID, Op{Kind: OpAttach, VM: c.VM}, func(tx Tx, r *Record) error {
		// Membership and rights may have changed since the name was found.
		g, err := callerGroup(tx, c, "")
		if err != nil {
			return err
		}
		if g.ID != r.Key.Group || r.State != volspec.Ready {
			return absent(t.name)
		}
		r.Holder = Holder{
			VM: c.VM, VMName: c.VMName, BootID: boot, Installation: s.o.Installation,
			Epoch: r.Holder.Epoch + 1, Since: now(),
			// A blank disk is writable once, for its mkfs.
			ReadOnly: r.Spec.Access == volspec.ReadOnly && r.Format == volspec.Formatted,
		}
		return tx.AddAudit(s.entry(ctx, c, g.Name, "volume attach", r.Name().String()))
	})
	if err != nil {
		return a, err
	}
	crashpoint.Here("volume.attach.intent")
	u := undo.New()
	defer func() { err = joined(err, u.Run(ctx)) }()
	u.Add("detach", func(ctx context.Context) error { return s.unplug(ctx, r, c.VM) })
	dev, err := s.o.Hypervisor.Attach(ctx, c.VM, r.ref(), r.Holder.ReadOnly)
	if err != nil {
		return a, err
	}
	crashpoint.Here("volume.attach.disk")
	if r, err = s.end(ctx, r.ID, func(r *Record) { r.Serial = dev.Serial }); err != nil {
		return a, err
	}
	u.Keep()
	crashpoint.Here("volume.attach.done")
	log.G(ctx).WithField(log.Volume, r.Name().String()).WithField(log.VM, c.VMName).Info("volume attached")
	return attachment(r, r.Serial), nil
}

func attachment(r Record, serial string) wire.Attachment {
	return wire.Attachment{
		ID: r.ID, Name: r.Name().String(), Epoch: r.Holder.Epoch, Serial: serial,
		Size: int64(r.Size), ReadOnly: r.Holder.ReadOnly, Format: r.Format, FSUUID: r.FSUUID, Spec: r.Spec,
	}
}
