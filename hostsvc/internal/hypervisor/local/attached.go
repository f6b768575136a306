package local

import (
	"context"
	"path"
	"path/filepath"
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

// attachment is a live loop device of ours.
type attachment struct {
	hypervisor.Device
	*loop
}

func (c *conf) attachment(vm volspec.VMID, r hypervisor.Ref) (*attachment, error) {
	all, err := c.attachments(r.Volume)
	for _, a := range all {
		if a.VM == vm && a.Ref == r {
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
		if r.Datastore = c.storeOf(base, r, lo); r.Datastore != "" {
			found = append(found, attachment{lo.device(r, vm), lo})
		}
	}
	return found, err
}

// parseFile splits the path of an image into the datastore's path and the
// disk. It works when the datastore is away.
func parseFile(file string) (base string, r hypervisor.Ref, ok bool) {
	file = strings.TrimSuffix(file, " (deleted)")
	rest, name := path.Split(file)
	rest, group := path.Split(path.Clean(rest))
	id, isImg := strings.CutSuffix(name, imgExt)
	r = hypervisor.Ref{Group: volspec.VMGroupID(group), Volume: volspec.VolumeID(id)}
	base, vols := path.Split(path.Clean(rest))
	return path.Clean(base), r, isImg && vols == volsDir && r.Check() == nil
}

// storeOf names the datastore that has its disks below base: by path, or,
// since a path may have several names, by the image itself.
func (c *conf) storeOf(base string, r hypervisor.Ref, lo *loop) string {
	for name, d := range c.stores {
		if d.Path == base {
			return name
		}
	}
	for name, d := range c.stores {
		if real, err := filepath.EvalSymlinks(d.Path); err == nil && real == base {
			return name
		}
		var st unix.Stat_t
		file := filepath.Join(d.Path, volsDir, string(r.Group), imgName(r))
		if err := unix.Lstat(file, &st); err == nil && st.Ino == lo.info.Inode && st.Dev == lo.info.Device {
			return name
		}
	}
	return ""
}
