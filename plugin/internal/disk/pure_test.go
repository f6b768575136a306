package disk

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/volspec"
	"mooring.dev/mooring/plugin/internal/driver"
)

func TestMountinfo(t *testing.T) {
	const text = `26 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
63 43 7:0 / /mnt/a\040b\134c ro,nosuid,nodev master:2 propagate_from:3 - ext4 /dev/mooring/x\011y rw,errors=remount-ro
64 43 0:63 /sub /mnt/empty rw -  none rw
nonsense
65 43 x:y / /bad rw - ext4 /dev/x rw
66 43 0:5 / /short rw
67 43 0:99 / /ends rw - tmpfs`
	got, err := parseMountinfo(strings.NewReader(text))
	require.NoError(t, err)
	require.Len(t, got, 3)
	assert.Equal(t, mountEntry{ID: 26, Major: 254, Root: "/", Point: "/", FSType: "ext4", Source: "/dev/root"}, got[0])
	assert.Equal(t, mountEntry{ID: 63, Major: 7, Root: "/", Point: `/mnt/a b\c`, FSType: "ext4", Source: "/dev/mooring/x\ty", ReadOnly: true}, got[1])
	assert.Equal(t, "/mnt/empty", got[2].Point)
	assert.EqualValues(t, 63, got[2].Minor)
}

func FuzzMountinfo(f *testing.F) {
	if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
		f.Add(data)
	}
	f.Add([]byte(`63 43 7:0 / /mnt/a\040b\1 ro - ext4 \777 rw`))
	f.Add([]byte("1 2 3:4 / / - -\n - \\"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseMountinfo(bytes.NewReader(data))
		if err != nil {
			require.Greater(t, len(data), 64<<10, "only a line beyond all bounds is an error")
		}
		for _, e := range all {
			assert.LessOrEqual(t, len(e.Point), len(data))
		}
	})
}

func FuzzSuper(f *testing.F) {
	for _, magic := range []struct {
		at   int
		text string
	}{{0, "XFSB"}, {0x438, "\x53\xef"}, {0x10040, "_BHRfS_M"}} {
		b := make([]byte, superLen)
		copy(b[magic.at:], magic.text)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, ok := parseSuper(b)
		if !ok {
			return
		}
		assert.GreaterOrEqual(t, s.Bytes, int64(0))
		assert.GreaterOrEqual(t, s.Spare, int64(0))
		s.growable(1 << 40)
	})
}

// flaky answers a read in one of the ways in which devices fail.
type flaky struct {
	size int64
	read func(p []byte, at int64) (int, error)
}

func (f flaky) ReadAt(p []byte, at int64) (int, error) { return f.read(p, at) }

func TestOnlyZerosReadToTheEndAreBlank(t *testing.T) {
	const size = 10 << 20
	zeros := func(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }
	var asked []int64
	good := flaky{size, func(p []byte, at int64) (int, error) { asked = append(asked, at); return zeros(p, at) }}
	require.NoError(t, checkBlank(t.Context(), good, size, "dev"))
	assert.Equal(t, []int64{0, size - probeLen}, asked, "first and last MiB")
	small := flaky{4096, zeros}
	require.NoError(t, checkBlank(t.Context(), small, 4096, "dev"))

	at := func(where int64, what func(p []byte) (int, error)) flaky {
		return flaky{size, func(p []byte, at int64) (int, error) {
			if at == where {
				return what(p)
			}
			return zeros(p, at)
		}}
	}
	for _, where := range []int64{0, size - probeLen} {
		for name, c := range map[string]struct {
			read func(p []byte) (int, error)
			kind errkind.Kind
		}{
			"input/output error":           {func([]byte) (int, error) { return 0, unix.EIO }, errkind.Unavailable},
			"error with all bytes missing": {func(p []byte) (int, error) { clear(p); return 0, io.EOF }, errkind.Unavailable},
			"short read without error":     {func(p []byte) (int, error) { clear(p); return len(p) / 2, nil }, errkind.Unavailable},
			"short read at the end":        {func(p []byte) (int, error) { clear(p); return len(p) - 1, io.EOF }, errkind.Unavailable},
			"nothing at all":               {func([]byte) (int, error) { return 0, nil }, errkind.Unavailable},
			"data in the first byte":       {func(p []byte) (int, error) { clear(p); p[0] = 1; return len(p), nil }, errkind.Corrupt},
			"data in the last byte":        {func(p []byte) (int, error) { clear(p); p[len(p)-1] = 1; return len(p), nil }, errkind.Corrupt},
		} {
			err := checkBlank(t.Context(), at(where, c.read), size, "dev")
			assert.True(t, errkind.Is(err, c.kind), "%s at %d: %v", name, where, err)
		}
	}
	assert.Error(t, checkBlank(t.Context(), flaky{0, zeros}, 0, "dev"), "a disk without bytes is not blank")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, checkBlank(ended, good, size, "dev"), context.Canceled)
}

func TestMkfsArgs(t *testing.T) {
	for _, c := range []struct {
		fstype string
		opts   []string
		want   string
	}{
		{volspec.Ext4, nil, "-q -E lazy_itable_init=0,lazy_journal_init=0 -U u dev"},
		{volspec.Ext4, []string{"-m", "0", "-E", "nodiscard", "-b", "4096"}, "-q -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -m 0 -b 4096 -U u dev"},
		{volspec.Ext4, noDiscard(volspec.Ext4), "-q -E lazy_itable_init=0,lazy_journal_init=0,nodiscard -U u dev"},
		{volspec.XFS, append(noDiscard(volspec.XFS), "-m", "crc=1"), "-q -K -m crc=1 -m uuid=u dev"},
		{volspec.Btrfs, noDiscard(volspec.Btrfs), "-q -K -U u dev"},
		{volspec.XFS, []string{"-m", "crc=1"}, "-q -m crc=1 -m uuid=u dev"},
		{volspec.Btrfs, []string{"-M"}, "-q -M -U u dev"},
	} {
		args, err := mkfsArgs(c.fstype, "u", c.opts, "dev")
		require.NoError(t, err)
		assert.Equal(t, c.want, strings.Join(args, " "))
		assert.NotContains(t, args, "-f")
		assert.NotContains(t, args, "-F")
	}
	_, err := mkfsArgs("vfat", "u", nil, "dev")
	assert.True(t, errkind.Is(err, errkind.Invalid))
}

func TestMountOptions(t *testing.T) {
	flags, data := mountOptions(driver.Filesystem{MountOpts: []string{"dev", "suid", "noatime", "discard", "commit=30"}, ReadOnly: true})
	assert.EqualValues(t, unix.MS_NOATIME|unix.MS_RDONLY, flags)
	assert.Equal(t, []string{"discard", "commit=30"}, data)
	flags, data = mountOptions(driver.Filesystem{})
	assert.EqualValues(t, unix.MS_NODEV|unix.MS_NOSUID, flags)
	assert.Empty(t, data)
}

// Every word that volspec lets through is known here as a flag, or is one
// that filesystems read themselves.
func TestMountWordsAreKnown(t *testing.T) {
	opts, err := volspec.ParseMountOpts("dev,nodev,suid,nosuid,exec,noexec,atime,noatime,nodiratime,relatime,strictatime,lazytime,sync,discard,nodiscard")
	require.NoError(t, err)
	_, data := mountOptions(driver.Filesystem{MountOpts: opts})
	assert.Equal(t, []string{"discard", "nodiscard"}, data)
}

func TestPathsBelowTheRootOnly(t *testing.T) {
	g := New(Options{Root: "/mnt/vsphere"})
	for _, p := range []string{"/mnt/vsphere", "/mnt/vsphere/a/b", "/etc/x", "/mnt/vsphere/../x", "/mnt/vsphere/", "relative"} {
		assert.Error(t, g.below(p), p)
		assert.Error(t, g.Unmount(t.Context(), p), p)
		assert.Error(t, g.Mount(t.Context(), "/dev/null", p, driver.Filesystem{}), p)
	}
	assert.NoError(t, g.below("/mnt/vsphere/a"))
}

func TestFindInSysfs(t *testing.T) {
	const serial = "0123456789abcdef0123"
	sys := t.TempDir()
	for name, files := range map[string]map[string]string{
		"vda": {"serial": serial + "\n"},
		"sda": {"device/vpd_pg80": "\x00\x80\x00\x14" + serial},
		"sdb": {"device/wwid": "t10.VMware  " + serial},
		"vdb": {"serial": "another\n"},
		"sr0": {},
	} {
		for f, data := range files {
			p := filepath.Join(sys, "block", name, f)
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			require.NoError(t, os.WriteFile(p, []byte(data), 0o600))
		}
	}
	g := New(Options{Root: "/r", Dev: "/d", Sys: sys})
	assert.Equal(t, []string{"/d/mooring/" + serial, "/d/sda", "/d/sdb", "/d/vda"}, g.candidates(serial))
}

// A disk of vSphere has a UUID, which page 0x80 may show or not.
func TestFindByTheUUIDOfAVirtualDisk(t *testing.T) {
	const uuid = "6000c2941d3a7f7b0d4f6c7b8f4a9e11"
	sys, dev := t.TempDir(), t.TempDir()
	page83, err := hex.DecodeString("0083001001030010" + uuid)
	require.NoError(t, err)
	for name, files := range map[string]map[string]string{
		"sda": {"device/vpd_pg80": "\x00\x80\x00\x04odd1", "device/wwid": "naa." + uuid + "\n"},
		"sdb": {"device/wwid": "naa.6000c29ffffffffffffffffffffffff1\n"},
		"sdc": {"device/vpd_pg80": "\x00\x80\x00\x20" + strings.ToUpper(uuid)},
		"sdd": {"device/vpd_pg83": string(page83)},
	} {
		for f, data := range files {
			p := filepath.Join(sys, "block", name, f)
			require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
			require.NoError(t, os.WriteFile(p, []byte(data), 0o600))
		}
	}
	for _, link := range []string{"wwn-0x" + uuid, "scsi-3" + uuid, "wwn-0x" + uuid + "-part1"} {
		p := filepath.Join(dev, "disk", "by-id", link)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.Symlink("../../sda", p))
	}
	g := New(Options{Root: "/r", Dev: dev, Sys: sys})
	assert.Equal(t, []string{
		dev + "/mooring/" + uuid, dev + "/disk/by-id/scsi-3" + uuid, dev + "/disk/by-id/wwn-0x" + uuid, dev + "/sda", dev + "/sdc", dev + "/sdd",
	}, g.candidates(uuid))
}

func TestTool(t *testing.T) {
	_, err := tool(t.Context(), nil, "no-such-mkfs")
	assert.True(t, errkind.Is(err, errkind.Unsupported))
	code, err := tool(t.Context(), []int{1}, "false")
	require.NoError(t, err)
	assert.Equal(t, 1, code)
	_, err = tool(t.Context(), nil, "ls", "/does/not/exist")
	assert.True(t, errkind.Is(err, errkind.Internal))
	assert.ErrorContains(t, err, "No such file or directory")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = tool(ctx, nil, "sleep", "60")
	assert.True(t, errkind.Is(err, errkind.Unavailable), "%v", err)
	assert.True(t, errors.Is(err, context.DeadlineExceeded))
	assert.Less(t, time.Since(start), 10*time.Second)
	assert.LessOrEqual(t, len(tail(strings.Repeat("é", 5000))), tailLen+3)
}
