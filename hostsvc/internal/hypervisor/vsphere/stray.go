package vsphere

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/vmware/govmomi/vim25/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/log"
	"mooring.dev/mooring/pkg/volspec"
)

// When vSphere moves a VM to another datastore it takes the VM's disks along,
// ours among them, to the VM's folder and under the VM's name. Such a disk is
// found through the VM that has it, and through a note at its place, which is
// written before the VM loses it. It goes back when no VM has it.

// strayed is a disk that is not at its place.
type strayed struct {
	away
	running string      // where its content is
	vm      *attachment // who has it, nil when nobody has
	why     string      // it was not moved back
}

// awayNote is what is written at the place of a disk that lies elsewhere.
type awayNote struct {
	At     string `json:"at"`
	FCD    string `json:"fcd,omitempty"`
	Serial string `json:"serial,omitempty"`
	Why    string `json:"why,omitempty"`
}

// follow finds the volume's disk when it is not at its place.
func (v *VSphere) follow(ctx context.Context, f *family) error {
	if n, ok := f.here(); ok && (!f.files[n].folder || !f.has(noteOf(n))) {
		return nil
	}
	a, err := v.holder(ctx, f.r)
	if err != nil {
		return err
	}
	if a != nil && a.disk.away != nil {
		f.away = &strayed{away: *a.disk.away, running: a.disk.running, vm: a}
		return nil
	}
	n := f.latest()
	if f.has(noteOf(n)) {
		if err := v.fromNote(ctx, f, n); f.away != nil || err != nil {
			return err
		}
	}
	// One whose VM was deleted before anybody saw that it had been moved. Only
	// a disk that has been a volume has a record.
	if v.o.Disk == FCD && f.has(layout.Name{Volume: f.r.Volume, Kind: layout.Meta}) {
		return v.fromCatalog(ctx, f, n)
	}
	return nil
}

// noteOf is the note about a disk that is not at its place.
func noteOf(n layout.Name) layout.Name {
	n.Kind = layout.Away
	return n
}

// fromNote finds a disk by what was noted.
func (v *VSphere) fromNote(ctx context.Context, f *family, n layout.Name) error {
	at := f.file(noteOf(n))
	data, err := v.read(ctx, f.r.Datastore, at, maxMeta)
	if errkind.Is(err, errkind.NotFound) {
		return nil // it was moved back meanwhile
	}
	if err != nil {
		return err
	}
	var note awayNote
	if err := json.Unmarshal(data, &note); err != nil {
		return errkind.Wrap(errkind.Corrupt, err, "disk %s is not at its place, and %s, which should say where it is, is unreadable: move the disk to %s", f.r.Volume, at, f.place(n))
	}
	s := &strayed{away: away{name: n, at: note.At, fcd: note.FCD, serial: note.Serial}, running: note.At, why: note.Why}
	if note.FCD != "" {
		d, err := v.retrieve(ctx, types.ID{Id: note.FCD})
		if errkind.Is(err, errkind.NotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		s.at, s.running = d.base, d.running
		f.away = s
		return nil
	}
	there, err := v.exists(ctx, note.At)
	if err != nil {
		return err
	}
	if !there && f.has(n.Temp()) { // it was on its way, and has come so far
		if err := v.name(ctx, *f, n); err != nil {
			return err
		}
		return v.arrived(ctx, f, n)
	}
	if !there && note.Why == beingRemoved {
		return nil
	}
	if !there {
		return errkind.New(errkind.Corrupt, "disk %s was moved to %s by vSphere, and is not there any more: move it to %s", f.r.Volume, note.At, f.place(n))
	}
	f.away = s
	return nil
}

// fromCatalog finds a first-class disk by what it bears.
func (v *VSphere) fromCatalog(ctx context.Context, f *family, n layout.Name) error {
	ids, err := v.named(ctx, string(f.r.Volume))
	if err != nil {
		return err
	}
	for _, id := range ids {
		d, err := v.retrieve(ctx, id)
		if errkind.Is(err, errkind.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		_, placed := layout.RefOf(d.base)
		if !placed && d.bears[keyVolume] == string(f.r.Volume) && d.bears[keyGroup] == string(f.r.Group) {
			f.away = &strayed{away: away{name: n, at: d.base, fcd: d.id.Id}, running: d.running}
			return nil
		}
	}
	return nil
}

// exists looks for a disk by its place, as vSphere writes it.
func (v *VSphere) exists(ctx context.Context, at string) (bool, error) {
	files, err := v.chainAt(ctx, at)
	return len(files) > 0 && files[0].base, err
}

// fileOfDisk is a file of a disk that is not of our layout.
type fileOfDisk struct {
	base      bool
	allocated int64
}

var childEnd = regexp.MustCompile(`^-[0-9]{6}\.vmdk$`)

// chainAt are the descriptors of a disk and its children, the disk first.
func (v *VSphere) chainAt(ctx context.Context, at string) (files []fileOfDisk, err error) {
	datastore, file, ok := vcenter.SplitPath(at)
	if !ok {
		return nil, nil
	}
	ds, err := v.inv.Datastore(ctx, datastore)
	if err != nil {
		return nil, err
	}
	stem := strings.TrimSuffix(path.Base(file), ".vmdk")
	found, err := v.search(ctx, ds, path.Dir(file), stem+"*.vmdk", false)
	for _, folder := range found {
		for _, info := range folder.File {
			rest := strings.TrimPrefix(path.Base(info.GetFileInfo().Path), stem)
			one := fileOfDisk{base: rest == ".vmdk", allocated: entryOf(info).allocated}
			switch {
			case one.base:
				files = append([]fileOfDisk{one}, files...)
			case childEnd.MatchString(rest):
				files = append(files, one)
			}
		}
	}
	return files, err
}

// takes is the room of a thin disk that is not of our layout.
func (v *VSphere) takes(ctx context.Context, at string, size volspec.Size) (volspec.Size, error) {
	files, err := v.chainAt(ctx, at)
	var sum volspec.Size
	for _, one := range files {
		sum += volspec.Size(one.allocated)
	}
	return min(sum, size), err
}

// noteAway writes where a disk is, at its place.
func (v *VSphere) noteAway(ctx context.Context, r hypervisor.Ref, a away, why string) error {
	data, err := json.Marshal(awayNote{At: a.at, FCD: a.fcd, Serial: a.serial, Why: why})
	if err != nil {
		return errkind.Wrap(errkind.Internal, err, "noting where disk %s is", r.Volume)
	}
	return v.putFile(ctx, r, noteOf(a.name), data)
}

// noteAll notes where disks are that were found with VMs elsewhere than at their
// places, so that they are found when a VM loses one by another way than ours.
func (v *VSphere) noteAll(ctx context.Context, found map[types.ManagedObjectReference][]plugged) {
	for _, disks := range found {
		for _, p := range disks {
			if p.away == nil {
				continue
			}
			if err := v.noteAway(ctx, p.Ref, *p.away, ""); err != nil {
				log.G(ctx).WithField(log.Volume, string(p.Volume)).WithField(log.Err, err.Error()).Warn("where a disk is that vSphere has moved could not be noted")
			}
		}
	}
}

// noteBeforeDetach is noteAway for a disk that is about to leave its VM. A
// first-class disk is found without the note too.
func (v *VSphere) noteBeforeDetach(ctx context.Context, r hypervisor.Ref, a *away) error {
	err := v.noteAway(ctx, r, *a, "")
	if vcenter.Lost(err) && ctx.Err() == nil {
		err = v.noteAway(ctx, r, *a, "")
	}
	if err == nil || a.fcd != "" {
		return nil
	}
	return errkind.Wrap(errkind.Of(err), err, "disk %s lies at %s, where vSphere moved it, and would not be found any more without its VM: make its own datastore %s writable, and repeat", r.Volume, a.at, r.Datastore)
}

// inWords says where the disk is and what brings it back.
func (s *strayed) inWords() string {
	where := fmt.Sprintf("its disk lies at %s, where vSphere moved it with its VM; ", s.at)
	switch {
	case s.vm != nil:
		return where + "it is moved back when VM " + s.vm.vm.Name + " lets go of it"
	case s.why == keptThere:
		return fmt.Sprintf("its disk lies at %s; it is used from there, nothing is to be done", s.at)
	case s.why != "":
		return where + "it could not be moved back (" + s.why + "): remove that obstacle, then attach and detach the volume"
	}
	return where + "it is moved back when it is next used"
}
