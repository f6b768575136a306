package imagefs

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"mooring.dev/mooring/pkg/errkind"
	"mooring.dev/mooring/pkg/image"
)

// acl is an access control list as the kernel keeps it: user 1234 may read.
var acl = []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 210, 4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}

// capability is CAP_NET_RAW, permitted and effective, of version 2.
var capability = []byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

// plant makes a tree with everything that is hard to keep.
func plant(t *testing.T, at string) {
	t.Helper()
	p := func(name string) string { return filepath.Join(at, name) }
	write := func(name string, data []byte) {
		require.NoError(t, os.MkdirAll(filepath.Dir(p(name)), 0o755))
		require.NoError(t, os.WriteFile(p(name), data, 0o644))
	}
	write("plain", []byte("hello\n"))
	write("empty", nil)
	write("big", pattern(3<<20+123, 1))
	write("owned/file", []byte("x"))
	require.NoError(t, os.Chown(p("owned"), 1000, 2000))
	require.NoError(t, os.Chown(p("owned/file"), 4_000_000_000, 3_999_999_999))
	for name, mode := range map[string]uint32{"modes/suid": 0o4755, "modes/sgid": 0o2711, "modes/sticky": 0o1777, "modes/none": 0} {
		write(name, []byte(name))
		require.NoError(t, unix.Chmod(p(name), mode))
	}
	write("links/one", []byte("same"))
	require.NoError(t, os.Link(p("links/one"), p("links/two")))
	require.NoError(t, os.Link(p("links/one"), p("elsewhere")))
	require.NoError(t, os.Symlink("../../etc/passwd", p("links/up")))
	require.NoError(t, os.Symlink("/absolute", p("links/abs")))
	require.NoError(t, os.Symlink(strings.Repeat("long/", 180), p("links/long")))
	require.NoError(t, os.Link(p("links/abs"), p("links/abs2")))
	require.NoError(t, unix.Mkfifo(p("fifo"), 0o640))
	require.NoError(t, unix.Mknod(p("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	require.NoError(t, unix.Mknod(p("blk"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	write(strings.Repeat("n", 255), []byte("long"))
	write(strings.Repeat("deep/"+strings.Repeat("d", 90)+"/", 12)+"f", []byte("deep"))
	write("bytes/\xff\xfe\x01", []byte("odd"))
	write("bytes/new\nline", []byte("odd"))
	write("bytes/\"quo'te\\", []byte("odd"))
	write("bytes/-rf", []byte("odd"))
	write("bytes/ünïcode ☃", []byte("odd"))
	write("attrs/file", []byte("a"))
	for name, value := range map[string][]byte{
		"user.text": []byte("v"), "user.binary": {0, 1, '\n', '=', 255}, "user.big": pattern(500, 5), "trusted.t": []byte("root's"),
		"security.capability": capability, "system.posix_acl_access": acl,
	} {
		require.NoError(t, unix.Setxattr(p("attrs/file"), name, value, 0), name)
	}
	require.NoError(t, unix.Setxattr(p("attrs"), "system.posix_acl_default", acl, 0))
	require.NoError(t, unix.Lsetxattr(p("links/up"), "trusted.onlink", []byte("l"), 0))
	plantSparse(t, at)
	for name, at := range map[string]time.Time{
		"plain": time.Unix(1_600_000_000, 123_456_789), "empty": time.Unix(-100, 500_000_000),
		"owned": time.Unix(12, 1), "links/one": time.Unix(5_000_000_000, 0),
	} {
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, p(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

func plantSparse(t *testing.T, at string) {
	sparse := func(name string, size int64, data ...image.Extent) {
		p := filepath.Join(at, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		f, err := os.Create(p)
		require.NoError(t, err)
		for _, e := range data {
			_, err := f.WriteAt(pattern(int(e.Length), byte(e.Offset>>12)), e.Offset)
			require.NoError(t, err)
		}
		require.NoError(t, errors.Join(f.Truncate(size), f.Close()))
	}
	sparse("sparse/hole", 64<<20)
	sparse("sparse/tiny", 10)
	sparse("sparse/begin", 10<<20, image.Extent{Offset: 5 << 20, Length: 1 << 20})
	sparse("sparse/end", 10<<20+77, image.Extent{Offset: 0, Length: 70_000})
	sparse("sparse/middle", 10<<20, image.Extent{Offset: 0, Length: 64 << 10}, image.Extent{Offset: 9 << 20, Length: 1 << 20})
	sparse("sparse/huge", 20<<30, image.Extent{Offset: 19 << 30, Length: 4096})
	var many []image.Extent
	for i := range int64(300) {
		many = append(many, image.Extent{Offset: i * 128 << 10, Length: 64 << 10})
	}
	sparse("sparse/many ☃", 40<<20, many...)
}

// seen is all that a test compares of a file.
type seen struct {
	Mode, UID, GID uint32
	Size, Blocks   int64
	MTime          int64
	Rdev, Nlink    uint64
	Target, Sum    string
	Data           []image.Extent // what is no hole
	Attrs          map[string]string
	Same           string // the first name of the same file
}

// look describes a tree.
func look(t *testing.T, at string) map[string]seen {
	t.Helper()
	all, first := map[string]seen{}, map[uint64]string{}
	require.NoError(t, filepath.WalkDir(at, func(p string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		name := strings.TrimPrefix(p, at)
		if name == "/lost+found" || name == "" {
			return nil
		}
		var st syscall.Stat_t
		require.NoError(t, syscall.Lstat(p, &st))
		s := seen{Mode: st.Mode, UID: st.Uid, GID: st.Gid, MTime: st.Mtim.Nano(), Rdev: uint64(st.Rdev), Attrs: map[string]string{}}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			s.Nlink, s.Size = uint64(st.Nlink), st.Size
			if first[st.Ino] == "" {
				first[st.Ino] = name
			}
			s.Same = first[st.Ino]
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			s.Blocks = st.Blocks
			s.Sum = sumOf(t, p, st.Size)
			f, err := os.Open(p)
			require.NoError(t, err)
			s.Data, err = segments(f, st.Size)
			require.NoError(t, errors.Join(err, f.Close()))
		case unix.S_IFLNK:
			s.Target, err = os.Readlink(p)
			require.NoError(t, err)
		}
		names, err := sized(func(b []byte) (int, error) { return unix.Llistxattr(p, b) })
		require.NoError(t, err)
		for key := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
			if key != "" {
				v, err := sized(func(b []byte) (int, error) { return unix.Lgetxattr(p, key, b) })
				require.NoError(t, err)
				s.Attrs[key] = string(v)
			}
		}
		all[name] = s
		return nil
	}))
	return all
}

func sumOf(t *testing.T, p string, size int64) string {
	if size > 1<<30 {
		return "huge"
	}
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	return string(bytes.TrimRight(b, "\x00"))
}

// gnuTar extracts an archive as people do.
func gnuTar(t *testing.T, archive, to string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(to, 0o755))
	run(t, "tar", "--extract", "--file", archive, "--directory", to, "--numeric-owner", "--xattrs", "--xattrs-include=*", "--same-permissions", "--delay-directory-restore")
}

func TestTarKeepsEverything(t *testing.T) {
	eachType(t, func(t *testing.T, fstype string) {
		d := newDisk(t, fstype)
		plant(t, d.at)
		unix.Sync()
		want := look(t, d.at)
		f := openFS(t, openImage(t, d.clean()))
		archive := filepath.Join(t.TempDir(), "a.tar")
		w, err := os.Create(archive)
		require.NoError(t, err)
		report, err := f.Tar(t.Context(), w, nil, TarOptions{})
		require.NoError(t, err)
		require.NoError(t, w.Close())
		assert.Empty(t, report.Notes)
		assert.Empty(t, report.Damaged)
		st, err := os.Stat(archive)
		require.NoError(t, err)
		assert.Less(t, st.Size(), int64(60<<20), "holes cost room")

		target, mkfs := fstype, []string{} // the same filesystem, so that blocks compare
		if fstype == "xfs" {
			// It allocates ahead of who writes, and keeps that for good when the
			// file becomes larger by other means, as with GNU tar.
			target, mkfs = "ext4", []string{"-b", "4096"}
		}
		to := newDisk(t, target, mkfs...)
		gnuTar(t, archive, to.at)
		unix.Sync()
		have := look(t, to.at)
		for name, s := range want {
			got, ok := have[name]
			if !assert.True(t, ok, "%q is missing", name) {
				continue
			}
			// What is allocated differs by how files were written, never by a hole.
			assert.InDelta(t, s.Blocks, got.Blocks, 64, "blocks of %q", name)
			got.Blocks = s.Blocks
			assert.Equal(t, s, got, "%q", name)
		}
		assert.Len(t, have, len(want))
		readByGo(t, archive, want)
	})
}

// readByGo reads the archive with a second reader.
func readByGo(t *testing.T, archive string, want map[string]seen) {
	t.Helper()
	r, err := os.Open(archive)
	require.NoError(t, err)
	defer r.Close()
	n := 0
	for tr := tar.NewReader(r); ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		name := "/" + strings.TrimSuffix(h.Name, "/")
		s, ok := want[name]
		if name == "/." || strings.HasPrefix(name, "/lost+found") {
			continue
		}
		require.True(t, ok, "%q", h.Name)
		assert.Equal(t, s.MTime, h.ModTime.UnixNano(), name)
		if h.Typeflag == tar.TypeReg {
			assert.Equal(t, s.Size, h.Size, name)
			if s.Size < 1<<30 {
				b, err := io.ReadAll(tr)
				require.NoError(t, err)
				assert.True(t, s.Sum == string(bytes.TrimRight(b, "\x00")), name)
			}
		}
	}
	assert.GreaterOrEqual(t, n, len(want))
}

func TestTarOfSomePaths(t *testing.T) {
	d := newDisk(t, "ext4")
	plant(t, d.at)
	f := openFS(t, openImage(t, d.clean()))
	names := func(paths ...string) (all []string) {
		var b bytes.Buffer
		_, err := f.Tar(t.Context(), &b, paths, TarOptions{})
		require.NoError(t, err)
		for tr := tar.NewReader(&b); ; {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				return all
			}
			require.NoError(t, err)
			all = append(all, h.Name)
		}
	}
	assert.ElementsMatch(t, []string{"owned/", "owned/file", "plain"}, names("owned", "/plain", "owned/file"))
	_, err := f.Tar(t.Context(), io.Discard, []string{"nothing"}, TarOptions{})
	requireKind(t, errkind.NotFound, err)
	_, err = f.Tar(t.Context(), io.Discard, []string{"links/up/x"}, TarOptions{})
	requireKind(t, errkind.Invalid, err)
}

func TestTarLeavesSocketsOut(t *testing.T) {
	d := newDisk(t, "ext4")
	require.NoError(t, unix.Mknod(filepath.Join(d.at, "sock"), unix.S_IFSOCK|0o600, 0))
	f := openFS(t, openImage(t, d.clean()))
	r, err := f.Tar(t.Context(), io.Discard, nil, TarOptions{})
	require.NoError(t, err)
	require.Len(t, r.Notes, 1)
	assert.Contains(t, r.Notes[0], `"sock" is a socket`)
}

// Records say their own length, in all lengths.
func TestPaxRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := record{rapid.StringMatching(`[a-zA-Z.]{1,20}`).Draw(t, "key"), string(rapid.SliceOfN(rapid.Byte(), 0, 1200).Draw(t, "value"))}
		s := paxRecord(r)
		n, rest, ok := strings.Cut(s, " ")
		require.True(t, ok)
		require.Equal(t, n, strconv.Itoa(len(s)))
		require.Equal(t, r.key+"="+r.value+"\n", rest)
	})
}
