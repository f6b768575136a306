package local

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// at checks r and opens its datastore.
func (l *Local) at(ctx context.Context, r hypervisor.Ref, write bool) (*place, error) {
	if err := r.Check(); err != nil {
		return nil, err
	}
	return l.open(ctx, r.Datastore, write)
}

func absent(r hypervisor.Ref) error {
	return errkind.New(errkind.NotFound, "no disk %s on datastore %s", r.Volume, r.Datastore)
}

// Create implements hypervisor.Disks.
func (l *Local) Create(ctx context.Context, r hypervisor.Ref, size volspec.Size, format string) error {
	if err := hypervisor.CheckNew(size, format); err != nil {
		return err
	}
	size = hypervisor.RoundUp(size, sector)
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	err = p.newImage(ctx, r, size, func(f *os.File) error { return p.fillBlank(ctx, f, size, format) })
	return fail(err, "creating disk %s on datastore %s", r.Volume, r.Datastore)
}

// newImage makes the image of r with fill, unless one of that size is there.
func (p *place) newImage(ctx context.Context, r hypervisor.Ref, size volspec.Size, fill func(*os.File) error) error {
	err := p.inFolder(r, func(d *folder) error {
		if done, err := d.complete(r, size); done || err != nil {
			return err
		}
		err := d.build(ctx, imgName(r), false, fill)
		if errors.Is(err, fs.ErrExist) {
			_, err = d.complete(r, size)
		}
		return err
	})
	if err != nil {
		return errors.Join(err, p.removeFolder(r.Group))
	}
	return nil
}

// complete reports whether the image of r is there with that size. Another
// size: exists.
func (d *folder) complete(r hypervisor.Ref, size volspec.Size) (bool, error) {
	st, err := d.image(r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case volspec.Size(st.Size) != size:
		return false, errkind.New(errkind.Exists, "disk %s on datastore %s exists with %s, not %s", r.Volume, r.Datastore, volspec.Size(st.Size), size)
	}
	return true, nil
}

// Delete implements hypervisor.Disks.
func (l *Local) Delete(ctx context.Context, r hypervisor.Ref) error {
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	d, err := p.folder(r.Group)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer d.close()
		err = l.deleteIn(ctx, d, r)
	}
	if err == nil {
		err = p.removeFolder(r.Group)
	}
	return fail(err, "removing disk %s on datastore %s", r.Volume, r.Datastore)
}

func (l *Local) deleteIn(ctx context.Context, d *folder, r hypervisor.Ref) error {
	_, err := d.image(r)
	switch {
	case err == nil:
		f, err := d.locked(ctx, imgName(r), os.O_RDONLY, unix.LOCK_EX)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := l.unattached(f, r, "removed"); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist) && !errkind.Is(err, errkind.Corrupt):
		return err
	}
	names, err := d.of(r)
	if err != nil || len(names) == 0 {
		return err
	}
	// The image first: without it there is no disk, whatever else is left.
	if err := d.remove(imgName(r)); err != nil {
		return err
	}
	crashpoint.Here("local.delete.image")
	for _, n := range names {
		if err := d.remove(n); err != nil {
			return err
		}
	}
	return d.dir.Sync()
}

// Stat implements hypervisor.Disks.
func (l *Local) Stat(ctx context.Context, r hypervisor.Ref) (hypervisor.Disk, error) {
	p, err := l.at(ctx, r, false)
	if err != nil {
		return hypervisor.Disk{Ref: r}, err
	}
	defer p.close()
	d, err := p.folder(r.Group)
	if errors.Is(err, fs.ErrNotExist) {
		return hypervisor.Disk{Ref: r}, absent(r)
	}
	if err != nil {
		return hypervisor.Disk{Ref: r}, fail(err, "reading disk %s on datastore %s", r.Volume, r.Datastore)
	}
	defer d.close()
	return d.describe(r)
}

func (d *folder) describe(r hypervisor.Ref) (hypervisor.Disk, error) {
	st, err := d.image(r)
	if errors.Is(err, fs.ErrNotExist) {
		return hypervisor.Disk{Ref: r}, absent(r)
	}
	if err != nil {
		return hypervisor.Disk{Ref: r}, fail(err, "reading disk %s on datastore %s", r.Volume, r.Datastore)
	}
	return hypervisor.Disk{
		Ref: r, Size: volspec.Size(st.Size), Allocated: volspec.Size(st.Blocks) * 512, Meta: d.meta(r),
	}, nil
}

// maxMeta bounds what is read of a metadata file; ours are below 64 KiB.
const maxMeta = 1 << 20

// meta is the metadata of r, nil when missing or unreadable.
func (d *folder) meta(r hypervisor.Ref) []byte {
	st, err := d.stat(metaName(r))
	if err != nil || !regular(st) || st.Size > maxMeta {
		return nil
	}
	f, err := d.openFile(metaName(r), os.O_RDONLY)
	if err != nil {
		return nil
	}
	defer f.Close()
	b := make([]byte, st.Size)
	if n, err := f.ReadAt(b, 0); n < len(b) || (err != nil && n == 0 && len(b) > 0) {
		return nil
	}
	return b
}

// PutMeta implements hypervisor.Metadata.
func (l *Local) PutMeta(ctx context.Context, r hypervisor.Ref, data []byte) error {
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	err = p.inFolder(r, func(d *folder) error {
		return d.build(ctx, metaName(r), true, func(f *os.File) error {
			_, err := f.Write(data)
			return err
		})
	})
	return fail(err, "writing the metadata of disk %s on datastore %s", r.Volume, r.Datastore)
}

// Grow implements hypervisor.Disks.
func (l *Local) Grow(ctx context.Context, r hypervisor.Ref, size volspec.Size) error {
	if err := hypervisor.CheckSize(size); err != nil {
		return err
	}
	size = hypervisor.RoundUp(size, sector)
	p, err := l.at(ctx, r, true)
	if err != nil {
		return err
	}
	defer p.close()
	d, err := p.folder(r.Group)
	if errors.Is(err, fs.ErrNotExist) {
		return absent(r)
	}
	if err == nil {
		defer d.close()
		err = l.growIn(ctx, p, d, r, size)
	}
	return fail(err, "growing disk %s on datastore %s", r.Volume, r.Datastore)
}

func (l *Local) growIn(ctx context.Context, p *place, d *folder, r hypervisor.Ref, size volspec.Size) error {
	if _, err := d.describe(r); err != nil {
		return err
	}
	f, err := d.locked(ctx, imgName(r), os.O_RDWR, unix.LOCK_EX)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	have := volspec.Size(st.Size())
	if size < have {
		return errkind.New(errkind.Invalid, "disk %s has %s and cannot shrink to %s", r.Volume, have, size)
	}
	if size > have {
		if err := p.grow(ctx, f, int64(have), int64(size)); err != nil {
			return err
		}
	}
	crashpoint.Here("local.grow.file")
	// Also when it had the size already: a crash may have come between.
	users, err := usersOf(f, imgName(r))
	if err != nil {
		return err
	}
	for _, u := range users {
		if err := u.resize(); err != nil {
			return err
		}
	}
	return nil
}

// List implements hypervisor.Disks.
func (l *Local) List(ctx context.Context, datastore string) iter.Seq2[hypervisor.Disk, error] {
	return func(yield func(hypervisor.Disk, error) bool) {
		p, err := l.open(ctx, datastore, false)
		if err != nil {
			yield(hypervisor.Disk{Ref: hypervisor.Ref{Datastore: datastore}}, err)
			return
		}
		defer p.close()
		groups, err := fs.ReadDir(p.root.FS(), volsDir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(hypervisor.Disk{Ref: hypervisor.Ref{Datastore: datastore}}, fail(err, "listing datastore %s", datastore))
			return
		}
		for _, g := range groups {
			if !p.listGroup(ctx, volspec.VMGroupID(g.Name()), yield) {
				return
			}
		}
	}
}

// listGroup yields the disks of one vmgroup; false: no more are wanted.
func (p *place) listGroup(ctx context.Context, g volspec.VMGroupID, yield func(hypervisor.Disk, error) bool) bool {
	at := hypervisor.Ref{Datastore: p.Name, Group: g}
	if !hypervisor.ValidID(string(g)) {
		return yield(hypervisor.Disk{Ref: at}, errkind.New(errkind.Corrupt, "%s on datastore %s is no folder of a vmgroup: move it elsewhere", path.Join(volsDir, string(g)), p.Name))
	}
	d, err := p.folder(g)
	if errors.Is(err, fs.ErrNotExist) {
		return true // removed meanwhile
	}
	if err != nil {
		return yield(hypervisor.Disk{Ref: at}, errkind.Wrap(errkind.Corrupt, err, "the folder of vmgroup %s on datastore %s is unreadable", g, p.Name))
	}
	defer d.close()
	more := true
	err = d.each(func(name string) bool {
		id, ok := strings.CutSuffix(name, imgExt)
		if !ok {
			return true
		}
		r := at
		r.Volume = volspec.VolumeID(id)
		if err := ended(ctx, "listing datastore %s", p.Name); err != nil {
			yield(hypervisor.Disk{Ref: at}, err)
			more = false
			return false
		}
		if !hypervisor.ValidID(id) {
			more = yield(hypervisor.Disk{Ref: at}, errkind.New(errkind.Corrupt, "%s in the folder of vmgroup %s on datastore %s is not the name of a disk: move it elsewhere", name, g, p.Name))
			return more
		}
		disk, err := d.describe(r)
		if errkind.Is(err, errkind.NotFound) {
			return true // removed meanwhile
		}
		more = yield(disk, err)
		return more
	})
	if err != nil && more {
		return yield(hypervisor.Disk{Ref: at}, fail(err, "listing vmgroup %s on datastore %s", g, p.Name))
	}
	return more
}
