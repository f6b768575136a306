package local

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/memory"
	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
	"mooring.dev/mooring/pkg/volspec"
)

// Whatever is asked, in whatever order, the hypervisor in memory, on which
// the use cases are tested, answers as this one does.
func TestSameAsInMemory(t *testing.T) {
	for _, fstype := range []string{"tmpfs", "xfs"} {
		t.Run(fstype, func(t *testing.T) {
			w := newWorld(t, mounted(t, fstype, 600))
			rapid.Check(t, func(rt *rapid.T) { compare(t, rt, w, fstype == "xfs") })
		})
	}
}

func compare(t *testing.T, rt *rapid.T, w *world, reflink bool) {
	ctx := t.Context()
	m := memory.New(memory.Options{
		Datastores: []hypervisor.Datastore{{Name: "one", Reflink: reflink}, {Name: "two", Reflink: reflink}},
		VMs:        []hypervisor.VM{{ID: w.a.id, Name: w.a.Name}, {ID: w.b.id, Name: w.b.Name}},
	})
	refs := []hypervisor.Ref{newRef(), newRef(), newRef()}
	refs[1].Group, refs[2].Datastore = refs[0].Group, "two"
	defer func() {
		for _, r := range refs {
			for _, v := range w.vms {
				require.NoError(t, w.Fence(ctx, v.id, r))
			}
			require.NoError(t, w.Delete(ctx, r))
		}
	}()
	for range rapid.IntRange(1, 12).Draw(rt, "steps") {
		r := rapid.SampledFrom(refs).Draw(rt, "disk")
		other := rapid.SampledFrom(refs).Draw(rt, "other")
		vm := rapid.SampledFrom([]volspec.VMID{w.a.id, w.b.id}).Draw(rt, "vm")
		size := volspec.Size(rapid.IntRange(1, 3).Draw(rt, "size")) * volspec.MiB
		flag := rapid.Bool().Draw(rt, "flag")
		snap := rapid.SampledFrom([]volspec.SnapshotID{"s1", "s2", ""}).Draw(rt, "snap")
		what := rapid.SampledFrom([]string{"create", "delete", "grow", "clone", "snapshot", "frozen", "unsnapshot", "build", "refused build", "changed", "meta", "attach", "detach", "fence"}).Draw(rt, "what")
		answer := func(h hypervisor.Hypervisor) error {
			s, _ := hypervisor.As[hypervisor.Snapshotter](h)
			switch what {
			case "create":
				return h.Create(ctx, r, size, volspec.Thin)
			case "delete":
				return h.Delete(ctx, r)
			case "grow":
				return h.Grow(ctx, r, size)
			case "clone":
				return h.Clone(ctx, r, snap, other, volspec.Thin)
			case "snapshot":
				return s.Snapshot(ctx, r, snap)
			case "frozen":
				f, _ := hypervisor.As[hypervisor.FrozenSnapshotter](h)
				return f.SnapshotFrozen(ctx, r, snap)
			case "build", "refused build":
				i, _ := hypervisor.As[hypervisor.Imager](h)
				return i.Build(ctx, r, size, volspec.Thin, snap, func(_ context.Context, t image.Target) error {
					_, err := t.WriteAt([]byte(snap), 0)
					if what == "refused build" {
						return errkind.New(errkind.Corrupt, "the repository is damaged")
					}
					return err
				})
			case "changed":
				i, _ := hypervisor.As[hypervisor.Imager](h)
				for _, err := range i.Changed(ctx, r, "s1", snap) {
					return err
				}
				return nil
			case "unsnapshot":
				return s.DeleteSnapshot(ctx, r, snap)
			case "meta":
				return h.PutMeta(ctx, r, []byte(snap))
			case "attach":
				_, err := h.Attach(ctx, vm, r, flag)
				return err
			case "detach":
				return h.Detach(ctx, vm, r)
			case "fence":
				return h.Fence(ctx, vm, r)
			}
			return errors.New("not a word")
		}
		want, got := answer(m), answer(w.Local)
		if errkind.Of(want) != errkind.Of(got) {
			rt.Fatalf("%s: in memory %v, here %v", what, want, got)
		}
		if a, b := picture(t, m, refs), picture(t, w.Local, refs); a != b {
			rt.Fatalf("after %s\nin memory %s\nhere      %s", what, a, b)
		}
	}
}

// picture is all that can be seen of some disks.
func picture(t *testing.T, h hypervisor.Hypervisor, refs []hypervisor.Ref) (s string) {
	snaps, _ := hypervisor.As[hypervisor.Snapshotter](h)
	for i, r := range refs {
		d, err := h.Stat(t.Context(), r)
		ids, errSnap := snaps.Snapshots(t.Context(), r)
		s += fmt.Sprintf("%d: %v %q %v %d %v; ", i, d.Size, d.Meta, errkind.Of(err), len(ids), errkind.Of(errSnap))
	}
	all, err := h.Attached(t.Context())
	require.NoError(t, err)
	for i, r := range refs {
		for _, a := range all {
			if a.Ref == r {
				s += fmt.Sprintf("%d has %s %t %v; ", i, a.VM, a.ReadOnly, a.Size)
			}
		}
	}
	return s
}
