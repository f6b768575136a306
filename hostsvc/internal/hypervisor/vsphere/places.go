package vsphere

import (
	"path"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/volspec"
)

// placeKey begins the settings of a VM that say which of its disks are ours, by
// their serials, and where each belongs. vSphere moves disks with their VM to
// other folders and other names, and keeps serials and settings.
const placeKey = "mooring.disk."

// places are where disks of a VM belong, by their serials. A copy of a VM has
// the settings too, but not the disks: they are for the VM that they name.
type places map[string]string

func placesOf(vm volspec.VMID, extra map[string]string) places {
	all := places{}
	for key, value := range extra {
		of, at, _ := strings.Cut(value, " ")
		if s, ok := strings.CutPrefix(key, placeKey); ok && of == string(vm) {
			all[s] = at
		}
	}
	return all
}

// remember is the setting for a disk; at is "" for one that leaves the VM.
func remember(vm volspec.VMID, serial, at string) types.BaseOptionValue {
	value := string(vm) + " " + at
	if at == "" {
		value = ""
	}
	return &types.OptionValue{Key: placeKey + serial, Value: value}
}

// settings are those of a VM that are texts, by their names in lower case.
func settings(all []types.BaseOptionValue) map[string]string {
	extra := map[string]string{}
	for _, o := range all {
		if s, ok := o.GetOptionValue().Value.(string); ok {
			extra[strings.ToLower(o.GetOptionValue().Key)] = s
		}
	}
	return extra
}

// away is where a disk lies that is not at its place.
type away struct {
	name   layout.Name // at its place
	at     string      // as vSphere writes it, without snapshots
	fcd    string      // id of the first-class disk, "" when it is none
	serial string
}

// volume tells of which volume a disk of a VM is the disk.
func (p places) volume(d *types.VirtualDisk) (hypervisor.Ref, bool) {
	b, ok := d.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return hypervisor.Ref{}, false
	}
	r, _, ok := p.whose(baseOf(b), b, d.VDiskId)
	return r, ok
}

// whose tells of which volume a disk of a VM is the disk, from where it lies or
// from where it belongs.
func (p places) whose(base, running *types.VirtualDiskFlatVer2BackingInfo, id *types.ID) (r hypervisor.Ref, a *away, ok bool) {
	if r, ok = layout.RefOf(base.FileName); ok {
		return r, nil, true
	}
	place := p[serial(running.Uuid)]
	if r, ok = layout.RefOf(place); !ok {
		return r, nil, false
	}
	_, file, _ := vcenter.SplitPath(place)
	a = &away{at: base.FileName, serial: serial(running.Uuid)}
	a.name, _ = layout.Parse(path.Base(file))
	if id != nil {
		a.fcd = id.Id
	}
	return r, a, true
}
