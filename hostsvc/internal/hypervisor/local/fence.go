package local

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// Fence implements hypervisor.Machines.
func (l *Local) Fence(ctx context.Context, vm volspec.VMID, r hypervisor.Ref) error {
	v, a, err := l.user(ctx, vm, r)
	if err != nil || a == nil {
		return err
	}
	err = v.removeNode(a.Serial)
	if err == nil {
		if err = l.cutOff(ctx, a); err != nil {
			err = errors.Join(err, v.putNode(a.Serial, a.dev))
		}
	}
	return fail(err, "fencing VM %s off disk %s", v.Name, r.Volume)
}

// cutOff is for a VM that is not asked. When it has cut the loop device, a
// straggler may still write far beyond the image's end; where the file system
// takes that, the image would become enormous. There the disk moves to a new
// file, and the VM keeps the old one, which has no name any more.
func (l *Local) cutOff(ctx context.Context, a *attachment) error {
	s, err := l.source(ctx, a.Ref, true)
	switch errkind.Of(err) {
	case "":
		defer s.close()
	case errkind.Unavailable, errkind.NotFound, errkind.Corrupt: // no disk to move
		if ctx.Err() != nil {
			return err
		}
	default:
		return err
	}
	f, err := a.open(os.O_RDONLY)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := cut(f); err != nil {
		name := l.conf.Load().vmName(a.VM)
		return errkind.Wrap(errkind.InUse, err, "VM %s cannot be cut off disk %s while it runs: power off VM %s", name, a.Volume, name)
	}
	if s != nil && !a.readOnly() {
		if err := s.moveImage(ctx, a); err != nil {
			return err
		}
	}
	return markFenced(f)
}

// moveImage moves the disk to a new file if the old one could grow and is
// still the one behind the loop device.
func (s *source) moveImage(ctx context.Context, a *attachment) error {
	if s.limitsFiles() {
		return nil
	}
	img, err := s.locked(ctx, imgName(a.Ref), os.O_RDONLY, unix.LOCK_EX)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer img.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(img.Fd()), &st); err != nil || st.Ino != a.info.Inode || st.Dev != a.info.Device {
		return err
	}
	return s.build(ctx, imgName(a.Ref), true, func(f *os.File) error {
		format := formatOf(img)
		setFormat(f, format)
		done, err := tryReflink(f, img)
		if err == nil && !done {
			return s.fillCopy(ctx, f, img, s.disk.Size, format)
		}
		if err == nil && format != volspec.Thin {
			// Reserved space is not shared. It is free again when the VM lets go of
			// the old file; until then being without it must not stop the fence.
			_ = reserve(ctx, f, 0, int64(s.disk.Size))
		}
		return errors.Join(err, f.Truncate(int64(s.disk.Size)))
	})
}

// limitsFiles reports whether the file system refuses to write far beyond the
// end of a file.
func (p *place) limitsFiles() bool {
	f, err := p.scratch()
	if err != nil {
		return false
	}
	defer f.Close()
	_, err = f.WriteAt([]byte{0}, farAway)
	return errors.Is(err, unix.EFBIG)
}
