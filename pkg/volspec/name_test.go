package volspec

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseName(t *testing.T) {
	hundred := strings.Repeat("ü", MaxNameLen)
	for in, want := range map[string]Name{
		"v":                         {"v", ""},
		"v@ds":                      {"v", "ds"},
		"a@b@c":                     {"a@b", "c"},
		"@@ds":                      {"@", "ds"},
		"a b@data store (1)":        {"a b", "data store (1)"},
		"名前@ds":                     {"名前", "ds"},
		"...":                       {"...", ""},
		"-rf":                       {"-rf", ""},
		"%2e%2e":                    {"%2e%2e", ""},
		"v-12345":                   {"v-12345", ""},
		"v-1234567":                 {"v-1234567", ""},
		"v-123456@ds-123456x":       {"", ""},
		"v@ds-123456":               {"v", "ds-123456"},
		hundred + "@" + hundred:     {hundred, hundred},
		strings.Repeat("x", 100):    {strings.Repeat("x", 100), ""},
		"quote'\"$(reboot)`id`;&|<": {"quote'\"$(reboot)`id`;&|<", ""},
	} {
		got, err := ParseName(in)
		if want == (Name{}) {
			require.Error(t, err, in)
			continue
		}
		require.NoError(t, err, in)
		assert.Equal(t, want, got)
		assert.Equal(t, in, got.String())
	}
	assert.Equal(t, Name{"v", "other"}, Name{"v", "ds"}.Full("other"))
}

func TestNameRoundTrip(t *testing.T) {
	part := rapid.StringMatching(`[a-zA-Z0-9 _.@%ü名+()-]{1,40}`)
	rapid.Check(t, func(t *rapid.T) {
		in := part.Draw(t, "volume")
		if rapid.Bool().Draw(t, "full") {
			in += "@" + part.Draw(t, "datastore")
		}
		n, err := ParseName(in)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if again, err := ParseName(n.String()); err != nil || again != n || n.String() != in {
			t.Fatalf("%q → %+v → %q → %+v, %v", in, n, n.String(), again, err)
		}
	})
}

func FuzzParseName(f *testing.F) {
	for _, s := range []string{"v", "v@ds", "a@b@c", "@", "v@", "@ds", "..", "../x", "a/b", "a\\b", "a\x00b", "\xff", "v-123456", "�", strings.Repeat("x", 101)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := ParseName(in)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		if n.String() != in {
			t.Fatalf("%q reads back as %q", in, n.String())
		}
		for _, p := range []string{n.Volume, n.Datastore} {
			if p == "." || p == ".." || strings.ContainsAny(p, "/\\\x00\n") || !utf8.ValidString(p) || utf8.RuneCountInString(p) > MaxNameLen {
				t.Fatalf("%q is let through in %q", p, in)
			}
		}
	})
}

func TestConfiguredNames(t *testing.T) {
	for _, ok := range []string{"web01", "data store (1)", "_x", "0", "a.b-c+d"} {
		assert.NoError(t, CheckVMName(ok))
		assert.NoError(t, CheckDatastoreName(ok))
	}
	for _, ok := range []string{"_DEFAULT", "T1", "a.b-c"} {
		assert.NoError(t, CheckVMGroupName(ok))
	}
	for _, bad := range []string{"", " x", ".x", "-x", "a@b", "a/b", "ü", "a\nb", strings.Repeat("x", 101)} {
		checkRefusal(t, CheckVMName(bad))
		checkRefusal(t, CheckDatastoreName(bad))
		checkRefusal(t, CheckVMGroupName(bad))
	}
	checkRefusal(t, CheckVMGroupName("a b"))
	checkRefusal(t, CheckDatastoreName(VMDatastore))
	checkRefusal(t, CheckDatastoreName(AllDatastores))
	checkRefusal(t, CheckDatastoreName(PointsDatastore))
	assert.NoError(t, CheckVMName(VMDatastore), "only datastores have special names")
}

func TestSerial(t *testing.T) {
	assert.Equal(t, "0123456789abcdef0123", Serial("01234567-89ab-cdef-0123-456789abcdef"))
	assert.Equal(t, "short", Serial("short"))
}

// What reads otherwise than it is cannot become a name; what has such a name
// already is still found.
func TestNewNamesReadAsTheyAre(t *testing.T) {
	for in, ok := range map[string]bool{
		"v@ds": true, "名前": true, "quote'\"$(reboot)`id`;&|<": true, "שלום": true,
		"txt\u202egpj": false, "a\u2066b@ds": false, "a\u200fb": false, "a\u2028b": false, "a\u2029b": false, "a\u200bb": false, "a\u200db": false, "\ufeffa": false, "a\u00adb": false,
	} {
		_, err := ParseName(in)
		require.NoError(t, err, in)
		_, err = ParseNewName(in)
		assert.Equal(t, ok, err == nil, "%q: %v", in, err)
	}
	_, err := ParseNewName("a/b")
	assert.ErrorContains(t, err, "illegal characters")
}
