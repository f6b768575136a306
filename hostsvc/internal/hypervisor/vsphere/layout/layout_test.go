package layout_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/volspec"
)

const volume = "0d1f6a50-8f0e-4c3e-9d0a-111111111111"

func TestNames(t *testing.T) {
	for file, want := range map[string]layout.Name{
		"v.vmdk":                      {Volume: "v"},
		"v-000001.vmdk":               {Volume: "v", Child: 1},
		"v.tmp.vmdk":                  {Volume: "v", Tmp: true},
		"v.s1.snap.vmdk":              {Volume: "v", Kind: layout.Snapshot, ID: "s1"},
		"v.s1.snap.tmp.vmdk":          {Volume: "v", Kind: layout.Snapshot, ID: "s1", Tmp: true},
		"v.s1.3.vmdk":                 {Volume: "v", ID: "s1", N: 3},
		"v.s-000001.3-000012.vmdk":    {Volume: "v", ID: "s-000001", N: 3, Child: 12},
		"v.json":                      {Volume: "v", Kind: layout.Meta},
		"v.tmp.json":                  {Volume: "v", Kind: layout.Meta, Tmp: true},
		"v.s1.2.was":                  {Volume: "v", Kind: layout.Was, ID: "s1", N: 2},
		"v.away":                      {Volume: "v", Kind: layout.Away},
		"v.tmp.away":                  {Volume: "v", Kind: layout.Away, Tmp: true},
		"v.s1.2.away":                 {Volume: "v", Kind: layout.Away, ID: "s1", N: 2},
		"v.s1.2.gone":                 {Volume: "v", Kind: layout.Gone, ID: "s1", N: 2},
		volume + ".vmdk":              {Volume: volume},
		volume + "-000002.vmdk":       {Volume: volume, Child: 2},
		volume + ".abc.1-000002.vmdk": {Volume: volume, ID: "abc", N: 1, Child: 2},
		"snap.snap.snap.vmdk":         {Volume: "snap", Kind: layout.Snapshot, ID: "snap"},
		"x-flat-1.vmdk":               {Volume: "x-flat-1"},
	} {
		got, ok := layout.Parse(file)
		require.True(t, ok, file)
		assert.Equal(t, want, got, file)
		assert.Equal(t, file, got.String())
	}
	for _, file := range []string{
		"", "v", "v.vmx", ".vmdk", "v-flat.vmdk", "v-000001-delta.vmdk", "v-000001-sesparse.vmdk", "v-ctk.vmdk", "v.s1.snap-flat.vmdk",
		"v-000000.vmdk", "v.s1.vmdk", "v.s1.0.vmdk", "v.s1.01.vmdk", "v.s1.x.vmdk", "v.s1.2.3.vmdk", "v.tmp.tmp.vmdk", "v.json.json",
		"v.s1.2.json", "v.was", "v.s1.snap.was", "v.s1.snap.away", "v-000001.away", "../v.vmdk", "a b.vmdk", "v.s1.2-000001.was",
	} {
		n, ok := layout.Parse(file)
		assert.False(t, ok, "%s: %+v", file, n)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"v.vmdk", "v.s1.2-000001.vmdk", "v.s1.snap.tmp.vmdk", "v.json"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := layout.Parse(s); ok {
			assert.Equal(t, s, n.String())
			assert.True(t, hypervisor.ValidID(string(n.Volume)))
		}
	})
}

func TestRefOfIsTheInverse(t *testing.T) {
	id := rapid.StringMatching(`[a-zA-Z0-9][a-zA-Z0-9-]{0,20}`)
	rapid.Check(t, func(rt *rapid.T) {
		r := hypervisor.Ref{
			Datastore: rapid.SampledFrom([]string{"ds-0", "ds (1)", "a b"}).Draw(rt, "datastore"),
			Group:     volspec.VMGroupID(id.Draw(rt, "group")), Volume: volspec.VolumeID(id.Draw(rt, "volume")),
		}
		if layout.Check(r) != nil {
			return
		}
		n := layout.Name{Volume: r.Volume, Child: rapid.IntRange(0, 999999).Draw(rt, "child")}
		if rapid.Bool().Draw(rt, "replaced") {
			n.N, n.ID = rapid.IntRange(1, 50).Draw(rt, "n"), volspec.SnapshotID(id.Draw(rt, "keep"))
		}
		got, ok := layout.RefOf(layout.Path(r.Datastore, layout.Folder(r.Group)+"/"+n.String()))
		require.True(rt, ok)
		assert.Equal(rt, r, got)
	})
	for _, other := range []string{
		"", "[ds]", "[ds] v.vmdk", "[ds] mooring/v.vmdk", "[ds] mooring/g/x/v.vmdk", "[ds] vm-0/vm-0.vmdk", "[ds] mooring/g/v.s1.snap.vmdk",
		"[ds] mooring/g/v.tmp.vmdk", "[ds] mooring/../v.vmdk", "[ds] fcd/g/v.vmdk", "mooring/g/v.vmdk",
	} {
		_, ok := layout.RefOf(other)
		assert.False(t, ok, other)
	}
}

func TestVolumesThatLookLikeFilesOfADiskAreRefused(t *testing.T) {
	for _, v := range []volspec.VolumeID{"a-flat", "a-000001", "a-ctk", "a-sesparse", "a-delta", "../x", ""} {
		assert.Error(t, layout.Check(hypervisor.Ref{Datastore: "ds", Group: "g", Volume: v}), v)
	}
	assert.NoError(t, layout.Check(hypervisor.Ref{Datastore: "ds", Group: "g", Volume: volume}))
}
