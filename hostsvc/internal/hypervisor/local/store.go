package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

const (
	markFile = ".mooring-datastore"
	volsDir  = "dockvols"
)

// mark is the content of markFile.
type mark struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	Name    string `json:"name"` // when it was adopted; only for people
}

const markVersion = 1

// place is an open datastore: what is done through root is done there, even
// if something else is mounted on its path meanwhile.
type place struct {
	Datastore
	root *os.Root
	id   string
	fs   unix.Statfs_t
}

func (p *place) close() { _ = p.root.Close() }

func (p *place) readOnly() bool { return p.fs.Flags&unix.ST_RDONLY != 0 }

func (p *place) free() volspec.Size { return volspec.Size(p.fs.Bavail) * volspec.Size(p.fs.Bsize) }

func (p *place) capacity() volspec.Size {
	return volspec.Size(p.fs.Blocks) * volspec.Size(p.fs.Bsize)
}

// open opens a datastore for reading, or for writing.
func (l *Local) open(ctx context.Context, name string, write bool) (*place, error) {
	if err := ended(ctx, "work on datastore %s", name); err != nil {
		return nil, err
	}
	c := l.conf.Load()
	d, ok := c.stores[name]
	if !ok {
		return nil, errkind.New(errkind.NotFound, "no datastore %s: see the list of datastores", name)
	}
	p, why := c.openStore(ctx, d)
	if why != nil {
		return nil, errkind.New(errkind.Unavailable, "datastore %s is offline: %s", name, why)
	}
	if write && p.readOnly() {
		p.close()
		return nil, errkind.New(errkind.Unavailable, "datastore %s is read-only: make %s writable and repeat", name, d.Path)
	}
	return p, nil
}

// openStore opens a datastore, which is brought back first if it is away.
func (c *conf) openStore(ctx context.Context, d Datastore) (*place, error) {
	p, why := d.open()
	if why == nil {
		return p, nil
	}
	if err := c.ready(ctx, d.Name); err != nil {
		return nil, err
	}
	return d.open()
}

// openRoot opens the path, whatever it holds.
func (d Datastore) openRoot() (*place, error) {
	root, err := os.OpenRoot(d.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist; make it, or mount what belongs there", d.Path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be opened: %w", d.Path, err)
	}
	p := &place{Datastore: d, root: root}
	if err := p.statfs(); err != nil {
		p.close()
		return nil, fmt.Errorf("%s does not answer: %w", d.Path, err)
	}
	return p, nil
}

func (p *place) statfs() error {
	f, err := p.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fstatfs(int(f.Fd()), &p.fs)
}

// syncfs writes out what the file system holds back, and looks at it again.
func (p *place) syncfs() error {
	f, err := p.root.Open(".")
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return err
	}
	return p.statfs()
}

// open opens the datastore if it is one. The error says why not.
func (d Datastore) open() (*place, error) {
	p, err := d.openRoot()
	if err != nil {
		return nil, err
	}
	m, err := readMark(p.root)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("%s is there but is not the datastore (it has no %s): is it mounted?", d.Path, markFile)
	case err != nil:
		err = fmt.Errorf("%s in %s cannot be read: %w", markFile, d.Path, err)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	p.id = m.ID
	return p, nil
}

func readMark(root *os.Root) (m mark, err error) {
	b, err := root.ReadFile(markFile)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return m, err
	}
	if m.Version > markVersion {
		return m, fmt.Errorf("it is of version %d, made by a newer mooringd", m.Version)
	}
	if _, err := uuid.Parse(m.ID); err != nil || m.Version < 1 {
		return m, errors.New("it holds no id")
	}
	return m, nil
}

// Adopt implements hypervisor.Adopter.
func (l *Local) Adopt(ctx context.Context, name string) (string, error) {
	if err := ended(ctx, "adopting datastore %s", name); err != nil {
		return "", err
	}
	c := l.conf.Load()
	d, ok := c.stores[name]
	if !ok {
		return "", errkind.New(errkind.NotFound, "no datastore %s: see the list of datastores", name)
	}
	if why := c.ready(ctx, name); why != nil {
		return "", errkind.New(errkind.Unavailable, "datastore %s cannot be adopted: %s", name, why)
	}
	p, why := d.openRoot()
	if why != nil {
		return "", errkind.New(errkind.Unavailable, "datastore %s cannot be adopted: %s", name, why)
	}
	defer p.close()
	if _, err := readMark(p.root); errors.Is(err, fs.ErrNotExist) {
		if _, err := p.root.Lstat(volsDir); err == nil {
			return "", errkind.New(errkind.Exists, "datastore %s cannot be adopted: %s holds disks in %s but no %s; put that file back, or use another folder", name, d.Path, volsDir, markFile)
		}
		if err := p.putMark(name); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fail(err, "adopting datastore %s at %s", name, d.Path)
		}
	}
	m, err := readMark(p.root)
	if err != nil {
		return "", errkind.Wrap(errkind.Corrupt, err, "datastore %s cannot be adopted: %s in %s cannot be read", name, markFile, d.Path)
	}
	if err := p.root.Mkdir(volsDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fail(err, "adopting datastore %s at %s", name, d.Path)
	}
	return m.ID, fail(p.sync("."), "adopting datastore %s at %s", name, d.Path)
}

// putMark writes a new mark unless somebody was faster.
func (p *place) putMark(name string) (err error) {
	b, err := json.Marshal(mark{Version: markVersion, ID: uuid.NewString(), Name: name})
	if err != nil {
		return err
	}
	tmp := markFile + "." + uuid.NewString()
	f, err := p.root.OpenFile(tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.root.Remove(tmp)) }()
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return p.root.Link(tmp, markFile)
}

// sync makes changes to a folder durable.
func (p *place) sync(dir string) error {
	f, err := p.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// knowledge is what was found out about datastores, by id.
type knowledge struct {
	mu      sync.Mutex // guards reflink
	reflink map[string]bool
}

// Datastores implements hypervisor.Datastores.
func (l *Local) Datastores(ctx context.Context) ([]hypervisor.Datastore, error) {
	var all []hypervisor.Datastore
	c := l.conf.Load()
	for _, d := range c.stores {
		if err := ended(ctx, "listing the datastores"); err != nil {
			return nil, err
		}
		all = append(all, l.describe(ctx, c, d))
	}
	slices.SortFunc(all, func(a, b hypervisor.Datastore) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func (l *Local) describe(ctx context.Context, c *conf, d Datastore) hypervisor.Datastore {
	h := hypervisor.Datastore{Name: d.Name, Path: d.Path, Unit: sector, State: hypervisor.Online}
	p, why := c.openStore(ctx, d)
	if why != nil {
		h.State, h.Detail = hypervisor.Offline, why.Error()
		return h
	}
	defer p.close()
	h.ID, h.Type = p.id, fsType(int64(p.fs.Type))
	h.Capacity, h.Free = p.capacity(), p.free()
	err := unix.EROFS
	if !p.readOnly() {
		h.Reflink, why = l.stores.probe(p)
	} else {
		why = err
		h.Reflink = l.stores.known(p.id)
	}
	if why != nil && !errors.Is(why, unix.ENOSPC) && !errors.Is(why, unix.EDQUOT) {
		h.State, h.Detail = hypervisor.ReadOnlyStore, fmt.Sprintf("%s cannot be written to: %v", d.Path, why)
	}
	return h
}

func (k *knowledge) known(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.reflink[id]
}

// probe writes to the datastore, and at the first time clones what it wrote.
func (k *knowledge) probe(p *place) (reflink bool, err error) {
	a, err := p.scratch()
	if err != nil {
		return k.known(p.id), err
	}
	defer a.Close()
	if _, err := a.Write(make([]byte, 4096)); err != nil {
		return k.known(p.id), err
	}
	k.mu.Lock()
	reflink, done := k.reflink[p.id]
	k.mu.Unlock()
	if done {
		return reflink, nil
	}
	b, err := p.scratch()
	if err != nil {
		return false, err
	}
	defer b.Close()
	if reflink, err = tryReflink(b, a); err != nil {
		return false, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reflink == nil {
		k.reflink = map[string]bool{}
	}
	k.reflink[p.id] = reflink
	return reflink, nil
}

// scratch is an open file that is gone when it is closed.
func (p *place) scratch() (*os.File, error) {
	name := ".mooring-probe-" + uuid.NewString()
	f, err := p.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := p.root.Remove(name); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func fsType(magic int64) string {
	switch uint32(magic) {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	case unix.F2FS_SUPER_MAGIC:
		return "f2fs"
	case 0x2fc12fc1:
		return "zfs"
	}
	return fmt.Sprintf("%#x", uint32(magic))
}
