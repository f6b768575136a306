package vsphere

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/hostsvc/internal/hypervisor"
	"mooring.dev/mooring/hostsvc/internal/hypervisor/vsphere/layout"
	"mooring.dev/mooring/pkg/volspec"
)

// familyOf is a family by the names of its files.
func familyOf(t *testing.T, files map[string]int64) family {
	f := family{r: hypervisor.Ref{Datastore: "ds", Group: "g", Volume: "v"}, files: map[layout.Name]entry{}}
	for file, allocated := range files {
		n, ok := layout.Parse(file)
		require.True(t, ok, file)
		f.files[n] = entry{allocated: allocated}
	}
	return f
}

func TestTheLastReplacementIsTheDisk(t *testing.T) {
	_, ok := familyOf(t, map[string]int64{"v.json": 1, "v.tmp.vmdk": 1, "v.s1.snap.vmdk": 1, "v.s1.1.tmp.vmdk": 1, "v.s1.2.was": 0}).disk()
	assert.False(t, ok, "nothing of this is a disk")
	f := familyOf(t, map[string]int64{"v.vmdk": 1, "v-000001.vmdk": 1, "v.a.1.vmdk": 1, "v.b.10.vmdk": 1, "v.c.11.tmp.vmdk": 1})
	n, ok := f.disk()
	require.True(t, ok)
	assert.Equal(t, "v.b.10.vmdk", n.String())
	assert.Equal(t, "[ds] mooring/g/v.b.10.vmdk", f.path(n))
	assert.Equal(t, "v-000001.vmdk", f.youngest(layout.Name{Volume: "v"}).String())
	assert.Equal(t, n, f.youngest(n))
}

func TestReplacedDisksAreTheSnapshotsThatTheirSuccessorsName(t *testing.T) {
	v0, v1 := layout.Name{Volume: "v"}, layout.Name{Volume: "v", ID: "a", N: 1}
	for _, c := range []struct {
		what  string
		files []string
		want  map[volspec.SnapshotID]layout.Name
	}{
		{"never replaced", []string{"v.vmdk"}, nil},
		{"once", []string{"v.vmdk", "v.a.1.vmdk"}, map[volspec.SnapshotID]layout.Name{"a": v0}},
		{"twice", []string{"v.vmdk", "v.a.1.vmdk", "v.b.2.vmdk"}, map[volspec.SnapshotID]layout.Name{"a": v0, "b": v1}},
		{"the first one is removed", []string{"v.a.1.vmdk", "v.b.2.vmdk"}, map[volspec.SnapshotID]layout.Name{"b": v1}},
		{"the second one is removed", []string{"v.vmdk", "v.a.1.was", "v.b.2.vmdk"}, map[volspec.SnapshotID]layout.Name{"a": v0}},
		{"the first one is no snapshot any more but has some", []string{"v.vmdk", "v.a.1.vmdk", "v.a.1.gone"}, nil},
		{"a replacement is being made", []string{"v.vmdk", "v.a.1.tmp.vmdk"}, nil},
		{"a child of it is no successor", []string{"v.vmdk", "v.a.1-000001.vmdk", "v.b.2.vmdk"}, nil},
	} {
		files := map[string]int64{}
		for _, f := range c.files {
			files[f] = 1
		}
		got := familyOf(t, files).kept()
		if c.want == nil {
			c.want = map[volspec.SnapshotID]layout.Name{}
		}
		assert.Equal(t, c.want, got, c.what)
	}
}

func TestAllocatedIsOfTheDiskAlone(t *testing.T) {
	f := familyOf(t, map[string]int64{"v.vmdk": 30, "v-000001.vmdk": 20, "v.s1.snap.vmdk": 500, "v.tmp.vmdk": 500, "v.json": 500})
	n, _ := f.disk()
	assert.EqualValues(t, 50, f.allocated(n, 100, false))
	assert.EqualValues(t, 40, f.allocated(n, 40, false), "what was written anew counts once")
	assert.EqualValues(t, 100, f.allocated(n, 100, true), "a thick one has all of it")
}

func TestBasePath(t *testing.T) {
	for in, want := range map[string]string{
		"[ds] mooring/g/v.vmdk":            "[ds] mooring/g/v.vmdk",
		"[ds] mooring/g/v-000002.vmdk":     "[ds] mooring/g/v.vmdk",
		"[ds] mooring/g/v.a.1-000002.vmdk": "[ds] mooring/g/v.a.1.vmdk",
		"[ds] fcd/0123abcd.vmdk":           "[ds] fcd/0123abcd.vmdk",
		"no place":                         "no place",
	} {
		assert.Equal(t, want, basePath(in))
	}
}
