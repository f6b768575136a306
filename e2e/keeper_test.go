package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/e2e/harness"
	"mooring.dev/mooring/pkg/wire"
)

// keeper is how the hypervisor of a rig keeps volumes: what there is, and what
// there should be by the catalog.
type keeper interface {
	files() ([]string, error)                      // on the datastore
	plugged(ctx context.Context) ([]string, error) // ids of the disks that VMs have
	nodes(g *plain) []string                       // of disks, in a guest's /dev

	disk(v wire.Volume) string
	snapshot(v wire.Volume, s wire.Snapshot) string
	node(v wire.Volume) string
}

func (r *rig) keeper() keeper {
	if r.vc != nil {
		return vmdks{r}
	}
	return images{r}
}

// images are those of the local hypervisor: files behind loop devices.
type images struct{ r *rig }

func (i images) files() ([]string, error) { return names(i.r.ds) }

func (i images) plugged(context.Context) ([]string, error) { return loopsOf(i.r.ds.Path), nil }

func (i images) nodes(g *plain) []string { return entries(filepath.Join(g.DevDir(), "mooring")) }

func (i images) disk(v wire.Volume) string { return string(v.ID) + ".img" }

func (i images) node(v wire.Volume) string { return v.Serial }

func (i images) snapshot(v wire.Volume, s wire.Snapshot) string {
	return fmt.Sprintf("%s.%s.snap", v.ID, s.ID)
}

// vmdks are those of vSphere: first-class disks with VMs.
type vmdks struct{ r *rig }

var (
	extent = regexp.MustCompile(`-(flat|delta|ctk)\.vmdk$`)
	child  = regexp.MustCompile(`-[0-9]{6}\.vmdk$`) // each snapshot makes one
)

func (d vmdks) files() (out []string, err error) {
	all, err := names(d.r.ds)
	for _, f := range all {
		if extent.MatchString(f) {
			continue // of a disk that is listed itself
		}
		out = append(out, child.ReplaceAllString(f, ".snap"))
	}
	return out, err
}

func (d vmdks) plugged(ctx context.Context) (ids []string, err error) {
	for _, g := range d.r.guests {
		disks, err := d.r.vc.Disks(ctx, g.Guest)
		if err != nil {
			return nil, err
		}
		for _, disk := range disks {
			file := filepath.Base(child.ReplaceAllString(disk.File, ".vmdk"))
			ids = append(ids, strings.TrimSuffix(file, ".vmdk"))
		}
	}
	return ids, nil
}

func (d vmdks) nodes(g *plain) []string { return entries(filepath.Join(g.DevDir(), "disk", "by-id")) }

func (d vmdks) disk(v wire.Volume) string { return string(v.ID) + ".vmdk" }

func (d vmdks) snapshot(v wire.Volume, _ wire.Snapshot) string { return string(v.ID) + ".snap" }

func (d vmdks) node(v wire.Volume) string {
	return "wwn-0x" + strings.ToLower(strings.ReplaceAll(v.Serial, "-", ""))
}

// names are those of the files on a datastore, without their folders.
func names(ds *harness.Datastore) ([]string, error) {
	files, err := ds.Files()
	for i, f := range files {
		files[i] = filepath.Base(f)
	}
	return files, err
}

func entries(dir string) (names []string) {
	found, _ := os.ReadDir(dir)
	for _, e := range found {
		names = append(names, e.Name())
	}
	return names
}

// loopsOf are the ids of the disks below a datastore that have a loop device,
// once for each device, without those that were cut off from their VM: these
// live until the guest closes them.
func loopsOf(dir string) (ids []string) {
	backing, _ := filepath.Glob("/sys/block/loop*/loop/backing_file")
	for _, b := range backing {
		file, err := os.ReadFile(b)
		path := strings.TrimSpace(string(file))
		if err != nil || !strings.HasPrefix(path, dir+"/") {
			continue
		}
		if !strings.HasPrefix(loopLabel("/dev/"+strings.Split(b, "/")[3]), "f:") {
			ids = append(ids, strings.TrimSuffix(filepath.Base(path), ".img"))
		}
	}
	return ids
}

// loopLabel is the name that a loop device was given, "" for a free one.
func loopLabel(dev string) string {
	f, err := os.Open(dev)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return ""
	}
	return unix.ByteSliceToString(info.File_name[:])
}
