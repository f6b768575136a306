package volspec

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mooring.dev/mooring/pkg/errkind"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Every sentence a person gets for a wrong name, size or option, in
// testdata/bad.golden.
func TestSentencesForBadInput(t *testing.T) {
	var b strings.Builder
	write := func(what, in string, err error) {
		require.Equal(t, errkind.Invalid, errkind.Of(err), "%s %q", what, in)
		checkRefusal(t, err)
		fmt.Fprintf(&b, "%s %s\n    %s\n", what, clip(fmt.Sprintf("%q", in)), errkind.Text(err))
	}
	long := strings.Repeat("x", 101)
	for _, in := range []string{
		"", "@", "v@", "@ds", ".", "..", "..@ds", "v@..", "a/b", "../../etc/passwd", "a\\b", "a\nb", "a\x00b", "\x1b[2J", "\xff", "a\ufffdb",
		long, "v@" + long, "v-000001", "db-123456@ds", "v@a/b",
	} {
		_, err := ParseName(in)
		write("name", in, err)
	}
	for _, in := range []string{
		"", "1", "100", "mb", "0mb", "-1gb", "+1gb", "1.5gb", "1,5gb", "1 gb", " 1gb", "1gb ", "0x10mb", "1e3mb", "1mbit", "1gibb", "ten gb", "٣mb",
		"65pb", "99999999999999999999b", "9223372036854775807p", strings.Repeat("0", 300),
	} {
		_, err := ParseSize(in)
		write("size", in, err)
	}
	for _, in := range []string{
		"size=", "size=1mb", "fstype=ntfs", "fstype=EXT4", "fstype=", "diskformat=thick", "access=rw", "attach-as=independent", "clone-from=", "clone-from=../v",
		"from-snapshot=a/b", "from-snapshot=s", "datastore=", "datastore=a/b", "vsan-policy-name=", "mountopts=", "mountopts=ro", "mountopts=noatime,loop", "mountopts=noatime,,exec",
		"mkfsopts=-F", "mkfsopts=-L label", "mkfsopts=/dev/sda", "uid=-1", "uid=root", "uid=2147483648", "gid=", "mode=rwx", "mode=10000", "mode=9", "protect=yes", "protect=",
		"restore-from=", "restore-from=a/b", "restore-from=../v@latest", "restore-from=v@", "restore-from=@latest", "view-of=", "view-of=a\nb", "backup-policy=", "backup-policy=a/b",
		"Size=1gb", "colour=red", long + "=x", "\x1b[2J=x", "fstype=\x1b[2J",
	} {
		k, v, _ := strings.Cut(in, "=")
		_, err := ParseOptions(map[string]string{k: v})
		write("option", in, err)
	}
	for _, in := range []map[string]string{
		{"clone-from": "v", "size": "1gb", "fstype": "xfs", "mkfsopts": "-K"},
		{"fstype": "xfs", "size": "100mb"},
		{"fstype": "btrfs", "size": "64mb"},
		{"fstype": "xfs", "mkfsopts": "-m 0"},
		{"size": "big", "mode": "x", "uid": "me"},
		{"restore-from": "latest", "fstype": "xfs", "mkfsopts": "-K"},
		{"restore-from": "latest", "clone-from": "v"},
		{"restore-from": "latest", "from-snapshot": "s"},
		{"restore-from": "latest", "view-of": "latest"},
		{"view-of": "latest", "size": "1gb", "fstype": "xfs", "mkfsopts": "-K", "diskformat": "zeroedthick", "access": "read-write", "backup-policy": "daily"},
	} {
		_, err := ParseOptions(in)
		write("options", fmt.Sprint(in), err)
	}
	for _, in := range []string{"", "a b", "*", "-x", "a\x1b[2J", long} {
		write("vmgroup", in, CheckVMGroupName(in))
	}
	for _, in := range []string{"", "a@b", "ü", long} {
		write("VM", in, CheckVMName(in))
	}
	for _, in := range []string{"_VM_DS", "_ALL_DS", PointsDatastore, "Recovery-Points", "a/b", ""} {
		write("datastore", in, CheckDatastoreName(in))
	}

	const golden = "testdata/bad.golden"
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	assert.Equal(t, string(want), b.String(), "run the test with -update and read the difference")
}
