package local

import (
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/volspec"
)

// Attached implements hypervisor.Machines.
func (l *Local) Attached(ctx context.Context) ([]hypervisor.Device, error) {
	if err := ended(ctx, "listing the attachments"); err != nil {
		return nil, err
	}
	all, err := l.conf.Load().attachments("")
	var devices []hypervisor.Device
	for _, a := range all {
		devices = append(devices, a.Device)
	}
	return devices, err
}

// attachment is a live loop device of ours. stores are the datastores that the
// disk may be on: one, except when several are away.
type attachment struct {
	hypervisor.Device
	*loop
	stores []string
}

func (c *conf) attachment(vm volspec.VMID, r hypervisor.Ref) (*attachment, error) {
	all, err := c.attachments(r.Volume)
	for _, a := range all {
		if a.VM == vm && a.Group == r.Group && slices.Contains(a.stores, r.Datastore) {
			a.Datastore = r.Datastore
			return &a, nil
		}
	}
	return nil, err
}

// attachments lists what is attached from our datastores; of one volume, or
// of all if it is "".
func (c *conf) attachments(volume volspec.VolumeID) ([]attachment, error) {
	all, err := loops(func(file string) bool {
		_, r, ok := parseFile(file)
		return ok && (volume == "" || r.Volume == volume)
	})
	var found []attachment
	for _, lo := range all {
		base, r, _ := parseFile(lo.file)
		serial, vm, ours := lo.owner()
		if !ours || serial != volspec.Serial(r.Volume) {
			continue
		}
		if stores := c.storesOf(base, r, lo); len(stores) > 0 {
			r.Datastore = stores[0]
			found = append(found, attachment{lo.device(r, vm), lo, stores})
		}
	}
	return found, err
}

// parseFile splits the path of an image into the datastore's path and the
// disk. It works when the datastore is away.
func parseFile(file string) (base string, r hypervisor.Ref, ok bool) {
	file = strings.TrimSuffix(file, deleted)
	rest, name := path.Split(file)
	rest, group := path.Split(path.Clean(rest))
	id, isImg := strings.CutSuffix(name, imgExt)
	r = hypervisor.Ref{Group: volspec.VMGroupID(group), Volume: volspec.VolumeID(id)}
	base, vols := path.Split(path.Clean(rest))
	return path.Clean(base), r, isImg && vols == volsDir && r.Check() == nil
}

// storesOf names the datastore that has its disks below base: by path, or,
// since a path may have several names, by the image itself. None: nil.
func (c *conf) storesOf(base string, r hypervisor.Ref, lo *loop) []string {
	for name, d := range c.stores {
		if d.Path == base {
			return []string{name}
		}
	}
	for name, d := range c.stores {
		if real, err := filepath.EvalSymlinks(d.Path); err == nil && real == base {
			return []string{name}
		}
		if lo.has(filepath.Join(d.Path, volsDir, string(r.Group), imgName(r))) {
			return []string{name}
		}
	}
	return c.awayStores(base, lo)
}

// awayStores names the datastores that are offline and may hold the image. It
// is for a service that had its own mount namespace, as under systemd, and was
// started again: the kernel then knows an image by its path below the mount
// point only.
func (c *conf) awayStores(base string, lo *loop) (names []string) {
	_, vm, _ := lo.owner()
	if _, ours := c.vms[vm]; !ours || strings.HasSuffix(lo.file, deleted) || lo.has(lo.file) {
		return nil
	}
	for name, d := range c.stores {
		if !strings.HasSuffix(d.Path, strings.TrimSuffix(base, "/")) {
			continue
		}
		p, why := d.open()
		if why != nil {
			names = append(names, name)
			continue
		}
		p.close()
	}
	slices.Sort(names)
	return names
}

// has reports whether the loop device is on that file.
func (l *loop) has(file string) bool {
	var st unix.Stat_t
	err := unix.Lstat(file, &st)
	return err == nil && st.Ino == l.info.Inode && st.Dev == l.info.Device
}
