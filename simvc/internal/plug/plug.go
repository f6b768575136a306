// Package plug shows attached disks to a guest that is a process of the same
// machine: each as a loop device with a node and a link by identity in the
// guest's /dev. It needs root.
package plug

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Disk is what a guest is to see.
type Disk struct {
	UUID     string // as backing.uuid
	Path     string // extent on the host
	ReadOnly bool
}

// Guest is the /dev of one guest. Its methods are not for concurrent use.
type Guest struct {
	dir  string
	devs map[string]*device // by link name
}

type device struct {
	node string // in the guest's /dev
	loop int
	size int64
	ino  uint64
	ro   bool
}

// Open takes over a guest's /dev, with the devices that a predecessor plugged.
func Open(dir string) (*Guest, error) {
	g := &Guest{dir: dir, devs: make(map[string]*device)}
	if err := os.MkdirAll(g.links(), 0o755); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(g.links())
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if d := g.inherit(filepath.Join(g.links(), e.Name())); d != nil {
			g.devs[e.Name()] = d
		}
	}
	return g, nil
}

func (g *Guest) links() string { return filepath.Join(g.dir, "disk", "by-id") }

// link is the name that a guest's udev makes of an identity.
func link(uuid string) string { return "wwn-0x" + serial(uuid) }

func serial(uuid string) string { return strings.ToLower(strings.ReplaceAll(uuid, "-", "")) }

const loopMajor = 7

// inherit finds the loop device behind a link that is there.
func (g *Guest) inherit(path string) *device {
	node, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	if unix.Stat(node, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(st.Rdev) != loopMajor {
		return nil
	}
	d := &device{node: node, loop: int(unix.Minor(st.Rdev))}
	f, err := os.OpenFile(fmt.Sprintf("/dev/loop%d", d.loop), os.O_RDONLY, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
	if err != nil {
		return nil
	}
	d.ino, d.ro = info.Inode, info.Flags&unix.LO_FLAGS_READ_ONLY != 0
	return d
}

// Sync plugs and unplugs until the guest sees exactly these disks, in their
// present sizes.
func (g *Guest) Sync(disks []Disk) error {
	var errs []error
	want := make(map[string]bool)
	for _, k := range disks {
		name := link(k.UUID)
		want[name] = true
		var st unix.Stat_t
		if err := unix.Stat(k.Path, &st); err != nil {
			errs = append(errs, err)
			continue
		}
		if d := g.devs[name]; d != nil {
			if d.ino == st.Ino && d.ro == k.ReadOnly {
				errs = append(errs, d.resize(st.Size))
				continue
			}
			errs = append(errs, g.unplug(name))
		}
		errs = append(errs, g.plug(name, k, st))
	}
	for name := range g.devs {
		if !want[name] {
			errs = append(errs, g.unplug(name))
		}
	}
	return errors.Join(errs...)
}

func (g *Guest) plug(name string, k Disk, st unix.Stat_t) error {
	n, err := attach(k)
	if err != nil {
		return fmt.Errorf("a loop device for %s: %w", k.Path, err)
	}
	d := &device{loop: n, size: st.Size, ino: st.Ino, ro: k.ReadOnly, node: g.freeNode()}
	if err := unix.Mknod(d.node, unix.S_IFBLK|0o660, int(unix.Mkdev(loopMajor, uint32(n)))); err != nil {
		return errors.Join(err, d.detach())
	}
	l := filepath.Join(g.links(), name)
	_ = os.Remove(l)
	if err := os.Symlink("../../"+filepath.Base(d.node), l); err != nil {
		return errors.Join(err, os.Remove(d.node), d.detach())
	}
	g.devs[name] = d
	return nil
}

// freeNode is the next name a kernel would give: sdb, sdc ...; sda is the
// system's.
func (g *Guest) freeNode() string {
	for n := 1; ; n++ {
		name := ""
		for i := n; i >= 0; i = i/26 - 1 {
			name = string(rune('a'+i%26)) + name
		}
		path := filepath.Join(g.dir, "sd"+name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
}

func (g *Guest) unplug(name string) error {
	d := g.devs[name]
	delete(g.devs, name)
	return errors.Join(os.Remove(filepath.Join(g.links(), name)), os.Remove(d.node), d.detach())
}

// Close unplugs everything.
func (g *Guest) Close() error { return g.Sync(nil) }
