package catalogtest

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/tenancy"
	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
)

func records(t *testing.T, b Backend) {
	c := open(t, b)
	r := filled[volume.Record]()
	r.Key.Group, r.State = groupA, volspec.Ready
	empty := volume.Record{ID: id(2), Key: volume.Key{Group: groupA}, State: volspec.Ready}
	p := filled[volume.Snapshot]()
	p.Volume = r.ID
	g := filled[volspec.VMGroup]()
	m, a := filled[volspec.Member](), filled[volspec.Access]()
	m.Group, a.Group = g.ID, g.ID
	for range 2 { // inserted, then replaced by the same
		groups(t, c, func(tx tenancy.Tx) error {
			require.NoError(t, tx.PutGroup(g))
			require.NoError(t, tx.PutMember(m))
			return tx.PutAccess(a)
		})
		volumes(t, c, func(tx volume.Tx) error {
			require.NoError(t, tx.PutVolume(r))
			require.NoError(t, tx.PutVolume(empty))
			return tx.PutSnapshot(p)
		})
		view(t, c, func(tx volume.Tx) error {
			got, err := tx.Volume(r.ID)
			require.NoError(t, err)
			assert.Equal(t, r, got)
			got, err = tx.VolumeByKey(r.Key)
			require.NoError(t, err)
			assert.Equal(t, r, got)
			got, err = tx.Volume(empty.ID)
			require.NoError(t, err)
			assert.Equal(t, empty, got)
			snaps, err := tx.Snapshots(r.ID)
			require.NoError(t, err)
			assert.Equal(t, []volume.Snapshot{p}, snaps)
			rights, err := tx.Rights(g.ID)
			require.NoError(t, err)
			assert.Equal(t, volspec.Rights{Group: g, Access: []volspec.Access{a}}, rights)
			return nil
		})
		groups(t, c, func(tx tenancy.Tx) error {
			got, err := tx.Member(m.VM)
			require.NoError(t, err)
			assert.Equal(t, m, got)
			return nil
		})
	}
}

// keys: a live key is taken once; the trash has no names.
func keys(t *testing.T, b Backend) {
	c := open(t, b)
	first, second := record(1, groupA, "ds", "v"), record(2, groupA, "ds", "v")
	volumes(t, c, func(tx volume.Tx) error { return tx.PutVolume(first) })
	for _, live := range []volspec.State{volspec.Creating, volspec.Ready} {
		second.State = live
		err := c.Volumes().Update(t.Context(), func(tx volume.Tx) error { return tx.PutVolume(second) })
		require.Equal(t, errkind.Exists, errkind.Of(err), "%v", err)
	}
	volumes(t, c, func(tx volume.Tx) error {
		// The refusal does not spoil the transaction.
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutVolume(second)))
		for n, k := range []volume.Key{{Group: groupB, Datastore: "ds", Name: "v"}, {Group: groupA, Datastore: "ds2", Name: "v"}, {Group: groupA, Datastore: "ds", Name: "V"}} {
			r := record(10+n, k.Group, k.Datastore, k.Name)
			require.NoError(t, tx.PutVolume(r), "another place: %v", k)
		}
		first.State = volspec.Trashed
		require.NoError(t, tx.PutVolume(first))
		_, err := tx.VolumeByKey(first.Key)
		require.Equal(t, errkind.NotFound, errkind.Of(err))
		require.NoError(t, tx.PutVolume(second), "the name of what lies in the trash is free")
		third := record(3, groupA, "ds", "v")
		third.State = volspec.Deleting
		require.NoError(t, tx.PutVolume(third))
		got, err := tx.VolumeByKey(first.Key)
		require.NoError(t, err)
		require.Equal(t, second.ID, got.ID)
		first.State = volspec.Ready
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutVolume(first)), "it cannot come back while another has its name")
		return nil
	})
}

func paging(t *testing.T, b Backend) {
	c := open(t, b)
	var all []volume.Record
	volumes(t, c, func(tx volume.Tx) error {
		all = nil
		for n := range 60 {
			r := record(n, []volspec.VMGroupID{groupA, groupB}[n%2], fmt.Sprintf("ds%d", n%3), fmt.Sprintf("v%d", n/4))
			if n%5 == 0 {
				r.State = volspec.Trashed
			}
			all = append(all, r)
			require.NoError(t, tx.PutVolume(r))
		}
		return nil
	})
	slices.SortFunc(all, compare)
	filters := []volume.Filter{{}, {Group: groupA}, {Datastore: "ds1"}, {Group: groupB, States: []volspec.State{volspec.Trashed}}, {States: []volspec.State{volspec.Ready}}}
	for _, f := range filters {
		want := slices.DeleteFunc(slices.Clone(all), func(r volume.Record) bool { return !matches(f, r) })
		require.NotEmpty(t, want)
		for _, limit := range []int{1, 7, 60, 0} {
			var got []volume.Record
			view(t, c, func(tx volume.Tx) error {
				f := f
				f.Limit, got = limit, nil
				for {
					page, err := tx.Volumes(f)
					require.NoError(t, err)
					got = append(got, page...)
					if limit == 0 || len(page) < limit {
						return nil
					}
					last := page[len(page)-1]
					f.After = volume.Cursor{Group: last.Key.Group, Name: last.Key.Name, Datastore: last.Key.Datastore, ID: last.ID}
				}
			})
			assert.Equal(t, ids(want), ids(got), "filter %+v, limit %d", f, limit)
		}
	}
}

func ids(all []volume.Record) (list []volspec.VolumeID) {
	for _, r := range all {
		list = append(list, r.ID)
	}
	return list
}

func compare(a, b volume.Record) int {
	return cmp.Or(cmp.Compare(a.Key.Group, b.Key.Group), cmp.Compare(a.Key.Name, b.Key.Name),
		cmp.Compare(a.Key.Datastore, b.Key.Datastore), cmp.Compare(a.ID, b.ID))
}

func matches(f volume.Filter, r volume.Record) bool {
	return (f.Group == "" || r.Key.Group == f.Group) &&
		(f.Datastore == "" || r.Key.Datastore == f.Datastore) &&
		(len(f.States) == 0 || slices.Contains(f.States, r.State)) &&
		(f.Holder == "" || r.Holder.VM == f.Holder) &&
		(!f.Held || r.Holder.VM != "") &&
		(!f.Busy || r.Op.Kind != "") &&
		(!f.Stale || r.MetaStale) &&
		(!f.Views || r.ViewOf != "")
}

// order: texts compare byte by byte, not as a language would sort them.
func order(t *testing.T, b Backend) {
	c := open(t, b)
	names := []string{"a", "B", "_x", "-y", "ä", "Z", "a b", "ab", "日本", "😀"}
	volumes(t, c, func(tx volume.Tx) error {
		for n, name := range names {
			require.NoError(t, tx.PutVolume(record(n, groupA, "ds", name)))
		}
		return nil
	})
	slices.Sort(names)
	view(t, c, func(tx volume.Tx) error {
		all, err := tx.Volumes(volume.Filter{Group: groupA})
		require.NoError(t, err)
		var got []string
		for _, r := range all {
			got = append(got, r.Key.Name)
		}
		require.Equal(t, names, got)
		after, err := tx.Volumes(volume.Filter{After: volume.Cursor{Group: groupA, Name: "a", Datastore: "zz", ID: "z"}})
		require.NoError(t, err)
		require.Equal(t, "a b", after[0].Key.Name)
		return nil
	})
}

func usage(t *testing.T, b Backend) {
	c := open(t, b)
	volumes(t, c, func(tx volume.Tx) error {
		ready, trashed, creating, growing, shrunk := record(1, groupA, "ds", "1"), record(2, groupA, "ds", "2"), record(4, groupA, "ds", "4"), record(8, groupA, "ds", "8"), record(16, groupA, "ds", "16")
		trashed.State = volspec.Trashed
		creating.State, creating.Op = volspec.Creating, volume.Op{Kind: volume.OpCreate, Size: 1 << 40}
		growing.Op = volume.Op{Kind: volume.OpGrow, Size: 100 * volspec.MiB}
		shrunk.Op = volume.Op{Kind: volume.OpGrow, Size: 3 * volspec.MiB}
		deleting := record(64, groupA, "ds", "64")
		deleting.State = volspec.Deleting
		for _, r := range []volume.Record{ready, trashed, creating, growing, shrunk, deleting, record(32, groupA, "other", "32"), record(128, groupB, "ds", "128")} {
			require.NoError(t, tx.PutVolume(r))
		}
		for n, r := range []volume.Record{ready, trashed} {
			require.NoError(t, tx.PutSnapshot(volume.Snapshot{ID: volspec.SnapshotID(r.ID), Volume: r.ID, Name: "s", Size: volspec.Size(1000 + n)}))
		}
		require.NoError(t, tx.PutSnapshot(volume.Snapshot{ID: "owned", Volume: ready.ID, Name: "o", Size: volspec.TiB, Owner: "backup"}))
		view := record(256, groupA, "ds", "256")
		view.ViewOf, view.Op = "point", volume.Op{Kind: volume.OpGrow, Size: volspec.TiB}
		require.NoError(t, tx.PutVolume(view))
		u, err := tx.Usage(groupA, "ds")
		require.NoError(t, err)
		require.Equal(t, volspec.Usage{Volumes: 7, Bytes: (1+2+4+100+16+64)*volspec.MiB + 2001, Trash: 66*volspec.MiB + 1001}, u)
		u, err = tx.Usage(groupB, "other")
		require.NoError(t, err)
		require.Zero(t, u)
		u, err = tx.Provisioned("ds")
		require.NoError(t, err)
		require.Equal(t, volspec.Usage{Volumes: 8, Bytes: (1+2+4+100+16+64+128)*volspec.MiB + 2001, Trash: 66*volspec.MiB + 1001}, u)
		return nil
	})
	// Sums beyond 63 bits are the largest size, not an error and not negative.
	volumes(t, c, func(tx volume.Tx) error {
		for n := range 200 {
			r := record(1000+n, []volspec.VMGroupID{groupA, groupB}[n%2], "huge", fmt.Sprint(n))
			r.Size = volspec.MaxSize
			require.NoError(t, tx.PutVolume(r))
		}
		u, err := tx.Provisioned("huge")
		require.NoError(t, err)
		require.Equal(t, volspec.Size(math.MaxInt64), u.Bytes)
		u, err = tx.Usage(groupA, "huge")
		require.NoError(t, err)
		require.Equal(t, 100*volspec.MaxSize, u.Bytes)
		for n := range 100 {
			r := record(2000+n, groupA, "huge", fmt.Sprint("more", n))
			r.Size = volspec.MaxSize
			require.NoError(t, tx.PutVolume(r))
		}
		u, err = tx.Usage(groupA, "huge")
		require.NoError(t, err)
		require.Equal(t, volspec.Size(math.MaxInt64), u.Bytes)
		return nil
	})
}

func absent(t *testing.T, b Backend) {
	c := open(t, b)
	volumes(t, c, func(tx volume.Tx) error {
		for what, err := range map[string]error{
			"volume": second(tx.Volume("none")), "key": second(tx.VolumeByKey(volume.Key{Group: groupA, Name: "none"})),
			"rights": second(tx.Rights("none")), "name": second(tx.GroupByName("none")), "vm": second(tx.GroupOfVM("none")),
			"volume of no group":    tx.PutVolume(record(1, "none", "ds", "v")),
			"snapshot of no volume": tx.PutSnapshot(volume.Snapshot{ID: "s", Volume: "none"}),
		} {
			assert.Equal(t, errkind.NotFound, errkind.Of(err), what)
		}
		require.NoError(t, tx.DeleteVolume("none"))
		require.NoError(t, tx.DeleteSnapshot("none"))
		return nil
	})
	groups(t, c, func(tx tenancy.Tx) error {
		for what, err := range map[string]error{
			"member": second(tx.Member("none")), "member of no group": tx.PutMember(volspec.Member{VM: "v", Group: "none"}),
			"row of no group": tx.PutAccess(volspec.Access{Group: "none", Datastore: "ds"}), "folder of no group": tx.PutFolder(volspec.FolderGrant{Group: "none", Folder: "/f"}),
		} {
			assert.Equal(t, errkind.NotFound, errkind.Of(err), what)
		}
		require.NoError(t, tx.DeleteMember("none"))
		require.NoError(t, tx.DeleteAccess("none", "ds"))
		require.NoError(t, tx.DeleteFolder("none", "/f"))
		require.NoError(t, tx.DeleteGroup("none"))
		require.NoError(t, tx.StaleMeta("none"))
		return nil
	})
}

func second[T any](_ T, err error) error { return err }

// foreignText: what a guest sends may not be text; it must not stop anything.
func foreignText(t *testing.T, b Backend) {
	c := open(t, b)
	r := record(1, groupA, "ds", "v")
	r.FSNote, r.Health, r.Holder.BootID = "nul \x00", "broken \xff\xfe", "'; DROP TABLE volumes; -- ? $1"
	volumes(t, c, func(tx volume.Tx) error {
		require.NoError(t, tx.PutVolume(r))
		got, err := tx.Volume(r.ID)
		require.NoError(t, err)
		require.Equal(t, "nul \uFFFD", got.FSNote)
		require.Equal(t, "broken \uFFFD", got.Health)
		require.Equal(t, r.Holder.BootID, got.Holder.BootID)
		_, err = tx.VolumeByKey(volume.Key{Group: groupA, Datastore: "ds", Name: "\xff\x00"})
		require.Equal(t, errkind.NotFound, errkind.Of(err))
		return nil
	})
}

func snapshots(t *testing.T, b Backend) {
	c := open(t, b)
	volumes(t, c, func(tx volume.Tx) error {
		require.NoError(t, tx.PutVolume(record(1, groupA, "ds", "1")))
		require.NoError(t, tx.PutVolume(record(2, groupA, "ds", "2")))
		young := volume.Snapshot{ID: "1", Volume: id(1), Name: "a", Created: time.Unix(9, 0).UTC()}
		old := volume.Snapshot{ID: "2", Volume: id(1), Name: "b", Created: time.Unix(8, 0).UTC()}
		require.NoError(t, tx.PutSnapshot(young))
		require.NoError(t, tx.PutSnapshot(old))
		require.NoError(t, tx.PutSnapshot(volume.Snapshot{ID: "3", Volume: id(2), Name: "a"}), "another volume's")
		require.Equal(t, errkind.Exists, errkind.Of(tx.PutSnapshot(volume.Snapshot{ID: "4", Volume: id(1), Name: "a"})))
		all, err := tx.Snapshots(id(1))
		require.NoError(t, err)
		require.Equal(t, []volume.Snapshot{old, young}, all, "oldest first")
		owned := volume.Snapshot{ID: "5", Volume: id(1), Name: "o", Owner: "backup", Created: time.Unix(7, 0).UTC()}
		require.NoError(t, tx.PutSnapshot(owned))
		all, err = tx.Snapshots(id(1))
		require.NoError(t, err)
		require.Equal(t, []volume.Snapshot{owned, old, young}, all, "with those that have an owner")
		all, err = tx.OwnedSnapshots()
		require.NoError(t, err)
		require.Equal(t, []volume.Snapshot{owned}, all)
		require.NoError(t, tx.DeleteVolume(id(1)))
		all, err = tx.Snapshots(id(1))
		require.NoError(t, err)
		require.Empty(t, all, "they go with their volume")
		return nil
	})
}

func auditLines(t *testing.T, b Backend) {
	c := open(t, b)
	line := filled[volspec.Audit]()
	line.VMGroup = "A"
	for n := range 10 {
		volumes(t, c, func(tx volume.Tx) error {
			l := line
			l.Object = fmt.Sprint(n)
			if n%2 == 1 {
				l.VMGroup = "B"
			}
			return tx.AddAudit(l)
		})
	}
	objects := func(group string, limit int) (all []string) {
		view(t, c, func(tx volume.Tx) error {
			lines, err := tx.Audit(group, limit)
			require.NoError(t, err)
			all = nil
			for _, l := range lines {
				all = append(all, l.Object)
				l.Object, l.VMGroup = line.Object, line.VMGroup
				require.Equal(t, line, l)
			}
			return nil
		})
		return all
	}
	assert.Equal(t, []string{"9", "8", "7"}, objects("", 3))
	assert.Equal(t, []string{"8", "6"}, objects("A", 2))
	assert.Equal(t, []string{"9", "7", "5", "3", "1"}, objects("B", 0))
	assert.Empty(t, objects("C", 0))
}

func facts(t *testing.T, b Backend) {
	c := open(t, b)
	groups(t, c, func(tx tenancy.Tx) error {
		v, err := tx.Setting("key")
		require.NoError(t, err)
		require.Empty(t, v)
		require.NoError(t, tx.PutSetting("key", "1"))
		require.NoError(t, tx.PutSetting("key", "2"))
		v, err = tx.Setting("key")
		require.Equal(t, "2", v)
		return err
	})
	volumes(t, c, func(tx volume.Tx) error {
		v, err := tx.Datastore("ds")
		require.NoError(t, err)
		require.Empty(t, v)
		require.NoError(t, tx.PutDatastore("ds", "uuid"))
		v, err = tx.Datastore("ds")
		require.Equal(t, "uuid", v)
		return err
	})
}

func instances(t *testing.T, b Backend) {
	c := open(t, b)
	renew := func(instance, installation string, ttl time.Duration) error {
		return c.Volumes().Update(t.Context(), func(tx volume.Tx) error { return tx.Renew(instance, installation, ttl) })
	}
	alive := func(instance string) (yes bool) {
		view(t, c, func(tx volume.Tx) (err error) {
			yes, err = tx.Alive(instance)
			return err
		})
		return yes
	}
	assert.False(t, alive("a1"))
	require.NoError(t, renew("a1", "a", time.Hour))
	require.NoError(t, renew("b1", "b", time.Hour))
	assert.True(t, alive("a1"))
	require.NoError(t, renew("a1", "a", 50*time.Millisecond))
	assert.Eventually(t, func() bool { return !alive("a1") }, 5*time.Second, 10*time.Millisecond, "a lease ends")
	require.NoError(t, renew("a1", "a", time.Hour), "late, but not replaced")
	assert.True(t, alive("a1"))
	require.NoError(t, renew("a2", "a", time.Hour))
	assert.False(t, alive("a1"), "only the newest of an installation lives")
	assert.True(t, alive("a2"))
	assert.True(t, alive("b1"))
	assert.Equal(t, errkind.InUse, errkind.Of(renew("a1", "a", time.Hour)))
	assert.True(t, alive("a2"))
}
