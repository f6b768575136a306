package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/dockvols"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/crashpoint"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/simvc/control"
)

const small = 8 * volspec.MiB

// deed is a call that changes disks, and what is to be true once it has been
// done, however often it broke off.
type deed struct {
	name    string
	prepare func(t *testing.T, w *world)
	do      func(ctx context.Context, w *world) error
	check   func(t *testing.T, w *world)
	once    bool // it is not repeatable: done may also be told as exists
}

// world is a site with a disk that has content, and a name for another.
type world struct {
	*site
	v        *VSphere
	src, dst hypervisor.Ref
	holder   volspec.VMID // who has src
}

func (s *site) world(t *testing.T) *world {
	v := s.open(t)
	ref := func(id string) hypervisor.Ref {
		return hypervisor.Ref{Datastore: "ds-0", Group: volspec.VMGroupID("g-" + id), Volume: volspec.VolumeID("v-" + id)}
	}
	n := fmt.Sprint(serials())
	w := &world{site: s, v: v, src: ref("src" + n), dst: ref("dst" + n)}
	require.NoError(t, v.Create(t.Context(), w.src, small, volspec.Thin))
	w.write(t, w.src, "one")
	return w
}

var serials = func() func() int {
	n := 0
	return func() int { n++; return n }
}()

// write puts a word at the beginning of a disk.
func (w *world) write(t *testing.T, r hypervisor.Ref, word string) {
	t.Helper()
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, r, false)
	require.NoError(t, err)
	require.NoError(t, guest{w.site}.Write(dev, 0, []byte(word)))
	require.NoError(t, w.v.Detach(t.Context(), dev.VM, r))
}

func (w *world) holds(t *testing.T, r hypervisor.Ref, word string) {
	t.Helper()
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-1").ID, r, false)
	require.NoError(t, err)
	b, err := guest{w.site}.Read(dev, 0, len(word))
	require.NoError(t, err)
	assert.Equal(t, word, string(b))
	require.NoError(t, w.v.Detach(t.Context(), dev.VM, r))
}

func (w *world) snapshotHolds(t *testing.T, id volspec.SnapshotID, word string) {
	t.Helper()
	img, err := w.v.OpenSnapshot(t.Context(), w.src, id)
	require.NoError(t, err)
	defer img.Close()
	b := make([]byte, len(word))
	_, err = img.ReadAt(b, 0)
	require.NoError(t, err)
	assert.Equal(t, word, string(b))
}

func (w *world) size(t *testing.T, r hypervisor.Ref, want volspec.Size) {
	t.Helper()
	d, err := w.v.Stat(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, want, d.Size)
}

// disks are the descriptors in the folders of the world's disks.
func (w *world) disks(t *testing.T) (all []string) {
	t.Helper()
	for _, r := range []hypervisor.Ref{w.src, w.dst} {
		found, err := filepath.Glob(filepath.Join(w.sim.Dir, r.Datastore, layout.Folder(r.Group), "*.vmdk"))
		require.NoError(t, err)
		for _, f := range found {
			if !strings.HasSuffix(f, "-flat.vmdk") {
				all = append(all, filepath.Base(f))
			}
		}
	}
	return all
}

// classes is how many first-class disks there are of the world's disks.
func (w *world) classes(t *testing.T) (n int) {
	t.Helper()
	if w.disk != FCD {
		return 0
	}
	for _, r := range []hypervisor.Ref{w.src, w.dst} {
		ids, err := w.v.named(t.Context(), string(r.Volume))
		require.NoError(t, err)
		n += len(ids)
	}
	return n
}

func word(text string) func(context.Context, image.Target) error {
	return func(_ context.Context, to image.Target) error {
		_, err := to.WriteAt([]byte(text), 0)
		return err
	}
}

// deeds are all calls that change disks.
func deeds() []deed {
	return []deed{
		{name: "create thin", do: func(ctx context.Context, w *world) error { return w.v.Create(ctx, w.dst, small, volspec.Thin) },
			check: func(t *testing.T, w *world) { w.size(t, w.dst, small) }},
		{name: "create thick", do: func(ctx context.Context, w *world) error {
			return w.v.Create(ctx, w.dst, small, volspec.EagerZeroedThick)
		}, check: func(t *testing.T, w *world) { w.size(t, w.dst, small) }},
		{name: "delete", do: func(ctx context.Context, w *world) error { return w.v.Delete(ctx, w.src) },
			check: func(t *testing.T, w *world) {
				_, err := w.v.Stat(t.Context(), w.src)
				assert.Equal(t, errkind.NotFound, errkind.Of(err))
			}},
		{name: "delete all", prepare: func(t *testing.T, w *world) {
			require.NoError(t, w.v.PutMeta(t.Context(), w.src, []byte("record")))
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"))
			require.NoError(t, w.v.Build(t.Context(), w.src, small, volspec.Thin, "s2", word("new")))
			require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s3"))
			require.NoError(t, w.v.DeleteSnapshot(t.Context(), w.src, "s2"))
		}, do: func(ctx context.Context, w *world) error { return w.v.Delete(ctx, w.src) },
			check: func(t *testing.T, w *world) {
				left, err := os.ReadDir(filepath.Join(w.sim.Dir, w.src.Datastore, layout.Folder(w.src.Group)))
				require.NoError(t, err)
				assert.Empty(t, left)
			}},
		{name: "grow", do: func(ctx context.Context, w *world) error { return w.v.Grow(ctx, w.src, 2*small) },
			check: func(t *testing.T, w *world) { w.size(t, w.src, 2*small); w.holds(t, w.src, "one") }},
		{name: "metadata", do: func(ctx context.Context, w *world) error { return w.v.PutMeta(ctx, w.src, []byte("record")) },
			check: func(t *testing.T, w *world) {
				d, err := w.v.Stat(t.Context(), w.src)
				require.NoError(t, err)
				assert.Equal(t, "record", string(d.Meta))
			}},
		{name: "clone", do: func(ctx context.Context, w *world) error { return w.v.Clone(ctx, w.src, "", w.dst, volspec.Thin) },
			check: func(t *testing.T, w *world) { w.holds(t, w.dst, "one") }},
		{name: "snapshot", do: func(ctx context.Context, w *world) error { return w.v.Snapshot(ctx, w.src, "s1") },
			check: func(t *testing.T, w *world) {
				w.write(t, w.src, "two")
				w.snapshotHolds(t, "s1", "one")
				ids, err := w.v.Snapshots(t.Context(), w.src)
				require.NoError(t, err)
				assert.Equal(t, []volspec.SnapshotID{"s1"}, ids)
			}},
		{name: "delete snapshot", prepare: func(t *testing.T, w *world) { require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1")) },
			do: func(ctx context.Context, w *world) error { return w.v.DeleteSnapshot(ctx, w.src, "s1") },
			check: func(t *testing.T, w *world) {
				ids, err := w.v.Snapshots(t.Context(), w.src)
				require.NoError(t, err)
				assert.Empty(t, ids)
				w.holds(t, w.src, "one")
			}},
		{name: "build", once: true, do: func(ctx context.Context, w *world) error {
			return w.v.Build(ctx, w.dst, small, volspec.Thin, "", word("new"))
		}, check: func(t *testing.T, w *world) { w.holds(t, w.dst, "new") }},
		{name: "replace", once: true, do: func(ctx context.Context, w *world) error {
			return w.v.Build(ctx, w.src, small, volspec.Thin, "s1", word("new"))
		}, check: func(t *testing.T, w *world) {
			w.holds(t, w.src, "new")
			w.snapshotHolds(t, "s1", "one")
		}},
		{name: "delete replaced", prepare: func(t *testing.T, w *world) {
			require.NoError(t, w.v.Build(t.Context(), w.src, small, volspec.Thin, "s1", word("two")))
			require.NoError(t, w.v.Build(t.Context(), w.src, small, volspec.Thin, "s2", word("new")))
		}, do: func(ctx context.Context, w *world) error { return w.v.DeleteSnapshot(ctx, w.src, "s2") },
			check: func(t *testing.T, w *world) {
				w.holds(t, w.src, "new")
				w.snapshotHolds(t, "s1", "one")
				ids, err := w.v.Snapshots(t.Context(), w.src)
				require.NoError(t, err)
				assert.Equal(t, []volspec.SnapshotID{"s1"}, ids)
			}},
		{name: "go home", prepare: func(t *testing.T, w *world) { w.stray(t) },
			do: func(ctx context.Context, w *world) error {
				return w.v.Detach(ctx, w.holder, w.src)
			},
			check: func(t *testing.T, w *world) {
				w.holds(t, w.src, "one") // what broke off goes on with the next use
				w.atHome(t)
			}},
		{name: "delete elsewhere", prepare: func(t *testing.T, w *world) {
			dev := w.stray(t)
			_, err := w.v.Attached(t.Context()) // sees it, and notes where it is
			require.NoError(t, err)
			w.takeByHand(t, w.v, dev)
		}, do: func(ctx context.Context, w *world) error { return w.v.Delete(ctx, w.src) },
			check: func(t *testing.T, w *world) {
				_, err := w.v.Stat(t.Context(), w.src)
				assert.Equal(t, errkind.NotFound, errkind.Of(err))
				assert.Empty(t, w.besides(t, "ds-1", "vm-0"))
				left, err := os.ReadDir(filepath.Join(w.sim.Dir, w.src.Datastore, layout.Folder(w.src.Group)))
				require.NoError(t, err)
				assert.Empty(t, left)
			}},
	}
}

// killed is what a test throws where the process would end.
type killed struct{ point string }

// until runs do until it passes point.
func until(point string, do func() error) (err error, dead bool) { //nolint:revive // whether it came so far comes last
	crashpoint.Set(func(p string) {
		if p == point {
			panic(killed{p})
		}
	})
	defer crashpoint.Set(nil)
	defer func() {
		if k, ok := recover().(killed); ok {
			err, dead = fmt.Errorf("killed at %s", k.point), true
		}
	}()
	return do(), false
}

func TestWhatWasKilledBetweenStepsIsCompletedByARepeat(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		met := map[string]bool{}
		for _, d := range deeds() {
			t.Run(disk+": "+d.name, func(t *testing.T) {
				t.Cleanup(func() { s.clean(t) })
				for _, point := range s.passed(t, d) {
					met[point] = true
					s.killedAt(t, d, point)
				}
			})
		}
		points := []string{
			"vsphere.appear.filled", "vsphere.appear.made", "vsphere.aside.filled", "vsphere.replaced.noted", "vsphere.delete.disk", "vsphere.build.named", "vsphere.home.noted", "vsphere.home.moved",
		}
		if disk == VMDK { // vSphere moves a first-class disk in one step
			points = append(points, "vsphere.home.carried")
		}
		assert.Subset(t, slices.Collect(maps.Keys(met)), points)
	}
}

// passed are the points that a deed passes, which is carried out for it.
func (s *site) passed(t *testing.T, d deed) (points []string) {
	w := s.prepared(t, d)
	crashpoint.Set(func(p string) { points = append(points, p) })
	defer crashpoint.Set(nil)
	require.NoError(t, d.do(t.Context(), w))
	crashpoint.Set(nil)
	d.check(t, w)
	w.nothingLeft(t)
	return points
}

func (s *site) prepared(t *testing.T, d deed) *world {
	w := s.world(t)
	if d.prepare != nil {
		d.prepare(t, w)
	}
	return w
}

func (s *site) killedAt(t *testing.T, d deed, point string) {
	t.Log("killed at", point)
	w := s.prepared(t, d)
	_, dead := until(point, func() error { return d.do(t.Context(), w) })
	require.True(t, dead)
	w.v = s.open(t) // the service is started again
	err := d.do(t.Context(), w)
	if d.once && errkind.Is(err, errkind.Exists) {
		err = nil
	}
	require.NoError(t, err)
	d.check(t, w)
	w.nothingLeft(t)
}

// nothingLeft: no file is being made, and every disk is registered at most
// once.
func (w *world) nothingLeft(t *testing.T) {
	t.Helper()
	files := w.disks(t)
	bases := 0
	for _, f := range files {
		assert.NotContains(t, f, ".tmp", "left behind")
		if n, ok := layout.Parse(f); ok && n.Child == 0 && n.Kind == layout.Disk {
			bases++
		}
	}
	if w.disk == FCD {
		assert.Equal(t, bases, w.classes(t), "each disk is one first-class disk: %v", files)
	}
}

func TestACloneOfAnAttachedDiskThatWasKilledLeavesNoSnapshot(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	w := s.world(t)
	t.Cleanup(func() { s.clean(t) })
	dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, w.src, false)
	require.NoError(t, err)
	clone := func() error { return w.v.Clone(t.Context(), w.src, "", w.dst, volspec.Thin) }
	// What a process leaves that ends there: nothing of it is undone.
	n := layout.Name{Volume: w.src.Volume}
	d, err := w.v.firstClass(t.Context(), w.src, n)
	require.NoError(t, err)
	require.NoError(t, w.v.takeSnapshot(t.Context(), d, copyLabel+string(w.dst.Volume)))
	require.NoError(t, guest{s}.Write(dev, 0, []byte("two")))
	require.NoError(t, clone())
	require.NoError(t, w.v.Detach(t.Context(), dev.VM, w.src))
	w.holds(t, w.dst, "two")
	all, err := w.v.snapshotsOf(t.Context(), d)
	require.NoError(t, err)
	assert.Empty(t, all)
	require.NoError(t, w.v.Grow(t.Context(), w.src, 2*small), "nothing keeps it from growing")
}

func TestAnAdoptionThatWasKilledIsCompletedByARepeat(t *testing.T) {
	s := newSite(t, FCD, control.Options{})
	v := s.open(t)
	s.oldDisk(t, v, "db", "precious")
	o := dockvols.Options{Datastore: "ds-0", Record: func(v dockvols.Volume) ([]byte, error) { return []byte(v.Name), nil }}
	adopt := func(v *VSphere) ([]dockvols.Item, error) {
		return dockvols.Adopt(t.Context(), old{v, "ds-0"}, o)
	}
	_, dead := until("dockvols.adopt.recorded", func() error { _, err := adopt(v); return err })
	require.True(t, dead)
	for _, err := range v.List(t.Context(), "ds-0") {
		require.NoError(t, err, "a record alone is no disk")
	}
	items, err := adopt(s.open(t))
	require.NoError(t, err)
	require.Len(t, items, 1)
	assert.Equal(t, dockvols.Adopted, items[0].Action)
	records, err := filepath.Glob(filepath.Join(s.sim.Dir, "ds-0", layout.Folder(team), "*.json"))
	require.NoError(t, err)
	assert.Len(t, records, 1, "under the same id")
}

func TestWhatIsAttachedReadOnlyIsCopiedAsItIs(t *testing.T) {
	for _, disk := range []string{FCD, VMDK} {
		s := newSite(t, disk, control.Options{})
		w := s.world(t)
		dev, err := w.v.Attach(t.Context(), w.vm(t, w.v, "vm-0").ID, w.src, true)
		require.NoError(t, err)
		require.NoError(t, w.v.Clone(t.Context(), w.src, "", w.dst, volspec.Thin), disk)
		require.NoError(t, w.v.Snapshot(t.Context(), w.src, "s1"), disk)
		require.NoError(t, w.v.Detach(t.Context(), dev.VM, w.src))
		w.holds(t, w.dst, "one")
		w.snapshotHolds(t, "s1", "one")
	}
}

func TestAFillerThatFailsLeavesNothing(t *testing.T) {
	s := newSite(t, VMDK, control.Options{})
	w := s.world(t)
	boom := errors.New("boom")
	before := w.disks(t)
	for _, keep := range []volspec.SnapshotID{"", "s1"} {
		r := w.dst
		if keep != "" {
			r = w.src
		}
		err := w.v.Build(t.Context(), r, small, volspec.Thin, keep, func(context.Context, image.Target) error { return boom })
		require.ErrorIs(t, err, boom)
	}
	assert.Equal(t, before, w.disks(t))
	left, err := os.ReadDir(w.v.o.Scratch)
	require.NoError(t, err)
	assert.Empty(t, left)
}
