package volspec

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
)

func TestParseOptions(t *testing.T) {
	for name, tc := range map[string]struct {
		in   map[string]string
		want Spec
	}{
		"nothing": {nil, Spec{}},
		"all": {
			map[string]string{
				"size": "1gb", "fstype": "xfs", "diskformat": "eagerzeroedthick", "access": "read-only", "attach-as": "persistent",
				"vsan-policy-name": "gold", "datastore": "fast ssd", "mkfsopts": "-b size=4096 -K", "mountopts": "noatime,logbufs=8",
				"uid": "1000", "gid": "0", "mode": "1777", "protect": "TRUE",
			},
			Spec{
				Size: GiB, FSType: XFS, DiskFormat: EagerZeroedThick, Access: ReadOnly, AttachAs: Persistent, StoragePolicy: "gold",
				Datastore: "fast ssd", MkfsOpts: []string{"-b", "size=4096", "-K"}, MountOpts: []string{"noatime", "logbufs=8"},
				UID: new(1000), GID: new(0), Mode: new(uint32(0o1777)), Protect: true,
			},
		},
		"clone": {
			map[string]string{"clone-from": "old@ds", "from-snapshot": "monday", "access": "read-only"},
			Spec{CloneFrom: "old@ds", FromSnapshot: "monday", Access: ReadOnly},
		},
		"restored": {
			map[string]string{"restore-from": "my@db@2026-01-02T03:04:05Z", "size": "2gb", "backup-policy": "nightly"},
			Spec{RestoreFrom: "my@db@2026-01-02T03:04:05Z", Size: 2 * GiB, BackupPolicy: "nightly"},
		},
		"view": {
			map[string]string{"view-of": "latest", "diskformat": "thin", "access": "read-only"},
			Spec{ViewOf: "latest", DiskFormat: Thin, Access: ReadOnly},
		},
		"empty mkfsopts": {map[string]string{"mkfsopts": " "}, Spec{}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseOptions(tc.in)
			require.NoError(t, err)
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := ParseOptions(map[string]string{"size": "big", "access": "none", "colour": "red", "smell": "bad", "uid": "root"})
	require.Equal(t, errkind.Invalid, errkind.Of(err))
	for _, want := range []string{
		`size "big" is not valid`, "Access type 'none' is not supported.", `uid "root" is not valid`,
		"Invalid options: ['colour', 'smell']. Valid options and defaults: [('size', '100mb'), ",
	} {
		assert.Contains(t, errkind.Text(err), want)
	}
}

func TestDefaulted(t *testing.T) {
	base := Spec{Size: 100 * MiB, FSType: Ext4, DiskFormat: Thin, Access: ReadWrite, AttachAs: IndependentPersistent}
	assert.Equal(t, base, Spec{}.Defaulted())
	xfs := base
	xfs.FSType, xfs.Size = XFS, 300*MiB
	assert.Equal(t, xfs, Spec{FSType: XFS}.Defaulted(), "the default size grows with what mkfs needs")
	clone := Spec{CloneFrom: "v", DiskFormat: Thin, Access: ReadWrite, AttachAs: IndependentPersistent}
	assert.Equal(t, clone, Spec{CloneFrom: "v"}.Defaulted(), "a clone's size and filesystem are its source's")
	restored := Spec{RestoreFrom: "latest", DiskFormat: Thin, Access: ReadWrite, AttachAs: IndependentPersistent}
	assert.Equal(t, restored, Spec{RestoreFrom: "latest"}.Defaulted(), "so are a restored volume's")
	view := Spec{ViewOf: "latest", DiskFormat: Thin, Access: ReadOnly, AttachAs: IndependentPersistent}
	assert.Equal(t, view, Spec{ViewOf: "latest"}.Defaulted(), "what shows a recovery point is read-only")
	for _, s := range []Spec{base, xfs, clone, restored, view} {
		assert.Equal(t, s, s.Defaulted(), "again changes nothing")
	}
}

func TestConflicts(t *testing.T) {
	have := Spec{Size: GiB, Access: ReadOnly, Datastore: "ds1"}
	for _, same := range []Spec{{}, {Size: GiB}, {FSType: Ext4}, {DiskFormat: Thin, Access: ReadOnly}, {Datastore: "elsewhere"}} {
		assert.Empty(t, same.Conflicts(have))
	}
	assert.Equal(t, []string{"access=read-write (is read-only)", "protect=true (is not set)", "size=2gb (is 1gb)"},
		Spec{Size: 2 * GiB, Access: ReadWrite, Protect: true}.Conflicts(have))
}

// genOptions draws options that are mostly valid.
func genOptions(t *rapid.T) map[string]string {
	words := map[string][]string{
		"size":    {"8mb", "1gb", "300MiB", "314572801b", "7mb", "x"},
		"fstype":  {Ext4, XFS, Btrfs, "ntfs"},
		"access":  {ReadOnly, ReadWrite},
		"uid":     {"0", "1000", "2147483647", "-1"},
		"gid":     {"0", "007"},
		"mode":    {"0", "755", "0755", "7777", "8"},
		"protect": {"true", "False"},
		"mkfsopts": {
			"-m 0", "-O ^has_journal,quota", "-b size=4096", "--mixed", "", "-F", "-E nodiscard  -i 4096",
		},
		"mountopts":        {"noatime", "dev,suid", "compress=zstd:3", "ro", ""},
		"clone-from":       {"v", "a@b@c", ".."},
		"from-snapshot":    {"s"},
		"datastore":        {"ds", VMDatastore, "a/b"},
		"vsan-policy-name": {"gold plated"},
		"diskformat":       {Thin, ZeroedThick, EagerZeroedThick},
		"attach-as":        {Persistent, IndependentPersistent},
		"restore-from":     {"latest", "v@2026-01-02T03:04:05Z", "a/b"},
		"view-of":          {"latest", "v@"},
		"backup-policy":    {"daily", ".."},
	}
	m := map[string]string{}
	for _, o := range options {
		if rapid.IntRange(0, 3).Draw(t, o.name+"?") == 0 {
			m[o.name] = rapid.SampledFrom(words[o.name]).Draw(t, o.name)
		}
	}
	return m
}

// What Options says of a spec is that spec, and no more than what was set.
func TestOptionsRoundTrip(t *testing.T) {
	accepted := 0
	rapid.Check(t, func(t *rapid.T) {
		in := genOptions(t)
		if roundTrip(t, in) {
			accepted++
		}
	})
	assert.Positive(t, accepted, "the generator draws valid options")
}

func roundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, in map[string]string,
) bool {
	t.Helper()
	s, err := ParseOptions(in)
	if err != nil {
		checkRefusal(t, err)
		return false
	}
	out := s.Options()
	again, err := ParseOptions(out)
	if err != nil || !assert.ObjectsAreEqual(s, again) {
		t.Fatalf("%v → %+v → %v → %+v, %v", in, s, out, again, err)
	}
	for k := range out {
		if _, asked := in[k]; !asked {
			t.Fatalf("%v grew option %s=%s", in, k, out[k])
		}
	}
	if !maps.Equal(out, again.Options()) || len(s.Conflicts(s)) != 0 {
		t.Fatalf("%v differs from itself: %v, %v", in, again.Options(), s.Conflicts(s))
	}
	return true
}

func FuzzParseOptions(f *testing.F) {
	for _, o := range options {
		f.Add(o.name, o.def, "size", "1gb")
	}
	f.Add("mkfsopts", "-O ^a b", "fstype", "btrfs")
	f.Add("size", strings.Repeat("9", 5000), "\x1b[2J", "x")
	f.Fuzz(func(t *testing.T, k1, v1, k2, v2 string) {
		roundTrip(t, map[string]string{k1: v1, k2: v2})
	})
}

// No option can make mkfs or mount touch anything but the volume, or
// overwrite a filesystem.
func FuzzMkfsAndMountOptions(f *testing.F) {
	for _, s := range []string{"-F", "-b 4096", "-O quota", "/dev/sda", "--help", "-E root_owner=0:0", "-d file", "noatime,/etc", "loop=/dev/loop0", "-L x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		for _, fs := range []string{Ext4, XFS, Btrfs, "none"} {
			args, err := MkfsArgs(fs, fields(in))
			if err != nil {
				checkRefusal(t, err)
				continue
			}
			for _, a := range args {
				if strings.ContainsAny(a, "/\\\n\x00") || a == "-f" || a == "-F" || a == "-force" || a == "--force" {
					t.Fatalf("%q is passed to mkfs.%s", a, fs)
				}
			}
		}
		opts, err := ParseMountOpts(in)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		for _, o := range opts {
			if strings.ContainsAny(o, "/\\\n\x00 ") || strings.HasPrefix(o, "loop") || o == "ro" || o == "rw" || o == "bind" || o == "remount" {
				t.Fatalf("%q is passed to mount", o)
			}
		}
	})
}
