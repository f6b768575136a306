package volume_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/volume"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/pkg/wire"
)

// model is what a careful reader of the rules keeps of one vmgroup's volumes
// on one datastore with a limit of 10 GiB.
type model struct {
	live  map[string]volspec.Size
	snaps map[string]map[string]volspec.Size
	trash volspec.Size // with the snapshots of what lies in it
	names []string     // of trashed volumes
	// restored are volumes made of the recovery point p1.
	restored map[string]bool
}

const modelLimit = 10 * volspec.GiB

func (m *model) used() volspec.Size {
	sum := m.trash
	for name, size := range m.live {
		sum += size
		for _, s := range m.snaps[name] {
			sum += s
		}
	}
	return sum
}

// TestUsageAlwaysEqualsReality drives random creates, clones, snapshots,
// growths, removals and purges, snapshots for backup, restores and views, and compares every answer and the
// usage with the model.
func TestUsageAlwaysEqualsReality(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		m := &model{live: map[string]volspec.Size{}, snaps: map[string]map[string]volspec.Size{}, restored: map[string]bool{}}
		w.points.add(w.dev, "p", "p1", "content")
		name := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		size := rapid.Map(rapid.Int64Range(1, 6), func(n int64) volspec.Size { return volspec.Size(n) * volspec.GiB })
		expect := func(err error, allowed bool, kinds ...errkind.Kind) bool {
			if allowed {
				require.NoError(rt, err)
				return true
			}
			require.Contains(rt, kinds, errkind.Of(err), "%v", err)
			return false
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				n, s := name.Draw(rt, "name"), size.Draw(rt, "size")
				have, exists := m.live[n]
				_, err := w.create(t, vm1, n, "size", s.Option())
				if exists {
					expect(err, have == s, errkind.Exists)
				} else if expect(err, m.used()+s <= modelLimit, errkind.Quota) {
					m.live[n] = s
				}
			},
			"clone": func(rt *rapid.T) {
				n, src := name.Draw(rt, "name"), name.Draw(rt, "source")
				s, ok := m.live[src]
				if _, exists := m.live[n]; exists {
					return
				}
				_, err := w.create(t, vm2, n, "clone-from", src)
				if !ok {
					expect(err, false, errkind.NotFound)
				} else if expect(err, m.used()+s <= modelLimit, errkind.Quota) {
					m.live[n] = s
				}
			},
			"resize": func(rt *rapid.T) {
				n, s := name.Draw(rt, "name"), size.Draw(rt, "size")
				have, ok := m.live[n]
				_, err := w.svc.Resize(t.Context(), admin, "dev", n, wire.Resize{Size: s})
				switch {
				case !ok:
					expect(err, false, errkind.NotFound)
				case s < have:
					expect(err, false, errkind.Invalid)
				case expect(err, m.used()+s-have <= modelLimit, errkind.Quota):
					m.live[n] = s
				}
			},
			"snapshot": func(rt *rapid.T) {
				n := name.Draw(rt, "name")
				have, ok := m.live[n]
				_, err := w.svc.CreateSnapshot(t.Context(), admin, "dev", n, wire.CreateSnapshot{Name: "s"})
				switch {
				case !ok:
					expect(err, false, errkind.NotFound)
				case m.snaps[n] != nil:
					expect(err, false, errkind.Exists)
				case expect(err, m.used()+have <= modelLimit, errkind.Quota):
					m.snaps[n] = map[string]volspec.Size{"s": have}
				}
			},
			"unsnapshot": func(rt *rapid.T) {
				n := name.Draw(rt, "name")
				err := w.svc.DeleteSnapshot(t.Context(), admin, "dev", n, "s")
				if expect(err, m.snaps[n] != nil, errkind.NotFound) {
					delete(m.snaps, n)
				}
			},
			"snapshot for backup": func(rt *rapid.T) { // counts in no quota
				n := name.Draw(rt, "name")
				v, err := w.svc.BackupTarget(t.Context(), admin, "dev", n)
				if _, ok := m.live[n]; !expect(err, ok, errkind.NotFound) {
					return
				}
				id := volspec.SnapshotID(rapid.SampledFrom([]string{"b1", "b2"}).Draw(rt, "id") + "-" + string(v.ID))
				if rapid.Bool().Draw(rt, "drop") {
					require.NoError(rt, w.svc.DropBackupSnapshot(t.Context(), v.ID, id))
					return
				}
				_, err = w.svc.TakeBackupSnapshot(t.Context(), v.ID, id, "job", "")
				require.NoError(rt, err)
			},
			"restore": func(rt *rapid.T) {
				n := name.Draw(rt, "name")
				_, exists := m.live[n]
				_, err := w.create(t, vm1, n, "restore-from", "p1")
				switch {
				case exists && err == nil: // it is a restored one, of that size
					require.True(rt, m.restored[n])
				case exists:
					expect(err, false, errkind.Exists)
				case expect(err, m.used()+volspec.GiB <= modelLimit, errkind.Quota):
					m.live[n], m.restored[n] = volspec.GiB, true
				}
			},
			"restore in place": func(rt *rapid.T) {
				n := name.Draw(rt, "name")
				have, ok := m.live[n]
				_, err := w.inPlace(t.Context(), n, "p1", "s")
				switch {
				case !ok:
					expect(err, false, errkind.NotFound)
				case m.snaps[n] != nil:
					expect(err, false, errkind.Exists)
				case expect(err, m.used()+have <= modelLimit, errkind.Quota):
					m.snaps[n] = map[string]volspec.Size{"s": have}
				}
			},
			"view": func(rt *rapid.T) { // takes no room
				n := rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "name")
				if rapid.Bool().Draw(rt, "remove") {
					require.NoError(rt, w.svc.Remove(t.Context(), vm1, "", n, false))
					return
				}
				_, err := w.create(t, vm1, n, "view-of", "p1")
				require.NoError(rt, err)
			},
			"remove": func(rt *rapid.T) {
				n, purge := name.Draw(rt, "name"), rapid.Bool().Draw(rt, "purge")
				have, ok := m.live[n]
				if !ok {
					return
				}
				require.NoError(rt, w.svc.Remove(t.Context(), admin, "dev", n, purge))
				if !purge {
					m.trash += have + m.snaps[n]["s"]
					m.names = append(m.names, n)
				}
				delete(m.live, n)
				delete(m.snaps, n)
				delete(m.restored, n)
			},
			"empty the trash": func(rt *rapid.T) {
				list, err := w.svc.List(t.Context(), admin, volume.ListFilter{State: "trashed"})
				require.NoError(rt, err)
				require.Len(rt, list.Volumes, len(m.names))
				for _, v := range list.Volumes {
					require.NoError(rt, w.svc.Remove(t.Context(), admin, "dev", string(v.ID), true))
				}
				m.trash, m.names = 0, nil
			},
			"restart": func(*rapid.T) { w.start(t) },
			"": func(rt *rapid.T) {
				require.NoError(rt, w.store.View(t.Context(), func(tx volume.Tx) error {
					u, err := tx.Usage(w.dev, "fast")
					require.Equal(rt, m.used(), u.Bytes)
					require.Equal(rt, m.trash, u.Trash)
					return err
				}))
				w.agree(t)
			},
		})
	})
}
