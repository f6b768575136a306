package disk

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

// settle is how long a device may stay busy after its last mount has gone:
// the kernel finishes some of that work later.
const settle = 5 * time.Second

// Format makes the filesystem, see driver.Disks. The owner of its root is set
// before anybody else can see it: a filesystem that was formatted completely
// has its owner.
func (g *Guest) Format(ctx context.Context, device string, fs driver.Filesystem) error {
	busy, err := g.Busy(device)
	if err != nil {
		return err
	}
	if busy {
		return errkind.New(errkind.InUse, "%s is in use: it is not formatted", device)
	}
	opts, err := volspec.MkfsArgs(fs.Type, fs.MkfsOpts)
	if err != nil {
		return err
	}
	if fs.Thick {
		opts = append(noDiscard(fs.Type), opts...)
	}
	args, err := mkfsArgs(fs.Type, fs.UUID, opts, device)
	if err != nil {
		return err
	}
	// A mkfs that outlives this process must never open, by this path, the disk
	// that was plugged in after this one was taken away: it keeps it open, and
	// so it cannot be taken away.
	held, err := os.OpenFile(device, os.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return errkind.Wrap(errkind.Unavailable, err, "open %s to format it", device)
	}
	defer func() { _ = held.Close() }() // nothing was written through it
	if _, err := toolWith(ctx, []*os.File{held}, nil, "mkfs."+fs.Type, args...); err != nil {
		return err
	}
	if fs.UID == nil && fs.GID == nil && fs.Mode == nil && fs.Type != volspec.Ext4 {
		return nil
	}
	return g.aside(ctx, device, fs.Type, nil, func(dir int) error { return errors.Join(empty(dir), own(dir, fs)) })
}

// noDiscard keeps mkfs from discarding the disk first, which punches the
// reserved room out of the image of a thick one.
func noDiscard(fstype string) []string {
	if fstype == volspec.Ext4 {
		return []string{"-E", "nodiscard"}
	}
	return []string{"-K"}
}

// mkfsArgs has no force flag and no label. What ext4 would zero in the
// background after the first mount it zeroes now: otherwise a first backup
// is followed by gigabytes of changed blocks.
func mkfsArgs(fstype, uuid string, opts []string, device string) ([]string, error) {
	var args []string
	switch fstype {
	case volspec.Ext4:
		rest, extended := extendedOptions(opts)
		args = append([]string{"-q", "-E", strings.Join(append([]string{"lazy_itable_init=0", "lazy_journal_init=0"}, extended...), ",")}, rest...)
		if uuid != "" {
			args = append(args, "-U", uuid)
		}
	case volspec.XFS:
		args = append([]string{"-q"}, opts...)
		if uuid != "" {
			args = append(args, "-m", "uuid="+uuid)
		}
	case volspec.Btrfs:
		args = append([]string{"-q"}, opts...)
		if uuid != "" {
			args = append(args, "-U", uuid)
		}
	default:
		return nil, errkind.New(errkind.Invalid, "filesystem %q is not supported: use ext4, xfs or btrfs", fstype)
	}
	return append(args, device), nil
}

// extendedOptions takes the values of -E out of opts: of several -E mke2fs
// heeds the last one only.
func extendedOptions(opts []string) (rest, extended []string) {
	for i := 0; i < len(opts); i++ {
		if opts[i] == "-E" && i+1 < len(opts) {
			extended = append(extended, opts[i+1])
			i++
			continue
		}
		rest = append(rest, opts[i])
	}
	return rest, extended
}

// idle waits until nobody has the device open exclusively.
func (g *Guest) idle(ctx context.Context, device string) error {
	deadline := time.Now().Add(settle)
	for pause := firstPoll; ; pause = min(2*pause, lastPoll) {
		busy, err := g.Busy(device)
		if err != nil || !busy {
			return err
		}
		if time.Now().After(deadline) {
			return errkind.New(errkind.InUse, "%s is still in use", device)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
