package volspec

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

func TestParseFolder(t *testing.T) {
	for in, want := range map[string]Folder{
		"/DC0/vm/tenants/acme": "/DC0/vm/tenants/acme", "tenants/acme": "tenants/acme", "//DC0//vm/a/": "/DC0/vm/a",
		"a": "a", "a b%2fc/ü": "a b%2fc/ü", "...": "...",
	} {
		f, err := ParseFolder(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, f)
		assert.Equal(t, in[0] == '/', f.IsAbs())
		again, err := ParseFolder(string(f))
		require.NoError(t, err)
		assert.Equal(t, f, again, "it is in its one form")
	}
	for in, why := range map[string]string{
		"": "names none", "/": "names none", "///": "names none", "a/../b": "not names", "./a": "not names", "/..": "not names",
		"a\nb": "control characters", "a\xff": "control characters", "txt\u202egpj": "cannot be seen", "a/b\u200b": "cannot be seen", "a\u2028": "cannot be seen", strings.Repeat("a/", 600): "too long",
	} {
		_, err := ParseFolder(in)
		require.Equal(t, errkind.Invalid, errkind.Of(err), "%q", in)
		assert.Contains(t, errkind.Text(err), why, in)
		assert.Contains(t, errkind.Text(err), "write it as /DATACENTER/vm/FOLDER")
	}
}

// Two folders overlap exactly when some place is in both, whichever is asked.
func TestFoldersOverlap(t *testing.T) {
	var all []Folder
	grow := []Folder{""}
	for range 3 {
		var next []Folder
		for _, f := range grow {
			for _, name := range []Folder{"a", "aa", "b"} {
				next = append(next, f+"/"+name)
			}
		}
		all, grow = append(all, next...), next
	}
	holds := func(f Folder) map[Folder]bool {
		in := map[Folder]bool{}
		for _, o := range all {
			if f.Holds(o) {
				in[o] = true
			}
		}
		return in
	}
	for _, f := range all {
		mine := holds(f)
		assert.True(t, mine[f])
		for _, o := range all {
			both := false
			for place := range holds(o) {
				both = both || mine[place]
			}
			assert.Equal(t, both, f.Overlaps(o), "%s, %s", f, o)
			assert.Equal(t, f.Overlaps(o), o.Overlaps(f))
		}
		assert.False(t, f.Overlaps(""), "no folder holds nothing")
	}
}
