package fuseimg

import (
	"context"
	"io"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"mooring.dev/mooring/pkg/image"
)

// Content is the bytes of a file. If it is an io.WriterAt too, the file can be
// written to.
type Content interface {
	io.ReaderAt
	Size() int64
}

// File is one file of the tree.
type File struct {
	// Open returns the content. It is called at every use, at the first look at
	// the file's size already, and concurrently. An error is EIO to who looks.
	Open func(context.Context) (Content, error)
	// Damage, if any, learns what could not be read.
	Damage *Damage
}

// Fixed is a file of that content.
func Fixed(c Content, d *Damage) *File {
	return &File{Open: func(context.Context) (Content, error) { return c, nil }, Damage: d}
}

// node is a folder, or a file if it has one.
type node struct {
	fs.Inode
	file *File
}

var (
	_ fs.NodeLookuper   = (*node)(nil)
	_ fs.NodeGetattrer  = (*node)(nil)
	_ fs.NodeSetattrer  = (*node)(nil)
	_ fs.NodeOpener     = (*node)(nil)
	_ fs.NodeReader     = (*node)(nil)
	_ fs.NodeWriter     = (*node)(nil)
	_ fs.NodeFsyncer    = (*node)(nil)
	_ fs.NodeAllocater  = (*node)(nil)
	_ fs.NodeStatfser   = (*node)(nil)
	_ fs.NodeReleaser   = (*node)(nil)
	_ fs.NodeFlusher    = (*node)(nil)
	_ fs.NodeAccesser   = (*node)(nil)
	_ fs.NodeGetxattrer = (*node)(nil)
)

func (n *node) put(name string, child *node) {
	mode := uint32(fuse.S_IFREG)
	if child.file == nil {
		mode = fuse.S_IFDIR
	}
	n.AddChild(name, n.NewPersistentInode(context.Background(), child, fs.StableAttr{Mode: mode}), true)
}

// sub is the folder of that name, made when it is missing.
func (n *node) sub(name string) *node {
	if child := n.GetChild(name); child != nil {
		return child.Operations().(*node)
	}
	d := &node{}
	n.put(name, d)
	return d
}

// content opens the file. The caller may be interrupted by any signal, which
// must not end the opening that others wait for.
func (n *node) content(ctx context.Context) (Content, syscall.Errno) {
	if n.file == nil {
		return nil, syscall.EISDIR
	}
	c, err := n.file.Open(context.WithoutCancel(ctx))
	if err != nil {
		return nil, errno(err)
	}
	return c, 0
}

// Lookup fails where Getattr does: the library would make do with attributes
// of zero, which the kernel would keep.
func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	child := n.GetChild(name)
	if child == nil {
		return nil, syscall.ENOENT
	}
	var attr fuse.AttrOut
	if e := child.Operations().(*node).Getattr(ctx, nil, &attr); e != 0 {
		return nil, e
	}
	out.Attr = attr.Attr
	return child, 0
}

func (n *node) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	out.SetTimes(&started, &started, &started)
	if n.file == nil {
		out.Mode, out.Nlink = fuse.S_IFDIR|0o500, 2
		return 0
	}
	c, e := n.content(ctx)
	if e != 0 {
		return e
	}
	out.Mode, out.Nlink = fuse.S_IFREG|0o400, 1
	if _, ok := c.(io.WriterAt); ok {
		out.Mode |= 0o200
	}
	out.Size = uint64(c.Size())
	out.Blocks, out.Blksize = (out.Size+511)/512, 4096
	return 0
}

// Setattr refuses everything but the times that a write changes.
func (n *node) Setattr(ctx context.Context, f fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if in.Valid&(fuse.FATTR_MODE|fuse.FATTR_UID|fuse.FATTR_GID|fuse.FATTR_SIZE) != 0 {
		return syscall.EPERM
	}
	return n.Getattr(ctx, f, out)
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	c, e := n.content(ctx)
	if e != 0 {
		return nil, 0, e
	}
	if _, ok := c.(io.WriterAt); !ok && flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return nil, 0, syscall.EROFS
	}
	return nil, fuse.FOPEN_DIRECT_IO, 0
}

func (n *node) Read(ctx context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	c, e := n.content(ctx)
	if e != 0 {
		return nil, e
	}
	want := min(int64(len(dest)), c.Size()-off)
	if want <= 0 {
		return fuse.ReadResultData(nil), 0
	}
	dest = dest[:want]
	if got, err := c.ReadAt(dest, off); int64(got) < want {
		n.file.Damage.locate(c, image.Extent{Offset: off, Length: want}, err)
		return nil, errno(err)
	}
	return fuse.ReadResultData(dest), 0
}

func (n *node) Write(ctx context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	c, e := n.content(ctx)
	if e != 0 {
		return 0, e
	}
	w, ok := c.(io.WriterAt)
	if !ok {
		return 0, syscall.EROFS
	}
	if off+int64(len(data)) > c.Size() {
		return 0, syscall.EFBIG
	}
	got, err := w.WriteAt(data, off)
	if err != nil {
		return uint32(got), errno(err)
	}
	return uint32(got), 0
}

// What is written lives no longer than this process: there is nothing to sync.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno { return 0 }

func (n *node) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

func (n *node) Release(context.Context, fs.FileHandle) syscall.Errno { return 0 }

// Allocate is how a loop device discards: not here.
func (n *node) Allocate(context.Context, fs.FileHandle, uint64, uint64, uint32) syscall.Errno {
	return syscall.EOPNOTSUPP
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.Frsize, out.NameLen = 4096, 4096, 255
	return 0
}

// Access is for who may open the tree at all: root.
func (n *node) Access(context.Context, uint32) syscall.Errno { return 0 }

func (n *node) Getxattr(context.Context, string, []byte) (uint32, syscall.Errno) {
	return 0, syscall.ENOTSUP
}
