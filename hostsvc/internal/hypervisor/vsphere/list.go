package vsphere

import (
	"context"
	"iter"
	"path"
	"strings"
	"sync"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// listers is how many small files List reads at a time.
const listers = 8

// List implements hypervisor.Disks. The datastore is asked once for all files;
// of each disk its metadata is read besides, and its descriptor where the
// datastore does not say how large it is.
func (v *VSphere) List(ctx context.Context, datastore string) iter.Seq2[hypervisor.Disk, error] {
	return func(yield func(hypervisor.Disk, error) bool) {
		all, strange, err := v.families(ctx, datastore)
		if err != nil {
			yield(hypervisor.Disk{Ref: hypervisor.Ref{Datastore: datastore}}, err)
			return
		}
		for _, name := range strange {
			at := hypervisor.Ref{Datastore: datastore}
			if !yield(hypervisor.Disk{Ref: at}, errkind.New(errkind.Corrupt, "%s on datastore %s is no folder of a vmgroup: move it elsewhere", name, datastore)) {
				return
			}
		}
		for d := range v.statAll(ctx, all) {
			if errkind.Is(d.err, errkind.NotFound) {
				continue // removed meanwhile
			}
			if !yield(d.disk, d.err) {
				return
			}
		}
		if ctx.Err() != nil { // then some may be missing
			yield(hypervisor.Disk{Ref: hypervisor.Ref{Datastore: datastore}}, vcenter.Translate(context.Cause(ctx), "listing datastore "+datastore))
		}
	}
}

// families are all families of a datastore, and what is there besides.
func (v *VSphere) families(ctx context.Context, datastore string) (all []family, strange []string, err error) {
	ds, err := v.datastore(ctx, datastore, false)
	if err != nil {
		return nil, nil, err
	}
	found, err := v.search(ctx, ds, layout.Root, "*", true)
	if err != nil {
		return nil, nil, err
	}
	byRef := map[hypervisor.Ref]family{}
	for _, folder := range found {
		group, inside := groupOf(folder.FolderPath)
		if !inside {
			continue
		}
		if !hypervisor.ValidID(group) {
			strange = append(strange, path.Join(layout.Root, group))
			continue
		}
		addFiles(byRef, ds, volspec.VMGroupID(group), folder.File)
	}
	for _, f := range byRef {
		all = append(all, f)
	}
	return all, strange, nil
}

// groupOf is the folder of a vmgroup that p is; not inside: one above or below.
func groupOf(p string) (group string, inside bool) {
	_, folder, ok := vcenter.SplitPath(p)
	if !ok {
		return "", false
	}
	group, ok = strings.CutPrefix(path.Clean(folder), layout.Root+"/")
	return group, ok && !strings.Contains(group, "/")
}

func addFiles(byRef map[hypervisor.Ref]family, ds vcenter.Datastore, group volspec.VMGroupID, files []types.BaseFileInfo) {
	for _, file := range files {
		n, ok := layout.Parse(path.Base(file.GetFileInfo().Path))
		if !ok {
			continue
		}
		at := hypervisor.Ref{Datastore: ds.Name, Group: group, Volume: n.Volume}
		f, ok := byRef[at]
		if !ok {
			f = family{ds: ds, r: at, files: map[layout.Name]entry{}}
			byRef[at] = f
		}
		f.files[n] = entryOf(file)
	}
}

type listed struct {
	disk hypervisor.Disk
	err  error
}

// statAll describes the disks of families, several at a time. Who stops early
// waits for what was begun.
func (v *VSphere) statAll(ctx context.Context, all []family) iter.Seq[listed] {
	return func(yield func(listed) bool) {
		reading, cancel := context.WithCancel(ctx)
		work, found := make(chan family), make(chan listed)
		var wg sync.WaitGroup
		for range min(listers, len(all)) {
			wg.Go(func() {
				for f := range work {
					d, err := v.statListed(reading, f)
					select {
					case found <- listed{d, err}:
					case <-reading.Done():
					}
				}
			})
		}
		go func() {
			defer close(found)
			defer wg.Wait()
			defer close(work)
			for _, f := range all {
				select {
				case work <- f:
				case <-reading.Done():
					return
				}
			}
		}()
		defer func() {
			cancel()
			for range found {
			}
		}()
		for d := range found {
			if !yield(d) {
				return
			}
		}
	}
}

// statListed is not-found for a family without a disk.
func (v *VSphere) statListed(ctx context.Context, f family) (hypervisor.Disk, error) {
	if err := v.follow(ctx, &f); err != nil {
		return hypervisor.Disk{Ref: f.r}, err
	}
	n, ok := f.disk()
	if !ok {
		return hypervisor.Disk{Ref: f.r}, absent(f.r)
	}
	if e := f.files[n]; e.capacity > 0 && !e.folder {
		return v.withMeta(ctx, f, n, e.capacity, e.thick)
	}
	return v.stat(ctx, f, n)
}
