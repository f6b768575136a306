package vsphere

import (
	"context"
	"path"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/dockvols"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

var _ hypervisor.OldVolumes = (*VSphere)(nil)

// OldVolumes implements hypervisor.OldVolumes; see package dockvols.
func (v *VSphere) OldVolumes(ctx context.Context, datastore string, names map[volspec.VMGroupID]string, record func(hypervisor.OldVolume) ([]byte, error)) ([]hypervisor.OldVolume, error) {
	o := dockvols.Options{Datastore: datastore, Names: names}
	work := dockvols.Plan
	if record != nil {
		work = dockvols.Adopt
		o.Record = func(f dockvols.Volume) ([]byte, error) { return record(oldVolume(datastore, f)) }
	}
	found, err := work(ctx, old{v, datastore}, o)
	var all []hypervisor.OldVolume
	for _, i := range found {
		vol := oldVolume(datastore, i.Volume)
		if i.Action == dockvols.Refused {
			vol.Refusal = i.Detail
		} else {
			vol.Note = i.Detail
		}
		all = append(all, vol)
	}
	return all, err
}

func oldVolume(datastore string, f dockvols.Volume) hypervisor.OldVolume {
	return hypervisor.OldVolume{
		Ref:  hypervisor.Ref{Datastore: datastore, Group: f.Group, Volume: f.ID},
		File: f.File, Name: f.Name, GroupName: f.GroupName, Created: f.Created, CreatedBy: f.CreatedBy, Size: f.Size, Spec: f.Spec,
	}
}

// old is a datastore with volumes of an old installation.
type old struct {
	*VSphere
	datastore string
}

// ID implements dockvols.Store.
func (o old) ID(ctx context.Context) (string, error) {
	ds, err := o.VSphere.datastore(ctx, o.datastore, false)
	return ds.URL, err
}

// Files implements dockvols.Store.
func (o old) Files(ctx context.Context, folder string) (all []dockvols.File, err error) {
	ds, err := o.VSphere.datastore(ctx, o.datastore, false)
	if err != nil {
		return nil, err
	}
	found, err := o.search(ctx, ds, folder, "*", true)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		_, dir, ok := vcenter.SplitPath(f.FolderPath)
		if !ok {
			continue
		}
		for _, file := range f.File {
			info := file.GetFileInfo()
			if _, folder := file.(*types.FolderFileInfo); !folder {
				all = append(all, dockvols.File{Path: path.Join(dir, path.Base(info.Path)), Size: info.FileSize})
			}
		}
	}
	return all, nil
}

// Read implements dockvols.Store.
func (o old) Read(ctx context.Context, file string, limit int64) ([]byte, error) {
	return o.read(ctx, o.datastore, file, limit)
}

// Users implements dockvols.Store.
func (o old) Users(ctx context.Context, folder string) (map[string]string, error) {
	vms, err := o.inv.VMs(ctx)
	if err != nil || len(vms) == 0 {
		return nil, err
	}
	read, whose, err := o.ofVMs(ctx, "looking at the disks of all VMs", vms, "config.hardware.device")
	users := map[string]string{}
	for _, m := range read {
		if m.Config == nil {
			continue
		}
		if err := o.devicesAsGiven(ctx, m.Config.Hardware.Device); err != nil {
			return nil, err
		}
		for _, dev := range m.Config.Hardware.Device {
			for _, at := range filesOf(dev) {
				if ds, file, ok := vcenter.SplitPath(at); ok && ds == o.datastore && strings.HasPrefix(file, folder+"/") {
					users[file] = whose[m.Self].Name
				}
			}
		}
	}
	return users, err
}

// Take implements dockvols.Store. A disk is moved by its name alone, within the
// datastore.
func (o old) Take(ctx context.Context, file string, r hypervisor.Ref) error {
	f, err := o.at(ctx, r, true)
	if err != nil {
		return err
	}
	if _, there := f.disk(); there {
		return errkind.New(errkind.Exists, "disk %s on datastore %s is there already", r.Volume, r.Datastore)
	}
	if err := o.c.Files().MakeFolder(ctx, r.Datastore, layout.Folder(r.Group)); err != nil {
		return err
	}
	n := layout.Name{Volume: r.Volume}
	err = o.moveDisk(ctx, vcenter.Path(r.Datastore, file), f.path(n))
	if vcenter.Lost(err) && ctx.Err() == nil {
		now, again := o.look(ctx, f.ds, r)
		if again == nil && now.has(n) {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return o.settle(ctx, r, n)
}
