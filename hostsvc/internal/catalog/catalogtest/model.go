package catalogtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

// state is the catalog as maps.
type state struct {
	groups  map[volspec.VMGroupID]volspec.VMGroup
	members map[volspec.VMID]volspec.Member
	rows    map[tenancy.Place]volspec.Access
	folders map[volspec.Folder]volspec.FolderGrant
	volumes map[volspec.VolumeID]volume.Record
	snaps   map[volspec.SnapshotID]volume.Snapshot
}

func newState() *state {
	return &state{
		groups: map[volspec.VMGroupID]volspec.VMGroup{}, members: map[volspec.VMID]volspec.Member{}, rows: map[tenancy.Place]volspec.Access{},
		folders: map[volspec.Folder]volspec.FolderGrant{},
		volumes: map[volspec.VolumeID]volume.Record{}, snaps: map[volspec.SnapshotID]volume.Snapshot{},
	}
}

// The small worlds from which values are drawn, so that they meet.
var (
	groupIDs  = []volspec.VMGroupID{"g1", "g2", "g3", volspec.DefaultGroupID}
	stores    = []string{"d1", "d2"}
	vms       = []volspec.VMID{"vm1", "vm2", "vm3"}
	volumeIDs = []volspec.VolumeID{"v1", "v2", "v3", "v4", "v5", "v6"}
	names     = []string{"a", "b", "B"}
	folders   = []volspec.Folder{"/d/vm/a", "/d/vm/a/b", "/d/vm/B"}
)

// machine applies each action to the catalog and to the maps, and compares.
type machine struct {
	c Catalog
	s *state
}

// model: random actions leave the catalog equal to a few maps.
func model(t *testing.T, b Backend) {
	c := b.Open(t)
	rapid.Check(t, func(r *rapid.T) {
		wipe(r, c)
		m := machine{c, newState()}
		r.Repeat(map[string]func(*rapid.T){
			"":               m.compare,
			"PutGroup":       m.putGroup,
			"DeleteGroup":    m.deleteGroup,
			"PutMember":      m.putMember,
			"DeleteMember":   m.deleteMember,
			"PutAccess":      m.putAccess,
			"DeleteAccess":   m.deleteAccess,
			"PutFolder":      m.putFolder,
			"DeleteFolder":   m.deleteFolder,
			"PutVolume":      m.putVolume,
			"DeleteVolume":   m.deleteVolume,
			"PutSnapshot":    m.putSnapshot,
			"DeleteSnapshot": m.deleteSnapshot,
			"StaleMeta":      m.staleMeta,
			"Undone":         m.undone,
		})
	})
}

func wipe(t require.TestingT, c Catalog) {
	volumes(t, c, func(tx volume.Tx) error {
		all, err := tx.Volumes(volume.Filter{})
		for _, r := range all {
			err = errors.Join(err, tx.DeleteVolume(r.ID))
		}
		return err
	})
	groups(t, c, func(tx tenancy.Tx) error {
		all, err := tx.Groups()
		for _, g := range all {
			err = errors.Join(err, tx.DeleteGroup(g.ID))
		}
		return err
	})
}

func draw[T any](r *rapid.T, from []T) T { return rapid.SampledFrom(from).Draw(r, "value") }

func someOrNone[T any](r *rapid.T, from []T) (v T) {
	if rapid.Bool().Draw(r, "some") {
		v = draw(r, from)
	}
	return v
}

// expect runs one action and compares the kind of its outcome; an action that
// the model expects to fail must leave no trace.
func (m machine) tenancy(r *rapid.T, want errkind.Kind, fn func(tenancy.Tx) error) bool {
	return expected(r, want, m.c.Tenancy().Update(context.Background(), fn))
}

func (m machine) volume(r *rapid.T, want errkind.Kind, fn func(volume.Tx) error) bool {
	return expected(r, want, m.c.Volumes().Update(context.Background(), fn))
}

func expected(r *rapid.T, want errkind.Kind, err error) (done bool) {
	require.Equal(r, want, errkind.Of(err), "%v", err)
	return err == nil
}

func (m machine) putGroup(r *rapid.T) {
	g := volspec.VMGroup{
		ID: draw(r, groupIDs), Name: draw(r, names), Description: draw(r, names), DefaultDatastore: someOrNone(r, stores),
		Removing: rapid.Bool().Draw(r, "removing"),
		State:    draw(r, []volspec.GroupState{volspec.GroupEnabled, volspec.GroupDisabled, volspec.GroupDeleted}),
	}
	var want errkind.Kind
	for _, other := range m.s.groups {
		if other.Name == g.Name && other.ID != g.ID {
			want = errkind.Exists
		}
	}
	if m.tenancy(r, want, func(tx tenancy.Tx) error { return tx.PutGroup(g) }) {
		m.s.groups[g.ID] = g
	}
}

func (m machine) deleteGroup(r *rapid.T) {
	g := draw(r, groupIDs)
	var want errkind.Kind
	for _, v := range m.s.volumes {
		if v.Key.Group == g {
			want = errkind.InUse
		}
	}
	if m.tenancy(r, want, func(tx tenancy.Tx) error { return tx.DeleteGroup(g) }) {
		delete(m.s.groups, g)
		maps.DeleteFunc(m.s.members, func(_ volspec.VMID, x volspec.Member) bool { return x.Group == g })
		maps.DeleteFunc(m.s.rows, func(p tenancy.Place, _ volspec.Access) bool { return p.Group == g })
		maps.DeleteFunc(m.s.folders, func(_ volspec.Folder, f volspec.FolderGrant) bool { return f.Group == g })
	}
}

// inGroup is the expected kind of putting something into group g.
func (m machine) inGroup(g volspec.VMGroupID) errkind.Kind {
	if _, ok := m.s.groups[g]; !ok {
		return errkind.NotFound
	}
	return ""
}

func (m machine) putMember(r *rapid.T) {
	x := volspec.Member{VM: draw(r, vms), Name: draw(r, names), Group: draw(r, groupIDs)}
	if m.tenancy(r, m.inGroup(x.Group), func(tx tenancy.Tx) error { return tx.PutMember(x) }) {
		m.s.members[x.VM] = x
	}
}

func (m machine) deleteMember(r *rapid.T) {
	vm := draw(r, vms)
	if m.tenancy(r, "", func(tx tenancy.Tx) error { return tx.DeleteMember(vm) }) {
		delete(m.s.members, vm)
	}
}

func (m machine) putAccess(r *rapid.T) {
	a := volspec.Access{
		Group: draw(r, groupIDs), Datastore: draw(r, []string{"d1", "d2", volspec.AllDatastores}),
		AllowCreate: rapid.Bool().Draw(r, "create"), MaxSize: size(r), TotalSize: size(r),
	}
	if m.tenancy(r, m.inGroup(a.Group), func(tx tenancy.Tx) error { return tx.PutAccess(a) }) {
		m.s.rows[tenancy.Place{Group: a.Group, Datastore: a.Datastore}] = a
	}
}

func size(r *rapid.T) volspec.Size {
	return volspec.Size(rapid.Int64Range(0, int64(volspec.MaxSize)/8).Draw(r, "size"))
}

func (m machine) deleteAccess(r *rapid.T) {
	p := tenancy.Place{Group: draw(r, groupIDs), Datastore: draw(r, stores)}
	if m.tenancy(r, "", func(tx tenancy.Tx) error { return tx.DeleteAccess(p.Group, p.Datastore) }) {
		delete(m.s.rows, p)
	}
}

func (m machine) putFolder(r *rapid.T) {
	f := volspec.FolderGrant{Group: draw(r, groupIDs), Folder: draw(r, folders)}
	if m.tenancy(r, m.inGroup(f.Group), func(tx tenancy.Tx) error { return tx.PutFolder(f) }) {
		m.s.folders[f.Folder] = f
	}
}

func (m machine) deleteFolder(r *rapid.T) {
	g, f := draw(r, groupIDs), draw(r, folders)
	if m.tenancy(r, "", func(tx tenancy.Tx) error { return tx.DeleteFolder(g, f) }) && m.s.folders[f].Group == g {
		delete(m.s.folders, f)
	}
}

func live(r volume.Record) bool { return r.State == volspec.Creating || r.State == volspec.Ready }

func (m machine) putVolume(r *rapid.T) {
	v := volume.Record{
		ID: draw(r, volumeIDs), Key: volume.Key{Group: draw(r, groupIDs), Datastore: draw(r, stores), Name: draw(r, names)},
		State:   draw(r, []volspec.State{volspec.Creating, volspec.Ready, volspec.Ready, volspec.Trashed, volspec.Deleting}),
		Format:  draw(r, []volspec.Format{volspec.Blank, volspec.Formatted}),
		Size:    size(r),
		Spec:    volspec.Spec{Size: size(r), MkfsOpts: someOrNone(r, [][]string{{"-m", "1"}}), Protect: rapid.Bool().Draw(r, "protect")},
		Created: time.Unix(rapid.Int64Range(1, 1e9).Draw(r, "created"), 5).UTC(), MetaStale: rapid.Bool().Draw(r, "stale"),
		Holder: volume.Holder{VM: someOrNone(r, vms), Epoch: rapid.Int64().Draw(r, "epoch")},
	}
	if rapid.IntRange(0, 3).Draw(r, "view") == 0 {
		v.ViewOf = "point"
	}
	if rapid.Bool().Draw(r, "op") {
		v.Op = volume.Op{Kind: draw(r, []volume.OpKind{volume.OpGrow, volume.OpAttach}), Size: size(r), VM: someOrNone(r, vms)}
	}
	want := m.inGroup(v.Key.Group)
	for _, other := range m.s.volumes {
		if live(v) && live(other) && other.ID != v.ID && other.Key == v.Key {
			want = errkind.Exists
		}
	}
	if m.volume(r, want, func(tx volume.Tx) error { return tx.PutVolume(v) }) {
		m.s.volumes[v.ID] = v
	}
}

func (m machine) deleteVolume(r *rapid.T) {
	v := draw(r, volumeIDs)
	if m.volume(r, "", func(tx volume.Tx) error { return tx.DeleteVolume(v) }) {
		delete(m.s.volumes, v)
		maps.DeleteFunc(m.s.snaps, func(_ volspec.SnapshotID, p volume.Snapshot) bool { return p.Volume == v })
	}
}

func (m machine) putSnapshot(r *rapid.T) {
	p := volume.Snapshot{
		ID: draw(r, []volspec.SnapshotID{"s1", "s2", "s3"}), Volume: draw(r, volumeIDs), Name: draw(r, names),
		Size: size(r), Created: time.Unix(rapid.Int64Range(1, 3).Draw(r, "created"), 0).UTC(),
		Owner: someOrNone(r, []string{"o1", "o2"}),
	}
	var want errkind.Kind
	for _, other := range m.s.snaps {
		if other.Volume == p.Volume && other.Name == p.Name && other.ID != p.ID {
			want = errkind.Exists
		}
	}
	if _, ok := m.s.volumes[p.Volume]; !ok {
		want = errkind.NotFound
	}
	if m.volume(r, want, func(tx volume.Tx) error { return tx.PutSnapshot(p) }) {
		m.s.snaps[p.ID] = p
	}
}

func (m machine) deleteSnapshot(r *rapid.T) {
	p := draw(r, []volspec.SnapshotID{"s1", "s2", "s3"})
	if m.volume(r, "", func(tx volume.Tx) error { return tx.DeleteSnapshot(p) }) {
		delete(m.s.snaps, p)
	}
}

func (m machine) staleMeta(r *rapid.T) {
	g := draw(r, groupIDs)
	if m.tenancy(r, "", func(tx tenancy.Tx) error { return tx.StaleMeta(g) }) {
		for id, v := range m.s.volumes {
			if v.Key.Group == g {
				v.MetaStale = true
				m.s.volumes[id] = v
			}
		}
	}
}

// undone: a transaction whose function fails at its end changes nothing.
func (m machine) undone(r *rapid.T) {
	g, v := draw(r, groupIDs), draw(r, volumeIDs)
	m.volume(r, errkind.Denied, func(tx volume.Tx) error {
		return errors.Join(tx.DeleteVolume(v), errkind.New(errkind.Denied, "no"))
	})
	m.tenancy(r, errkind.Denied, func(tx tenancy.Tx) error {
		err := tx.PutGroup(volspec.VMGroup{ID: g, Name: "other"})
		return errors.Join(err, errkind.New(errkind.Denied, "no"))
	})
}

func sorted[K comparable, V any](m map[K]V, keep func(V) bool, less func(a, b V) int) []V {
	var all []V
	for _, v := range m {
		if keep(v) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, less)
	return all
}

// compare asks every question, after every third action: there are many.
func (m machine) compare(r *rapid.T) {
	if rapid.IntRange(0, 2).Draw(r, "compare") != 0 {
		return
	}
	view(r, m.c, func(tx volume.Tx) error {
		m.compareVolumes(r, tx)
		return nil
	})
	require.NoError(r, m.c.Tenancy().View(context.Background(), func(tx tenancy.Tx) error {
		m.compareGroups(r, tx)
		return nil
	}))
}

func (m machine) compareVolumes(r *rapid.T, tx volume.Tx) {
	filters := []volume.Filter{
		{}, {Group: draw(r, groupIDs)}, {Datastore: draw(r, stores), Busy: true}, {Held: true}, {Holder: draw(r, vms)},
		{Stale: true}, {Views: true, Group: draw(r, groupIDs)}, {States: []volspec.State{volspec.Trashed, volspec.Deleting}}, {Group: draw(r, groupIDs), States: []volspec.State{volspec.Ready}},
	}
	for _, f := range filters {
		want := sorted(m.s.volumes, func(v volume.Record) bool { return matches(f, v) }, compare)
		got, err := tx.Volumes(f)
		require.NoError(r, err)
		require.Equal(r, want, got, "%+v", f)
	}
	v := draw(r, volumeIDs)
	want := sorted(m.s.snaps, func(p volume.Snapshot) bool { return p.Volume == v }, func(a, b volume.Snapshot) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	got, err := tx.Snapshots(v)
	require.NoError(r, err)
	require.Equal(r, want, got)

	owned, err := tx.OwnedSnapshots()
	require.NoError(r, err)
	require.Equal(r, sorted(m.s.snaps, func(p volume.Snapshot) bool { return p.Owner != "" }, func(a, b volume.Snapshot) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	}), owned)

	vm := draw(r, vms)
	g, err := tx.GroupOfVM(vm)
	wanted, ok := m.s.groups[m.s.members[vm].Group]
	if !ok {
		wanted, ok = m.s.groups[volspec.DefaultGroupID]
	}
	require.Equal(r, ok, err == nil, "%v", err)
	require.Equal(r, wanted, g)
	for id, g := range m.s.groups {
		rights, err := tx.Rights(id)
		require.NoError(r, err)
		require.Equal(r, volspec.Rights{Group: g, Access: m.rowsOf(id)}, rights)
	}
}

func (m machine) rowsOf(g volspec.VMGroupID) []volspec.Access {
	return sorted(m.s.rows, func(a volspec.Access) bool { return a.Group == g },
		func(a, b volspec.Access) int { return cmp.Compare(a.Datastore, b.Datastore) })
}

func (m machine) compareGroups(r *rapid.T, tx tenancy.Tx) {
	all, err := tx.Groups()
	require.NoError(r, err)
	require.Equal(r, sorted(m.s.groups, func(volspec.VMGroup) bool { return true },
		func(a, b volspec.VMGroup) int { return cmp.Compare(a.Name, b.Name) }), all)

	g := draw(r, groupIDs)
	members, err := tx.Members(g)
	require.NoError(r, err)
	byName := func(a, b volspec.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.VM, b.VM)) }
	require.Equal(r, sorted(m.s.members, func(x volspec.Member) bool { return x.Group == g }, byName), members)
	members, err = tx.Members("")
	require.NoError(r, err)
	require.Equal(r, sorted(m.s.members, func(volspec.Member) bool { return true }, byName), members)
	rows, err := tx.AccessRows(g)
	require.NoError(r, err)
	require.Equal(r, m.rowsOf(g), rows)
	rows, err = tx.AccessRows("")
	require.NoError(r, err)
	require.Len(r, rows, len(m.s.rows))
	for _, of := range []volspec.VMGroupID{g, ""} {
		granted, err := tx.Folders(of)
		require.NoError(r, err)
		require.Equal(r, sorted(m.s.folders, func(f volspec.FolderGrant) bool { return of == "" || f.Group == of },
			func(a, b volspec.FolderGrant) int { return cmp.Compare(a.Folder, b.Folder) }), granted)
	}

	vm, held := draw(r, vms), 0
	states := map[volspec.State]int{}
	usages := map[tenancy.Place]volspec.Usage{}
	for _, v := range m.s.volumes {
		if v.Holder.VM == vm || (v.Op.Kind != "" && v.Op.VM == vm) {
			held++
		}
		if v.Key.Group == g {
			states[v.State]++
		}
		place := tenancy.Place{Group: v.Key.Group, Datastore: v.Key.Datastore}
		usages[place] = m.add(usages[place], v)
	}
	n, err := tx.HeldBy(vm)
	require.NoError(r, err)
	require.Equal(r, held, n)
	counted, err := tx.VolumeStates(g)
	require.NoError(r, err)
	require.Equal(r, states, counted)
	summed, err := tx.Usages()
	require.NoError(r, err)
	require.Equal(r, usages, summed)
	for _, ds := range stores {
		u, err := tx.Usage(g, ds)
		require.NoError(r, err)
		require.Equal(r, usages[tenancy.Place{Group: g, Datastore: ds}], u, fmt.Sprint(ds))
	}
}

func (m machine) add(u volspec.Usage, v volume.Record) volspec.Usage {
	bytes := v.Size
	if v.Op.Kind == volume.OpGrow {
		bytes = max(bytes, v.Op.Size)
	}
	if v.ViewOf != "" {
		bytes = 0
	}
	for _, p := range m.s.snaps {
		if p.Volume == v.ID && p.Owner == "" {
			bytes += p.Size
		}
	}
	u.Volumes++
	u.Bytes += bytes
	if v.State == volspec.Trashed || v.State == volspec.Deleting {
		u.Trash += bytes
	}
	return u
}
