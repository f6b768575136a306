package vsphere

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"
	vslmtypes "github.com/vmware/govmomi/vslm/types"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/vcenter"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// A first-class disk is a registration of the disk that lies at its place. The
// place decides what there is, so that a registration that is lost, or was not
// made yet when something broke off, is made when it is next needed.

// Keys of the metadata that a first-class disk bears: what it is, for whoever
// meets it elsewhere.
const (
	keyVolume = "mooring.volume"
	keyGroup  = "mooring.vmgroup"
)

// What every first-class disk of ours is: it outlives the VM that it is attached
// to, and its changes are tracked. Setting one flag leaves the others.
const (
	keepFlag  = string(types.VslmVStorageObjectControlFlagKeepAfterDeleteVm)
	trackFlag = string(types.VslmVStorageObjectControlFlagEnableChangedBlockTracking)
)

// firstClass is a first-class disk.
type firstClass struct {
	id      types.ID
	running string // where its content is now, as vSphere writes it
	base    string // where it is without its snapshots
	kind    string // how it is provisioned
	bears   map[string]string
	kept    bool // it outlives the VM that it is attached to
	tracked bool
	chained bool // it has snapshots
}

// registry remembers ids of first-class disks by the place of their base.
type registry struct {
	mu  sync.Mutex // guards ids
	ids map[string]types.ID
}

func (r *registry) get(at string) (types.ID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, ok := r.ids[at]
	return id, ok
}

func (r *registry) put(at string, id types.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids = map[string]types.ID{}
	}
	r.ids[at] = id
}

func (r *registry) drop(at string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.ids, at)
}

// global does something with the manager of first-class disks.
func (v *VSphere) global(ctx context.Context, what string, f func(ctx context.Context, m *vslm.GlobalObjectManager) error) error {
	return v.c.WithVSLM(ctx, what, func(ctx context.Context, vs *vslm.Client) error {
		return f(ctx, vslm.NewGlobalObjectManager(vs))
	})
}

// globalTask runs a task of the manager of first-class disks.
func (v *VSphere) globalTask(ctx context.Context, what string, f func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error)) error {
	v.sweepTransporter(ctx)
	_, err := v.c.VSLMTask(ctx, what, func(ctx context.Context, vs *vslm.Client) (*vslm.Task, error) {
		return f(ctx, vslm.NewGlobalObjectManager(vs))
	})
	return err
}

// class is firstClass for a disk of a family, wherever it lies.
func (v *VSphere) class(ctx context.Context, f family, n layout.Name) (firstClass, error) {
	if f.strays(n) {
		return v.retrieve(ctx, types.ID{Id: f.away.fcd})
	}
	return v.firstClass(ctx, f.r, n)
}

// firstClass is the first-class disk that n of r is; it becomes one when it is
// none yet.
func (v *VSphere) firstClass(ctx context.Context, r hypervisor.Ref, n layout.Name) (firstClass, error) {
	d, err := v.findFirstClass(ctx, r, n)
	switch {
	case errkind.Is(err, errkind.NotFound):
		return v.register(ctx, r, n)
	case err == nil && !d.kept: // its registration broke off
		err = v.mark(ctx, r, d.id, keepFlag)
	}
	return d, err
}

// findFirstClass is firstClass for what is not to be registered: not-found.
func (v *VSphere) findFirstClass(ctx context.Context, r hypervisor.Ref, n layout.Name) (firstClass, error) {
	at := vcenter.Path(r.Datastore, fileOf(r, n))
	if id, ok := v.registry.get(at); ok {
		d, err := v.retrieve(ctx, id)
		if err == nil && basePath(d.running) == at {
			return d, nil
		}
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return firstClass{}, err
		}
		v.registry.drop(at)
	}
	ids, err := v.named(ctx, string(r.Volume))
	if err != nil {
		return firstClass{}, err
	}
	for _, id := range ids {
		d, err := v.retrieve(ctx, id)
		if errkind.Is(err, errkind.NotFound) {
			continue
		}
		if err != nil {
			return firstClass{}, err
		}
		if basePath(d.running) == at {
			v.registry.put(at, id)
			return d, nil
		}
	}
	return firstClass{}, errkind.New(errkind.NotFound, "disk %s is no first-class disk", at)
}

// basePath is the place of the disk of which p is a child, or p.
func basePath(p string) string {
	datastore, file, ok := vcenter.SplitPath(p)
	if !ok {
		return p
	}
	n, ok := layout.Parse(path.Base(file))
	if !ok {
		return p
	}
	return vcenter.Path(datastore, path.Join(path.Dir(file), n.Base().String()))
}

func (v *VSphere) named(ctx context.Context, name string) (ids []types.ID, err error) {
	query := vslmtypes.VslmVsoVStorageObjectQuerySpec{
		QueryField:    string(vslmtypes.VslmVsoVStorageObjectQuerySpecQueryFieldEnumName),
		QueryOperator: string(vslmtypes.VslmVsoVStorageObjectQuerySpecQueryOperatorEnumEquals),
		QueryValue:    []string{name},
	}
	err = v.global(ctx, "looking for first-class disk "+name, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		res, err := m.ListObjectsForSpec(ctx, []vslmtypes.VslmVsoVStorageObjectQuerySpec{query}, 1000)
		if err == nil && res != nil {
			ids = res.Id
		}
		return err
	})
	return ids, err
}

func (v *VSphere) retrieve(ctx context.Context, id types.ID) (d firstClass, err error) {
	what := "looking at first-class disk " + id.Id
	err = v.global(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		o, err := m.Retrieve(ctx, id)
		if err != nil {
			return err
		}
		is := func(b *bool) bool { return b != nil && *b }
		d = firstClass{id: id, kept: is(o.Config.KeepAfterDeleteVm), tracked: is(o.Config.ChangedBlockTrackingEnabled)}
		backing, ok := o.Config.Backing.(types.BaseBaseConfigInfoFileBackingInfo)
		if !ok {
			return errkind.New(errkind.Unsupported, "first-class disk %s is kept in a way that is not known (%T)", id.Id, o.Config.Backing)
		}
		file := backing.GetBaseConfigInfoFileBackingInfo()
		d.running, d.chained = file.FilePath, file.Parent != nil
		for d.base = file.FilePath; file.Parent != nil; d.base = file.FilePath {
			file = file.Parent.GetBaseConfigInfoFileBackingInfo()
		}
		if b, ok := o.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo); ok {
			d.kind = b.ProvisioningType
		}
		d.bears = map[string]string{}
		for _, m := range o.Config.Metadata {
			d.bears[m.Key] = m.Value
		}
		return nil
	})
	if err == nil {
		d.running, err = v.asGiven(ctx, d.running)
	}
	if err == nil {
		d.base, err = v.asGiven(ctx, d.base)
	}
	if vcenter.Is[*types.InvalidArgument](err) { // how some versions say that there is none
		err = errkind.Wrap(errkind.NotFound, err, "%s: there is none", what)
	}
	return d, err
}

// register makes the disk n of r a first-class disk, where it lies. One that is
// one already, under another name, is taken as it is.
func (v *VSphere) register(ctx context.Context, r hypervisor.Ref, n layout.Name) (firstClass, error) {
	file := fileOf(r, n)
	at := vcenter.Path(r.Datastore, file)
	what := "making disk " + at + " a first-class disk"
	dc, err := v.c.Datacenter(ctx)
	if err != nil {
		return firstClass{}, err
	}
	var id types.ID
	err = v.global(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		u := object.NewDatastoreURL(url.URL{Scheme: "https", Host: v.c.Host()}, dc.InventoryPath, r.Datastore, file)
		o, err := m.RegisterDisk(ctx, u.String(), string(r.Volume))
		if err == nil {
			id = o.Config.Id
		}
		return err
	})
	if there, ok := vcenter.As[*types.AlreadyExists](err); ok {
		d, again := v.retrieve(ctx, types.ID{Id: there.Name})
		if again == nil && basePath(d.running) == at {
			return d, nil
		}
	}
	if err != nil {
		return firstClass{}, err
	}
	if err := v.mark(ctx, r, id, keepFlag, trackFlag); err != nil {
		return firstClass{}, err
	}
	v.registry.put(at, id)
	return firstClass{id: id, running: at, base: at, kept: true, tracked: true}, nil
}

// mark gives a first-class disk flags, and says on it what it is.
func (v *VSphere) mark(ctx context.Context, r hypervisor.Ref, id types.ID, flags ...string) error {
	what := fmt.Sprintf("marking first-class disk %s of volume %s", id.Id, r.Volume)
	err := v.global(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		return m.SetControlFlags(ctx, id, flags)
	})
	if err != nil {
		return err
	}
	return v.globalTask(ctx, what, func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.UpdateMetadata(ctx, id, []types.KeyValue{
			{Key: keyVolume, Value: string(r.Volume)}, {Key: keyGroup, Value: string(r.Group)},
		}, nil)
	})
}

// removeFirstClass deletes a first-class disk with its snapshots. Absent: nil.
func (v *VSphere) removeFirstClass(ctx context.Context, d firstClass) error {
	if d.chained {
		snaps, err := v.snapshotsOf(ctx, d)
		if err != nil && !errkind.Is(err, errkind.NotFound) {
			return err
		}
		for _, s := range snaps {
			if err := v.dropSnapshot(ctx, d, s.id); err != nil {
				return err
			}
		}
	}
	err := v.globalTask(ctx, "removing first-class disk "+d.id.Id, func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.Delete(ctx, d.id)
	})
	if errkind.Is(err, errkind.NotFound) {
		err = nil
	}
	if err == nil {
		v.registry.drop(basePath(d.running))
	}
	return err
}

// Snapshots of ours say so in their description; of a temporary one it says
// for what.
const (
	snapshotLabel = "mooring snapshot "
	copyLabel     = "mooring copy "
)

// classSnapshot is a snapshot of a first-class disk.
type classSnapshot struct {
	id      types.ID
	label   string // its description
	created time.Time
}

// left reports whether the snapshot is of a copy that broke off long ago.
func (s classSnapshot) left() bool {
	return strings.HasPrefix(s.label, copyLabel) && time.Since(s.created) > abandoned
}

// abandoned is the age at which what belongs to one operation is of none that
// still runs.
const abandoned = 48 * time.Hour

// of is the id that the snapshot bears with us.
func (s classSnapshot) of() (volspec.SnapshotID, bool) {
	id, ok := strings.CutPrefix(s.label, snapshotLabel)
	return volspec.SnapshotID(id), ok && hypervisor.ValidID(id)
}

func (v *VSphere) snapshotsOf(ctx context.Context, d firstClass) (all []classSnapshot, err error) {
	err = v.global(ctx, "listing the snapshots of first-class disk "+d.id.Id, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		found, err := m.RetrieveSnapshotInfo(ctx, d.id)
		all = nil
		for _, s := range found {
			if s.Id != nil {
				all = append(all, classSnapshot{*s.Id, s.Description, s.CreateTime})
			}
		}
		return err
	})
	return all, err
}

// labelled is the snapshot with a description.
func labelled(all []classSnapshot, label string) (classSnapshot, bool) {
	i := slices.IndexFunc(all, func(s classSnapshot) bool { return s.label == label })
	if i < 0 {
		return classSnapshot{}, false
	}
	return all[i], true
}

// sweepSnapshots removes what copies that broke off have left, and returns what
// stays.
func (v *VSphere) sweepSnapshots(ctx context.Context, d firstClass, all []classSnapshot) ([]classSnapshot, error) {
	var stay []classSnapshot
	for _, s := range all {
		if !s.left() {
			stay = append(stay, s)
			continue
		}
		if err := v.dropSnapshot(ctx, d, s.id); err != nil {
			return nil, err
		}
	}
	return stay, nil
}

func (v *VSphere) takeSnapshot(ctx context.Context, d firstClass, label string) error {
	return v.globalTask(ctx, "making a snapshot of first-class disk "+d.id.Id, func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.CreateSnapshot(ctx, d.id, label)
	})
}

func (v *VSphere) dropSnapshot(ctx context.Context, d firstClass, id types.ID) error {
	err := v.globalTask(ctx, "removing a snapshot of first-class disk "+d.id.Id, func(ctx context.Context, m *vslm.GlobalObjectManager) (*vslm.Task, error) {
		return m.DeleteSnapshot(ctx, d.id, id)
	})
	if errkind.Is(err, errkind.NotFound) {
		return nil
	}
	return err
}

// details are where the content of a snapshot lies, and its change id.
func (v *VSphere) details(ctx context.Context, d firstClass, id types.ID) (at, changeID string, err error) {
	err = v.global(ctx, "looking at a snapshot of first-class disk "+d.id.Id, func(ctx context.Context, m *vslm.GlobalObjectManager) error {
		found, err := m.RetrieveSnapshotDetails(ctx, d.id, id)
		if err == nil {
			at, changeID = found.Path, found.ChangedBlockTrackingId
		}
		return err
	})
	return at, changeID, err
}

// ourIDs are the ids of those snapshots that are ours, sorted.
func ourIDs(all []classSnapshot) []volspec.SnapshotID {
	ids := map[volspec.SnapshotID]bool{}
	for _, s := range all {
		if id, ok := s.of(); ok {
			ids[id] = true
		}
	}
	return slices.Sorted(maps.Keys(ids))
}
